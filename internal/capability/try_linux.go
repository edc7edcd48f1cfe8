package capability

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/node/link"
)

// patience is how long the kernel may take to tell what has just happened.
const patience = 2 * time.Second

// links plugs a veth pair into a bridge.
func links() (string, error) {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return "", fmt.Errorf("loopback interface: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "bridge"
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return "", fmt.Errorf("bridge: %w", err)
	}
	attrs = netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = "port", bridge.Index
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"}); err != nil {
		return "", fmt.Errorf("veth pair: %w", err)
	}
	return "a bridge and a veth pair", nil
}

// table commits rules to a chain of their own; undo removes them.
func table(typ nftables.ChainType, hook *nftables.ChainHook, rules ...[]netfilter.Part) (undo func() error, err error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	t := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "wslab-try"})
	chain := conn.AddChain(netfilter.BaseChain(t, "chain", typ, hook, 0))
	for _, parts := range rules {
		conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: netfilter.Rule(parts...)})
	}
	if err := conn.Flush(); err != nil {
		return nil, err
	}
	return func() error {
		conn.DelTable(t)
		return conn.Flush()
	}, nil
}

// taken says whether the kernel takes the rules.
func taken(typ nftables.ChainType, hook *nftables.ChainHook, rules ...[]netfilter.Part) error {
	undo, err := table(typ, hook, rules...)
	if err != nil {
		return err
	}
	return undo()
}

func rules() (string, error) {
	tcp := netfilter.Protocol(netfilter.TCP)
	return "stateful rules", taken(nftables.ChainTypeFilter, nftables.ChainHookForward,
		[]netfilter.Part{tcp, netfilter.State(netfilter.New), netfilter.Accept()},
		[]netfilter.Part{tcp, netfilter.Reset()},
		[]netfilter.Part{netfilter.Drop()},
	)
}

func masquerade() (string, error) {
	return "a masquerading rule", taken(nftables.ChainTypeNAT, nftables.ChainHookPostrouting,
		[]netfilter.Part{netfilter.Masquerade()})
}

// sysctls sets those that nodes set, each to another value than it has.
func sysctls() (string, error) {
	for _, name := range []string{
		netfilter.EstablishedTimeout,
		"net.netfilter.nf_conntrack_acct",
		"net.netfilter.nf_conntrack_tcp_be_liberal",
		"net.ipv4.ip_forward",
	} {
		value, err := netfilter.Sysctl(name)
		if err != nil {
			return "", err
		}
		other := 1 - value
		if value > 1 {
			other = value - 1
		}
		if err := netfilter.EnsureSysctl(name, other); err != nil {
			return "", err
		}
	}
	return "of each network namespace", nil
}

// connections makes an entry of the connection table and waits until it is announced.
func connections() (string, error) {
	watch, err := netfilter.OpenWatch()
	if err != nil {
		return "", err
	}
	seen := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = watch.Run(func(netfilter.Change, netfilter.Entry) {
			select {
			case seen <- struct{}{}:
			default:
			}
		})
	}()
	defer func() {
		_ = watch.Close()
		<-ended
	}()
	conntrack, err := netfilter.OpenConntrack()
	if err != nil {
		return "", err
	}
	defer func() { _ = conntrack.Close() }()
	// RFC 5737 keeps these addresses for documentation.
	flow := netfilter.Tuple{
		Protocol: netfilter.TCP,
		Src:      netip.MustParseAddrPort("192.0.2.1:50000"), Dst: netip.MustParseAddrPort("192.0.2.2:80"),
	}
	if err := conntrack.Create(flow, time.Minute); err != nil {
		return "", err
	}
	entries, err := conntrack.List()
	if err != nil {
		return "", err
	}
	if len(entries) == 0 {
		return "", errors.New("an entry of the connection table is not listed")
	}
	select {
	case <-seen:
		return "entries, and their changes", nil
	case <-time.After(patience):
		return "", errors.New("changes of the connection table are not announced")
	}
}

