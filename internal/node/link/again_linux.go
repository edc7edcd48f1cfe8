package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// again makes packets arrive at an interface once more. The kernel lets a packet of a queue go
// once, so a second one has to come from outside: it is sent into one end of a pair of
// devices, and what comes out of the other end goes on as if the interface had received it
// (the action mirred of tc(8)). All rules of the machine see it as they saw the first.
type again struct {
	fd    int
	nl    *netlink.Handle // of this network namespace, whatever the thread that closes
	cable *netlink.Veth
	to    unix.SockaddrLinklayer
	mac   net.HardwareAddr // of the interface
}

// againMark marks those packets, so that they are not held again. The rules take it off.
const againMark = 3

// againMTU is more than any packet has.
const againMTU = 65535

// openAgain prepares an interface. It needs CAP_NET_ADMIN and CAP_NET_RAW, and of the kernel
// pairs of devices and tc's ingress with u32 and mirred.
func openAgain(ifname string) (_ *again, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("duplicate: packets cannot be made to arrive twice at %s: %w (the kernel needs veth, sch_ingress, cls_u32 and act_mirred, the node CAP_NET_RAW)", ifname, err)
		}
	}()
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	a := &again{fd: -1, nl: nl}
	if err := a.open(ifname); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// open makes the cable and connects it.
func (a *again) open(ifname string) error {
	device, err := a.nl.LinkByName(ifname)
	if err != nil {
		return err
	}
	index, mac := device.Attrs().Index, device.Attrs().HardwareAddr
	if len(mac) != 6 {
		return errors.New("it is no Ethernet")
	}
	name := fmt.Sprintf("twice%d", index)
	if old, err := a.nl.LinkByName(name); err == nil { // an earlier process of this node left it
		if err := a.nl.LinkDel(old); err != nil {
			return err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, againMTU
	// The far end has the interface's own address, for what is not for it would be dropped.
	cable := &netlink.Veth{LinkAttrs: attrs, PeerName: name + "in", PeerHardwareAddr: mac, PeerMTU: againMTU}
	if err := a.nl.LinkAdd(cable); err != nil {
		return fmt.Errorf("pair of devices: %w", err)
	}
	a.cable, a.mac = cable, mac
	return a.connect(index)
}

// connect makes what comes out of the cable arrive at the interface.
func (a *again) connect(index int) error {
	far, err := a.nl.LinkByName(a.cable.PeerName)
	if err != nil {
		return err
	}
	near, err := a.nl.LinkByName(a.cable.Name)
	if err != nil {
		return err
	}
	for _, end := range []netlink.Link{far, near} {
		if err := a.nl.LinkSetUp(end); err != nil {
			return fmt.Errorf("pair of devices: %w", err)
		}
	}
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: far.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
	}}
	if err := a.nl.QdiscAdd(ingress); err != nil {
		return fmt.Errorf("sch_ingress: %w", err)
	}
	redirect := netlink.NewMirredAction(index)
	redirect.MirredAction = netlink.TCA_INGRESS_REDIR
	filter := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: far.Attrs().Index, Parent: ingress.Handle, Priority: 1, Protocol: unix.ETH_P_IP},
		Actions:     []netlink.Action{redirect},
	}
	if err := a.nl.FilterAdd(filter); err != nil {
		return fmt.Errorf("cls_u32 with act_mirred: %w", err)
	}
	a.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.SetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_MARK, againMark); err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	// Many copies may be due at once. Forced where we may; where not, the default does for less.
	if unix.SetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, buffer)
	}
	a.to = unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: near.Attrs().Index}
	return nil
}

// networkOrder is htons(3).
func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// send makes an IP packet arrive once more, from that hardware address.
func (a *again) send(packet []byte, from string) error {
	frame := make([]byte, 0, 14+len(packet))
	frame = append(frame, a.mac...)
	sender := [6]byte{}
	copy(sender[:], from)
	frame = append(frame, sender[:]...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_IP)
	return unix.Sendto(a.fd, append(frame, packet...), 0, &a.to)
}

// close takes the devices away.
func (a *again) close() {
	if a.fd >= 0 {
		_ = unix.Close(a.fd)
	}
	if a.cable != nil {
		_ = a.nl.LinkDel(a.cable) // with its far end; it may be gone with its network namespace
	}
	a.nl.Close()
}
