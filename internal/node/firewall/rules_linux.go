package firewall

import (
	"fmt"
	"net/netip"
	"unicode/utf8"

	"github.com/google/nftables"

	"github.com/wslab/wslab/internal/netfilter"
)

// Rules that stop packets, as packet.blocked names them; those of the lab file have
// the names that they give themselves.
const (
	notAllowed         = "not allowed: dropped"
	notAllowedRejected = "not allowed: rejected"
	noConnection       = "no such connection: dropped"
	noConnectionReset  = "no such connection: reset"
)

// Priorities. Packets are judged where they come in, before the diversion of
// connections that are taken over (-90) and behind conntrack (-200), so that the rules
// hold for those as well; without state, packets are kept out of conntrack before it.
const (
	rawPriority   = -300
	judgePriority = -150
)

// longestLabel is how much of a rule's name a logged packet carries (NF_LOG_PREFIXLEN).
const longestLabel = 100

// wall is a firewall's rules on their way to the kernel.
type wall struct {
	settings *Settings
	conn     *nftables.Conn
	table    *nftables.Table
	// watched says that the idle timeout is followed.
	watched bool
}

// install sets the firewall's rules up in place of those that an earlier process left.
func install(s *Settings, rules []rule) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "wslab-firewall"}
	conn.AddTable(t) // so that there is one to delete
	conn.DelTable(t)
	conn.AddTable(t)
	w := &wall{settings: s, conn: conn, table: t, watched: s.followed()}
	judge := conn.AddChain(&nftables.Chain{Table: t, Name: "rules"})
	w.judge(judge, rules)
	if s.Stateful {
		w.stateful(judge.Name)
	} else {
		w.stateless(judge.Name)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: firewall rules: %w", err)
	}
	return nil
}

// chain adds a chain at a hook and returns what adds rules to it.
func (w *wall) chain(name string, hook *nftables.ChainHook, priority int) func(parts ...netfilter.Part) {
	return w.rules(w.conn.AddChain(netfilter.BaseChain(w.table, name, nftables.ChainTypeFilter, hook, priority)))
}

func (w *wall) rules(c *nftables.Chain) func(parts ...netfilter.Part) {
	return func(parts ...netfilter.Part) {
		w.conn.AddRule(&nftables.Rule{Table: w.table, Chain: c, Exprs: netfilter.Rule(parts...)})
	}
}

func logAs(rule string) netfilter.Part {
	for len(rule) > longestLabel {
		_, size := utf8.DecodeLastRuneInString(rule)
		rule = rule[:len(rule)-size]
	}
	return netfilter.LogTo(netfilter.BlockedGroup, rule)
}

// stateful lets answers pass, and stops what belongs to no connection and opens none.
func (w *wall) stateful(judge string) {
	tcp := netfilter.Protocol(netfilter.TCP)
	in := w.chain("in", nftables.ChainHookPrerouting, judgePriority)
	in(netfilter.In("lo"), netfilter.Accept())
	in(netfilter.State(netfilter.Established|netfilter.Related), netfilter.Accept())
	forwarded := netfilter.ForOthers()
	switch w.settings.OnExpiry {
	case Recover:
		in(forwarded, netfilter.State(netfilter.Invalid), logAs(noConnection), netfilter.Drop())
	case Reset:
		for _, stranger := range strangers() {
			in(forwarded, stranger, logAs(noConnectionReset), netfilter.Reset())
		}
		in(forwarded, netfilter.State(netfilter.Invalid), logAs(noConnection), netfilter.Drop())
	default:
		in(forwarded, netfilter.State(netfilter.Invalid), logAs(noConnection), netfilter.Drop())
		in(forwarded, tcp, netfilter.NotSYN(), logAs(noConnection), netfilter.Drop())
	}
	in(forwarded, netfilter.Jump(judge))
	if !w.watched || w.settings.OnExpiry == Recover {
		return
	}
	// What the relay would still send on a connection that is forgotten.
	out := w.chain("sent", nftables.ChainHookOutput, judgePriority)
	out(netfilter.Out("lo"), netfilter.Accept())
	for _, stranger := range strangers() {
		if w.settings.OnExpiry == Reset {
			out(stranger, netfilter.NotRST(), netfilter.Drop()) // the RSTs of the rules above go out here
		} else {
			out(stranger, netfilter.Drop())
		}
	}
}