// packetLog sends itself a packet that a rule logs.
func packetLog() (string, error) {
	const group = netfilter.BlockedGroup
	log, err := netfilter.OpenLog(group)
	if err != nil {
		return "", err
	}
	seen := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = log.Run(func(string, netfilter.Packet) {
			select {
			case seen <- struct{}{}:
			default:
			}
		})
	}()
	defer func() {
		_ = log.Close()
		<-ended
	}()
	undo, err := table(nftables.ChainTypeFilter, nftables.ChainHookInput, []netfilter.Part{netfilter.LogTo(group, "")})
	if err != nil {
		return "", err
	}
	defer func() { _ = undo() }()
	if c, err := net.DialTimeout("tcp4", "127.0.0.1:9", patience); err == nil { // nobody listens
		_ = c.Close()
	}
	select {
	case <-seen:
		return "a logged packet", nil
	case <-time.After(patience):
		return "", errors.New("a packet that a rule logs does not arrive")
	}
}

// interception commits the rules that divert connections, and makes the socket that takes them.
func interception() (string, error) {
	err := taken(nftables.ChainTypeFilter, nftables.ChainHookPrerouting,
		[]netfilter.Part{netfilter.Protocol(netfilter.TCP), netfilter.Transparent(), netfilter.SetMark(1), netfilter.Accept()},
		[]netfilter.Part{
			netfilter.Protocol(netfilter.TCP), netfilter.SetMark(1),
			netfilter.Divert(netip.MustParseAddrPort("127.0.0.1:1")), netfilter.Accept(),
		},
	)
	if err != nil {
		return "", err
	}
	return "both, and IP_TRANSPARENT", option(unix.SOL_IP, unix.IP_TRANSPARENT)
}

func repair() (string, error) {
	return "it can be set", option(unix.IPPROTO_TCP, unix.TCP_REPAIR)
}

// option sets an option of a TCP socket to 1.
func option(level, name int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.SetsockoptInt(fd, level, name, 1)
	return errors.Join(os.NewSyscallError("setsockopt", err), unix.Close(fd))
}

// proc mounts a /proc over the one that is there; the mount namespace is thrown away.
func proc() (string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", os.NewSyscallError("mount", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", os.NewSyscallError("mount", err)
	}
	self, err := os.Readlink("/proc/self")
	if err == nil && self != strconv.Itoa(os.Getpid()) {
		err = errors.New("it numbers processes in another way")
	}
	return "it can be mounted", err
}

// tun makes a TUN interface.
func tun() (string, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq("tun0")
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = os.NewSyscallError("ioctl TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	}
	return "an interface", errors.Join(err, unix.Close(fd))
}

// qdisc puts a queueing discipline on the loopback interface, in place of what is there.
func qdisc(make func(netlink.QdiscAttrs) netlink.Qdisc) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	q := make(netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})
	err = netlink.QdiscReplace(q)
	if errors.Is(err, syscall.ENOENT) { // what the kernel says of a kind that it does not know
		return fmt.Errorf("the kernel has no %s", q.Type())
	}
	if err == nil {
		err = netlink.QdiscDel(q)
	}
	return err
}

func netem() (string, error) {
	return "on an interface", qdisc(func(a netlink.QdiscAttrs) netlink.Qdisc {
		return netlink.NewNetem(a, netlink.NetemQdiscAttrs{Latency: 1000})
	})
}

func shaping() (string, error) {
	return "on an interface", errors.Join(
		qdisc(func(a netlink.QdiscAttrs) netlink.Qdisc {
			return &netlink.Tbf{QdiscAttrs: a, Rate: 1 << 20, Limit: 1 << 16, Buffer: 1 << 14}
		}),
		qdisc(func(a netlink.QdiscAttrs) netlink.Qdisc { return netlink.NewHtb(a) }),
	)
}

func queue() (string, error) { return "packets can be held", link.Probe() }

// duplicates makes packets arrive twice at a device of its own.
func duplicates() (what string, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "once"
	device := &netlink.Veth{LinkAttrs: attrs, PeerName: "oncein"}
	if err := netlink.LinkAdd(device); err != nil {
		return "", fmt.Errorf("veth pair: %w", err)
	}
	defer func() { err = errors.Join(err, netlink.LinkDel(device)) }()
	return "ingress, u32 and mirred", link.ProbeDuplicates("once")
}
