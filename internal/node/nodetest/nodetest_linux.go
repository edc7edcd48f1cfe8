// Package nodetest runs nodes in network namespaces of their own, for the tests of
// the kinds: machines joined by cables, ordinary sockets on them, and a node that is
// the test binary itself, started again.
package nodetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/nodespec"
	"github.com/wslab/wslab/internal/nsexec"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// Patience is how long a test waits for what has to happen.
const Patience = 20 * time.Second

// Main is a TestMain: in a process that a test has started as a node it runs that
// node, in any other the tests. An ordinary user's tests run as root of a user
// namespace, where the kernel allows that.
func Main(m *testing.M, kinds ...*node.Kind) {
	if os.Geteuid() != 0 && os.Getenv(insideVariable) == "" {
		if code, ok := runInside(); ok {
			os.Exit(code)
		}
	}
	if _, err := nodespec.FromEnviron(os.Environ()); err == nil {
		if err := node.Run(context.Background(), kinds, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// insideVariable is set in the process that runs the tests in a user namespace.
const insideVariable = "WSLAB_TEST_INSIDE"

// runInside runs this binary again as root of a user namespace, in the network of
// this one. It returns false if that cannot be.
func runInside() (code int, ok bool) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// The signal for our death follows the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, false
	}
	code, err := nsexec.ExitCode(cmd.Wait())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return code, true
}

// OnlyUser says that the tests run as root of a user namespace that has no other
// user: nothing can belong to somebody else, and no program can become somebody else.
func OnlyUser() bool { return os.Getenv(insideVariable) != "" }

// Ordinary lets a program that gives up being root run as an ordinary user from the
// start, where there is no other user to become. Elsewhere it changes nothing.
func Ordinary(cmd *exec.Cmd) {
	if !OnlyUser() {
		return
	}
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: 0, Size: 1}},
	}
}

// Require skips a test that cannot make network namespaces, or fails it where
// WSLAB_REQUIRE_ROOT or WSLAB_REQUIRE_NETNS is set.
func Require(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("WSLAB_REQUIRE_ROOT") != "" || os.Getenv("WSLAB_REQUIRE_NETNS") != "" {
		t.Fatal("network namespaces need root or user namespaces, and WSLAB_REQUIRE_ROOT or WSLAB_REQUIRE_NETNS is set")
	}
	t.Skip("network namespaces need root or user namespaces")
}

// Host is a machine: a network namespace.
type Host struct {
	Name string
	ns   netns.NsHandle
	// links counts its interfaces.
	links int
}

// NewHost makes a machine without a network. It goes with the test.
func NewHost(t testing.TB, name string) *Host {
	t.Helper()
	Require(t)
	h := &Host{Name: name}
	err := onThread(func() error {
		var err error
		h.ns, err = netns.New() // of this thread, which is thrown away
		if err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatalf("host %s: %v", name, err)
	}
	t.Cleanup(func() { _ = h.ns.Close() })
	return h
}

// onThread runs f on a thread of its own that is thrown away.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// Do runs f inside the machine. Sockets that f makes belong to it for good.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(h.ns); err != nil {
			return err
		}
		return f()
	})
}

// MustDo is Do for what has to work.
func (h *Host) MustDo(t testing.TB, f func() error) {
	t.Helper()
	if err := h.Do(f); err != nil {
		t.Fatalf("host %s: %v", h.Name, err)
	}
}

// Cable joins two machines with an address for each.
func Cable(t testing.TB, a *Host, addrA string, b *Host, addrB string) {
	t.Helper()
	nameA, nameB := fmt.Sprintf("eth%d", a.links), fmt.Sprintf("eth%d", b.links)
	a.links++
	b.links++
	a.MustDo(t, func() error {
		veth := &netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: nameA},
			PeerName:      nameB,
			PeerNamespace: netlink.NsFd(int(b.ns)),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return address(nameA, addrA)
	})
	b.MustDo(t, func() error { return address(nameB, addrB) })
}

func address(link, addr string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// Route adds a route.
func (h *Host) Route(t testing.TB, dst, via string) {
	t.Helper()
	h.MustDo(t, func() error {
		_, network, err := net.ParseCIDR(dst)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: network, Gw: net.ParseIP(via)})
	})
}

// Sysctl reads a sysctl of the machine.
func (h *Host) Sysctl(t testing.TB, name string) string {
	t.Helper()
	var raw []byte
	h.MustDo(t, func() (err error) {
		raw, err = os.ReadFile("/proc/thread-self/root/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		return err
	})
	return strings.TrimSpace(string(raw))
}

// SetSysctl sets a sysctl of the machine.
func (h *Host) SetSysctl(t testing.TB, name, value string) {
	t.Helper()
	h.MustDo(t, func() error {
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0)
	})
}

