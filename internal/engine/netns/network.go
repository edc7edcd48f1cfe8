package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/topology"
)

// loopbackUp brings lo up in the supervisor's own namespace.
func loopbackUp(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return h.LinkSetUp(lo)
}

// addBridge makes the bridge of a network in the supervisor's namespace. It has
// no address: nothing but the lab's nodes is on it.
func addBridge(h *netlink.Handle, index int) (*netlink.Bridge, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("br%d", index)
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := h.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	if err := h.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	return bridge, nil
}

// namespace is a network namespace that lives as long as its file is open or a
// process is in it.
type namespace struct{ file *os.File }

// withoutIPv6 keeps IPv6 off the interfaces that the calling thread's namespace will
// get, as Docker does: labs are IPv4. Each end of a link would announce itself to
// every other on its bridge, which for a thousand nodes is half of the start. The
// loopback interface keeps its ::1.
func withoutIPv6() error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) { // a kernel without it
		return nil
	}
	return err
}

// newNamespace makes one, with the sysctls set, and calls inside while the
// calling thread is in it: a process that inside starts is born there.
func newNamespace(sysctls map[string]string, inside func(namespace) error) (namespace, error) {
	type result struct {
		ns  namespace
		err error
	}
	done := make(chan result)
	go func() {
		// The thread is never unlocked: it ends with the goroutine, and no other
		// code ever runs in the namespace by mistake.
		runtime.LockOSThread()
		ns, err := enterNew(sysctls)
		if err == nil {
			err = inside(ns)
		}
		done <- result{ns, err}
	}()
	r := <-done
	if r.err != nil && r.ns.file != nil {
		_ = r.ns.file.Close()
	}
	return r.ns, r.err
}

func enterNew(sysctls map[string]string) (namespace, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return namespace{}, fmt.Errorf("network namespace: %w", err)
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return namespace{}, fmt.Errorf("network namespace: %w", err)
	}
	if err := withoutIPv6(); err != nil {
		_ = file.Close()
		return namespace{}, fmt.Errorf("network namespace: %w", err)
	}
	for key, value := range sysctls {
		path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			_ = file.Close()
			return namespace{}, fmt.Errorf("sysctl %s=%s: %w", key, value, err)
		}
	}
	return namespace{file}, nil
}

// do calls f on a thread that is in the namespace.
func (n namespace) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // see newNamespace
		err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// unplug takes a link away at once; by itself it would go some time after its
// namespace, and answer until then.
func unplug(h *netlink.Handle, port string) {
	if link, err := h.LinkByName(port); err == nil {
		_ = h.LinkDel(link) // what is left of it goes with the namespace
	}
}

// plug connects a namespace to a bridge with a veth pair and gives its end the address.
func plug(h *netlink.Handle, n namespace, bridge *netlink.Bridge, port string, name string, i topology.Interface) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = port
	attrs.MasterIndex = bridge.Index
	attrs.Flags |= net.FlagUp
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(int(n.file.Fd())), PeerHardwareAddr: i.HardwareAddr()}
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("link to network %s: %w", i.Network, err)
	}
	if err := h.LinkSetUp(veth); err != nil {
		return fmt.Errorf("link to network %s: %w", i.Network, err)
	}
	return nil
}

// address gives the interfaces of the calling thread's namespace their addresses and brings them up.
func address(interfaces []topology.Interface) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := loopbackUp(h); err != nil {
		return err
	}
	for n, i := range interfaces {
		link, err := h.LinkByName(interfaceName(n))
		if err != nil {
			return fmt.Errorf("interface on network %s: %w", i.Network, err)
		}
		addr := &netlink.Addr{IPNet: &net.IPNet{
			IP:   i.Addr.Addr().AsSlice(),
			Mask: net.CIDRMask(i.Addr.Bits(), i.Addr.Addr().BitLen()),
		}}
		if err := h.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("address %s: %w", i.Addr, err)
		}
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("interface on network %s: %w", i.Network, err)
		}
	}
	return nil
}

func interfaceName(n int) string { return fmt.Sprintf("eth%d", n) }
