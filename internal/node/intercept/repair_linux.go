package intercept

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/netfilter"
)

// repair is an established connection to be made out of nothing.
type repair struct {
	local, remote netip.AddrPort
	// send and receive are the next sequence numbers of either direction.
	send, receive uint32
	// scaled says that both ends announced a window scale: sendScale is that of the
	// remote's windows, receiveScale of ours.
	scaled                  bool
	sendScale, receiveScale uint8
	// The windows as the segments had them: the remote's, and the one that was
	// announced to it.
	sendWindow, receiveWindow uint16
	sack, timestamps          bool
	// clock is the latest timestamp that the remote has seen from our side.
	clock uint32
}

// Constants of linux/tcp.h that golang.org/x/sys/unix lacks.
const (
	noQueue      = 0
	receiveQueue = 1
	sendQueue    = 2
)

// repairWindow is struct tcp_repair_window.
type repairWindow struct {
	sendWL1, sendWindow, maxWindow, receiveWindow, receiveWUP uint32
}

// mss is what fits a packet of Ethernet; the route's MTU bounds it further.
const mss = 1460

// open makes the connection. It is left in repair mode, in which it sends nothing,
// not even when it is closed; see alive.
func (r repair) open() (*net.TCPConn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "adopted")
	defer func() { _ = file.Close() }() // FileConn has its own
	if err := r.prepare(fd); err != nil {
		return nil, fmt.Errorf("repair %s > %s: %w", r.local, r.remote, err)
	}
	c, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	return tcp, tcp.SetKeepAlive(false) // FileConn turns it on
}

// prepare goes through the options in the order that CRIU does.
func (r repair) prepare(fd int) error {
	var err error
	try := func(what string, e error) {
		if err == nil && e != nil {
			err = os.NewSyscallError(what, e)
		}
	}
	tcpOption := func(what string, option, value int) {
		if err == nil {
			try(what, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, value))
		}
	}
	try("IP_TRANSPARENT", unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1))
	try("SO_REUSEADDR", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	tcpOption("TCP_REPAIR", unix.TCP_REPAIR, unix.TCP_REPAIR_ON)
	tcpOption("TCP_REPAIR_QUEUE", unix.TCP_REPAIR_QUEUE, sendQueue)
	tcpOption("TCP_QUEUE_SEQ", unix.TCP_QUEUE_SEQ, int(int32(r.send)))
	tcpOption("TCP_REPAIR_QUEUE", unix.TCP_REPAIR_QUEUE, receiveQueue)
	tcpOption("TCP_QUEUE_SEQ", unix.TCP_QUEUE_SEQ, int(int32(r.receive)))
	if err == nil {
		try("bind", unix.Bind(fd, sockaddr(r.local)))
	}
	if err == nil {
		try("connect", unix.Connect(fd, sockaddr(r.remote)))
	}
	options := []unix.TCPRepairOpt{{Code: unix.TCPOPT_MAXSEG, Val: mss}}
	if r.sack {
		options = append(options, unix.TCPRepairOpt{Code: unix.TCPOPT_SACK_PERMITTED})
	}
	if r.scaled {
		options = append(options, unix.TCPRepairOpt{Code: unix.TCPOPT_WINDOW, Val: uint32(r.sendScale) | uint32(r.receiveScale)<<16})
	}
	if r.timestamps {
		options = append(options, unix.TCPRepairOpt{Code: unix.TCPOPT_TIMESTAMP})
	}
	if err == nil {
		try("TCP_REPAIR_OPTIONS", unix.SetsockoptTCPRepairOpt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_OPTIONS, options))
	}
	if r.timestamps {
		// The lowest bit asks for microseconds.
		tcpOption("TCP_TIMESTAMP", unix.TCP_TIMESTAMP, int(int32((r.clock+2)&^1)))
	}
	tcpOption("TCP_REPAIR_QUEUE", unix.TCP_REPAIR_QUEUE, noQueue)
	if err == nil {
		try("TCP_REPAIR_WINDOW", r.setWindow(fd))
	}
	return err
}

func (r repair) setWindow(fd int) error {
	w := repairWindow{
		sendWL1:       r.receive,
		sendWindow:    uint32(r.sendWindow),
		receiveWindow: uint32(r.receiveWindow),
		receiveWUP:    r.receive,
	}
	if r.scaled {
		w.sendWindow <<= r.sendScale
		w.receiveWindow <<= r.receiveScale
	}
	w.maxWindow = max(w.sendWindow, 1<<16)
	return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_WINDOW,
		string(unsafe.Slice((*byte)(unsafe.Pointer(&w)), unsafe.Sizeof(w))))
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

// alive ends the repair mode.
func alive(conns ...*net.TCPConn) error {
	var err error
	for _, c := range conns {
		err = errors.Join(err, control(c, func(fd int) error {
			return os.NewSyscallError("TCP_REPAIR", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, unix.TCP_REPAIR_OFF_NO_WP))
		}))
	}
	return err
}

// sockets returns the TCP connections of this machine's own sockets, whatever
// addresses they have, as tuples from local to remote.
func sockets() (map[netfilter.Tuple]bool, error) {
	f, err := os.Open("/proc/self/net/tcp")
	if err != nil {
		return nil, fmt.Errorf("sockets: %w", err)
	}
	defer func() { _ = f.Close() }()
	all := make(map[netfilter.Tuple]bool)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			continue
		}
		local, okL := parseSocketAddr(fields[1])
		remote, okR := parseSocketAddr(fields[2])
		if okL && okR {
			all[netfilter.Tuple{Protocol: netfilter.TCP, Src: local, Dst: remote}] = true
		}
	}
	return all, nil
}

// parseSocketAddr reads an address of /proc/net/tcp: eight hexadecimal digits in the
// machine's byte order, a colon, and the port.
func parseSocketAddr(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw) != 4 {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	var addr [4]byte
	binary.NativeEndian.PutUint32(addr[:], binary.BigEndian.Uint32(raw))
	return netip.AddrPortFrom(netip.AddrFrom4(addr), uint16(n)), true
}