// Listen opens a TCP listener without keepalive. It is closed with the test.
func (h *Host) Listen(t testing.TB, address string) *net.TCPListener {
	t.Helper()
	var l net.Listener
	h.MustDo(t, func() (err error) {
		config := net.ListenConfig{KeepAlive: -1}
		config.SetMultipathTCP(false)
		l, err = config.Listen(context.Background(), "tcp4", address)
		return err
	})
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

// Dial opens a TCP connection without keepalive. It is closed with the test.
func (h *Host) Dial(t testing.TB, address string) (*net.TCPConn, error) {
	t.Helper()
	var c net.Conn
	err := h.Do(func() (err error) {
		c, err = (&net.Dialer{Timeout: Patience, KeepAlive: -1}).Dial("tcp4", address)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn), nil
}

// MustDial is Dial for what has to work.
func (h *Host) MustDial(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	c, err := h.Dial(t, address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Accept takes a connection. It is closed with the test.
func Accept(t testing.TB, l *net.TCPListener) *net.TCPConn {
	t.Helper()
	_ = l.SetDeadline(time.Now().Add(Patience))
	c, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Node is a node that runs on a machine.
type Node struct {
	Host *Host
	cmd  *exec.Cmd
	conn *control.Conn

	mu      sync.Mutex
	events  []trace.Event
	changed chan struct{} // closed and replaced at each event
	stderr  bytes.Buffer
}

type pipes struct {
	in, out *os.File
}

func (p pipes) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p pipes) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p pipes) Close() error                { return errors.Join(p.in.Close(), p.out.Close()) }

// Start runs a node on the machine, as an engine would: sysctls first, then the
// process. It waits until the node is ready, and ends it with the test, which fails if
// the node wrote to its standard error.
func (h *Host) Start(t testing.TB, kind *node.Kind, settings any, spec topology.NodeSpec) *Node {
	t.Helper()
	n := h.Launch(t, kind, settings, spec)
	n.Await(t, func(e trace.Event) bool { return e.Type == trace.Ready })
	return n
}

// Launch is Start without waiting.
func (h *Host) Launch(t testing.TB, kind *node.Kind, settings any, spec topology.NodeSpec) *Node {
	t.Helper()
	spec.Name, spec.Kind, spec.Settings = h.Name, kind.Name, mustJSON(t, settings)
	if spec.Speed == 0 {
		spec.Speed = 1
	}
	if kind.Needs != nil {
		spec.Needs = kind.Needs(settings)
	}
	if spec.Needs.OnwardPorts && spec.OnwardPorts == [2]uint16{} {
		spec.OnwardPorts = [2]uint16{16384, 24575} // a second node on the way needs others
	}
	for name, value := range spec.Needs.Sysctls {
		if lab, ok := strings.CutPrefix(value, "@"); ok {
			d, err := time.ParseDuration(lab)
			if err != nil {
				t.Fatal(err)
			}
			value = strconv.Itoa(max(1, int(spec.Wall(d).Round(time.Second)/time.Second)))
		}
		h.SetSysctl(t, name, value)
	}
	carried, err := nodespec.Environ(spec)
	if err != nil {
		t.Fatal(err)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{Host: h, changed: make(chan struct{})}
	n.cmd = exec.Command("/proc/self/exe")
	n.cmd.Env = append(os.Environ(), carried)
	n.cmd.Stdin, n.cmd.Stdout, n.cmd.Stderr = inR, outW, &n.stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	h.MustDo(t, n.cmd.Start)
	_ = errors.Join(inR.Close(), outW.Close()) // the child has them now
	n.conn = control.NewConn(h.Name, pipes{inW, outR}, n.record)
	t.Cleanup(func() { n.end(t) })
	return n
}

func (n *Node) record(e trace.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Node) end(t testing.TB) {
	t.Helper()
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	timer := time.AfterFunc(Patience, func() { _ = n.cmd.Process.Kill() })
	defer timer.Stop()
	err := n.cmd.Wait()
	<-n.conn.Done()
	_ = n.conn.Close()
	if n.stderr.Len() > 0 {
		t.Errorf("node %s (%v) wrote:\n%s", n.Host.Name, err, n.stderr.String())
	}
	if t.Failed() {
		for _, e := range n.Events() {
			t.Logf("%s %s", e.Time.Format("05.000"), e)
		}
	}
}

// Wait waits for the process to end by itself and returns its standard error.
func (n *Node) Wait(t testing.TB) string {
	t.Helper()
	select {
	case <-n.conn.Done():
	case <-time.After(Patience):
		t.Fatal("the node does not end")
	}
	_ = n.cmd.Wait()
	text := n.stderr.String()
	n.stderr.Reset()
	return text
}

// PID of the node's process.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Call asks the node to do something.
func (n *Node) Call(t testing.TB, method string, params, result any) {
	t.Helper()
	if err := n.TryCall(method, params, result); err != nil {
		t.Fatal(err)
	}
}

// TryCall is Call for what may fail.
func (n *Node) TryCall(method string, params, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return n.conn.Call(ctx, method, params, result)
}

// Events returns what the node has recorded so far.
func (n *Node) Events() []trace.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]trace.Event(nil), n.events...)
}

// Count returns how many events there are of a type so far.
func (n *Node) Count(typ trace.Type) int {
	count := 0
	for _, e := range n.Events() {
		if e.Type == typ {
			count++
		}
	}
	return count
}

// Await waits for an event, those of the past included, and returns the first that matches.
func (n *Node) Await(t testing.TB, match func(trace.Event) bool) trace.Event {
	t.Helper()
	deadline := time.After(Patience)
	for seen := 0; ; {
		n.mu.Lock()
		events, changed := n.events[seen:], n.changed
		n.mu.Unlock()
		for _, e := range events {
			if match(e) {
				return e
			}
		}
		seen += len(events)
		select {
		case <-changed:
		case <-n.conn.Done():
			t.Fatalf("node %s ended before the event came", n.Host.Name)
		case <-deadline:
			t.Fatalf("the event of node %s does not come", n.Host.Name)
		}
	}
}

// AwaitType is Await for the first event of a type after the first `after` events.
func (n *Node) AwaitType(t testing.TB, typ trace.Type) trace.Event {
	t.Helper()
	return n.Await(t, func(e trace.Event) bool { return e.Type == typ })
}

// Interface is an interface of a spec.
func Interface(network, addr string) topology.Interface {
	return topology.Interface{Network: network, Addr: netip.MustParsePrefix(addr)}
}

func mustJSON(t testing.TB, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