// strangers match TCP segments that belong to no known connection and open none.
func strangers() []netfilter.Part {
	tcp := netfilter.Protocol(netfilter.TCP)
	return []netfilter.Part{
		netfilter.Rule(tcp, netfilter.State(netfilter.Invalid)),
		netfilter.Rule(tcp, netfilter.State(netfilter.New), netfilter.NotSYN()),
	}
}

// stateless judges every packet by itself. Of a connection that is taken over the
// client's packets are judged where they come in, and what the node sends to the
// client in the server's name where it goes out.
func (w *wall) stateless(judge string) {
	tcp := netfilter.Protocol(netfilter.TCP)
	for name, hook := range map[string]*nftables.ChainHook{"raw-in": nftables.ChainHookPrerouting, "raw-out": nftables.ChainHookOutput} {
		w.chain(name, hook, rawPriority)(netfilter.Untracked())
	}
	in := w.chain("in", nftables.ChainHookPrerouting, judgePriority)
	in(netfilter.In("lo"), netfilter.Accept())
	in(tcp, netfilter.Transparent(), netfilter.Accept())
	in(netfilter.ForOthers(), netfilter.Jump(judge))
	out := w.chain("sent", nftables.ChainHookOutput, judgePriority)
	out(netfilter.Out("lo"), netfilter.Accept())
	out(tcp, netfilter.FromOthers(), netfilter.Jump(judge))
}

// judge adds the rules of the lab file, and what becomes of what they leave.
func (w *wall) judge(c *nftables.Chain, rules []rule) {
	add := w.rules(c)
	for _, r := range rules {
		for _, match := range r.matches() {
			for _, act := range actions(r.action, r.label+": "+verb(r.action)) {
				add(append(match, act...)...)
			}
		}
	}
	deny := notAllowed
	if w.settings.OnDeny == Reject {
		deny = notAllowedRejected
	}
	for _, act := range actions(w.settings.OnDeny, deny) {
		add(act...)
	}
}

// actions are what becomes of a packet, as the ends of one or several rules.
func actions(action, label string) [][]netfilter.Part {
	log := logAs(label)
	reset := []netfilter.Part{netfilter.Protocol(netfilter.TCP), log, netfilter.Reset()}
	switch action {
	case Accept:
		return [][]netfilter.Part{{netfilter.Accept()}}
	case Reset:
		return [][]netfilter.Part{reset}
	case ICMP:
		return [][]netfilter.Part{{log, netfilter.Prohibit()}}
	case Reject:
		return [][]netfilter.Part{reset, {log, netfilter.Prohibit()}}
	}
	return [][]netfilter.Part{{log, netfilter.Drop()}}
}

// matches are the conditions of a rule, one for each combination of what it lists.
func (r rule) matches() [][]netfilter.Part {
	all := [][]netfilter.Part{{}}
	each := func(n int, part func(i int) netfilter.Part) {
		if n == 0 {
			return
		}
		var next [][]netfilter.Part
		for _, parts := range all {
			for i := range n {
				next = append(next, append(parts[:len(parts):len(parts)], part(i)))
			}
		}
		all = next
	}
	protocols := map[string]uint8{"tcp": netfilter.TCP, "udp": netfilter.UDP, "icmp": netfilter.ICMP}
	if p, ok := protocols[r.protocol]; ok {
		each(1, func(int) netfilter.Part { return netfilter.Protocol(p) })
	}
	ranges := func(list []netip.Prefix, part func(netip.Prefix) netfilter.Part) {
		each(len(list), func(i int) netfilter.Part { return part(list[i]) })
	}
	ranges(r.from, netfilter.From)
	ranges(r.to, netfilter.To)
	each(len(r.fromPort), func(i int) netfilter.Part { return netfilter.SrcPorts(r.fromPort[i].first, r.fromPort[i].last) })
	each(len(r.port), func(i int) netfilter.Part { return netfilter.DstPorts(r.port[i].first, r.port[i].last) })
	return all
}
