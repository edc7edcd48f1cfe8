package intercept

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/netfilter"
)

const (
	tableName = "wslab-intercept"

	// localMark marks packets that are for a socket of this machine, though their
	// address is not.
	localMark = 1
	// localTable is the routing table for them.
	localTable = 100
	// probeMark marks segments that are sent to learn where an end is.
	probeMark = 2

	// inspectionDrop is how packet.blocked names the packets of a black hole.
	inspectionDrop = "inspection: dropped"
	// holeTimeout is how long a connection stays a black hole, in wall time: longer
	// than anything waits, and then its addresses and ports may serve again.
	holeTimeout = 20 * time.Minute

	// Before conntrack (-200), and behind the reassembly of fragments (-400).
	rawPriority = -310
	// Behind the translation of destinations (-100), so that answers to the onward leg
	// carry the client's address again, which is what its socket is bound to.
	divertPriority = -90
)

// rules are the interceptor's nftables rules.
type rules struct {
	opts     Options
	listener netip.AddrPort

	mu     sync.Mutex
	conn   *nftables.Conn
	table  *nftables.Table
	chain  *nftables.Chain // of the divert rules
	frozen *nftables.Set
	holed  *nftables.Set
	holes  map[netfilter.Tuple]time.Time // what is in holed, and until when
}

// install sets the rules up, in place of those that an earlier process left. No new
// connection is diverted before steer.
func install(o Options, listener netip.AddrPort) (*rules, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
	conn.AddTable(t) // so that there is one to delete
	conn.DelTable(t)
	conn.AddTable(t)
	r := &rules{
		opts: o, listener: listener, conn: conn, table: t, holes: make(map[netfilter.Tuple]time.Time),
		frozen: netfilter.TupleSet(t, "frozen"),
		holed:  netfilter.TupleSet(t, "black-hole"),
	}
	r.holed.HasTimeout, r.holed.Timeout = true, holeTimeout
	for _, set := range []*nftables.Set{r.frozen, r.holed} {
		if err := conn.AddSet(set, nil); err != nil {
			return nil, fmt.Errorf("nftables: %w", err)
		}
	}
	r.chain = conn.AddChain(&nftables.Chain{Table: t, Name: "divert"})
	add := func(c *nftables.Chain, parts ...netfilter.Part) {
		conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: netfilter.Rule(parts...)})
	}
	tcp := netfilter.Protocol(netfilter.TCP)

	in := conn.AddChain(netfilter.BaseChain(t, "in", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, rawPriority))
	add(in, tcp, netfilter.InSet(r.frozen), netfilter.LogTo(netfilter.FrozenGroup, ""), netfilter.Drop())
	add(in, tcp, netfilter.InSet(r.holed), netfilter.LogTo(netfilter.BlockedGroup, inspectionDrop), netfilter.Drop())

	out := conn.AddChain(netfilter.BaseChain(t, "out", nftables.ChainTypeFilter, nftables.ChainHookOutput, rawPriority))
	add(out, netfilter.Mark(probeMark), netfilter.Untracked(), netfilter.Accept())
	add(out, tcp, netfilter.InSet(r.holed), netfilter.Drop())

	main := conn.AddChain(netfilter.BaseChain(t, "main", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, divertPriority))
	add(main, tcp, netfilter.Transparent(), netfilter.SetMark(localMark), netfilter.Accept())
	// What is redirected comes back to where it came from only if this node goes on
	// translating it.
	// A client that comes again from the port of a connection that ended a moment ago is not new
	// to conntrack: it goes on with the entry that there is, unless the client had ended that itself
	// (TCP_CONNTRACK_SYN_SENT in nf_conntrack_proto_tcp.c). Its SYN is new all the same.
	opens := [][]netfilter.Part{
		{netfilter.State(netfilter.New), netfilter.NotRedirected()},
		{netfilter.OnlySYN(), netfilter.NotRedirected()},
	}
	if o.Stateless {
		opens = [][]netfilter.Part{{netfilter.OnlySYN()}}
	}
	for _, o := range opens {
		add(main, tcp, netfilter.Rule(o...), netfilter.ForOthers(), netfilter.Jump(r.chain.Name))
	}

	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("nftables: interception: %w", err)
	}
	return r, routeMarked()
}

// routeMarked routes marked packets to this machine.
func routeMarked() error {
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table = netlink.FAMILY_V4, localMark, localTable
	if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("routing rule: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	route := &netlink.Route{
		LinkIndex: lo.Attrs().Index,
		Dst:       &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		Table:     localTable,
		Type:      unix.RTN_LOCAL,
		Scope:     unix.RT_SCOPE_HOST,
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("local route: %w", err)
	}
	return nil
}

// steer diverts new connections, or leaves them to the kernel.
func (r *rules) steer(on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn.FlushChain(r.chain)
	if on {
		for _, parts := range r.divert() {
			r.conn.AddRule(&nftables.Rule{Table: r.table, Chain: r.chain, Exprs: netfilter.Rule(parts...)})
		}
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("nftables: divert: %w", err)
	}
	return nil
}

// divert is the rules that divert new connections.
func (r *rules) divert() [][]netfilter.Part {
	from := []netfilter.Part{nil}
	if r.opts.Interfaces != nil {
		from = nil
		for _, name := range r.opts.Interfaces {
			from = append(from, netfilter.In(name))
		}
	}
	to := []netfilter.Part{nil}
	if r.opts.Ports != nil {
		to = nil
		for _, p := range r.opts.Ports {
			to = append(to, netfilter.DstPorts(p.First, p.Last))
		}
	}
	var all [][]netfilter.Part
	for _, f := range from {
		for _, t := range to {
			all = append(all, []netfilter.Part{
				f, netfilter.Protocol(netfilter.TCP), t,
				netfilter.SetMark(localMark), netfilter.Divert(r.listener), netfilter.Accept(),
			})
		}
	}
	return all
}

// freeze drops, and logs, all packets that come in with these tuples.
func (r *rules) freeze(tuples ...netfilter.Tuple) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.conn.SetAddElements(r.frozen, elements(tuples)); err != nil {
		return fmt.Errorf("nftables: freeze: %w", err)
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("nftables: freeze: %w", err)
	}
	return nil
}

// thaw takes back freeze.
func (r *rules) thaw(tuples ...netfilter.Tuple) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(tuples) == 0 {
		return nil
	}
	if err := r.conn.SetDeleteElements(r.frozen, elements(tuples)); err != nil {
		return fmt.Errorf("nftables: thaw: %w", err)
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("nftables: thaw: %w", err)
	}
	return nil
}

// isHole says whether packets of a flow are dropped.
func (r *rules) isHole(flow netfilter.Tuple) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.holes[flow])
}

// blackHole drops all packets of these flows, in both directions, for good.
func (r *rules) blackHole(flows ...netfilter.Tuple) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(r.holes, func(_ netfilter.Tuple, until time.Time) bool { return until.Before(now) })
	var tuples []netfilter.Tuple
	for _, f := range flows {
		tuples = append(tuples, f, f.Reverse())
	}
	if err := r.conn.SetAddElements(r.holed, elements(tuples)); err != nil {
		return fmt.Errorf("nftables: black hole: %w", err)
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("nftables: black hole: %w", err)
	}
	for _, t := range tuples {
		r.holes[t] = now.Add(holeTimeout)
	}
	return nil
}

func elements(tuples []netfilter.Tuple) []nftables.SetElement {
	all := make([]nftables.SetElement, 0, len(tuples))
	for _, t := range tuples {
		all = append(all, netfilter.Element(t))
	}
	return all
}
