package nat

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"

	"github.com/wslab/wslab/internal/netfilter"
)

// Priorities. The guard has to stand before the translation of destinations (-100) and
// the diversion of intercepted connections (-90), and behind conntrack (-200).
const (
	guardPriority      = -150
	redirectPriority   = -100
	forwardPriority    = 0
	masqueradePriority = 100
)

// Rules that stop packets, as packet.blocked names them.
const (
	noMapping      = "no mapping: dropped"
	noMappingReset = "no mapping: reset"
	unsolicited    = "unsolicited: dropped"
	tableFull      = "table full: dropped"
	noHairpin      = "no hairpin: dropped"
)

// rules are what a NAT's rules depend on.
type rules struct {
	outside   string     // interface
	address   netip.Addr // of it
	onExpiry  string
	random    bool   // ports
	most      uint32 // connections from the inside; 0 is no limit
	redirects []redirect
	hairpin   bool
}

// install sets the NAT's rules up in place of those that an earlier process left.
//
// The rule that makes an idle timeout felt is that a TCP segment of no known connection
// which does not open one is stopped. Without it the kernel would pick the
// connection up again (net.netfilter.nf_conntrack_tcp_loose). It stands where packets
// come in, so that it holds for forwarded packets, for those of intercepted connections, and
// for those to the NAT itself; and where they go out, for what is sent on intercepted
// connections.
func (r rules) install() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "wslab-nat"}
	conn.AddTable(t) // so that there is one to delete
	conn.DelTable(t)
	conn.AddTable(t)
	chain := func(name string, typ nftables.ChainType, hook *nftables.ChainHook, priority int) func(parts ...netfilter.Part) {
		c := conn.AddChain(netfilter.BaseChain(t, name, typ, hook, priority))
		return func(parts ...netfilter.Part) {
			conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: netfilter.Rule(parts...)})
		}
	}
	in, out := netfilter.In(r.outside), netfilter.Out(r.outside)
	inside, toInside := netfilter.NotIn(r.outside), netfilter.NotOut(r.outside)

	guard := chain("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, guardPriority)
	sent := chain("sent", nftables.ChainTypeFilter, nftables.ChainHookOutput, guardPriority)
	guard(netfilter.In("lo"), netfilter.Accept())
	sent(netfilter.Out("lo"), netfilter.Accept())
	for _, stranger := range strangers() {
		switch r.onExpiry {
		case Drop:
			guard(stranger, netfilter.LogTo(netfilter.BlockedGroup, noMapping), netfilter.Drop())
			sent(stranger, netfilter.Drop())
		case Reset:
			guard(in, stranger, netfilter.LogTo(netfilter.BlockedGroup, noMapping), netfilter.Drop())
			guard(inside, stranger, netfilter.LogTo(netfilter.BlockedGroup, noMappingReset), netfilter.Reset())
			sent(out, stranger, netfilter.Drop())
			// The RSTs of the rule above go out here.
			sent(toInside, stranger, netfilter.NotRST(), netfilter.Drop())
		}
	}

	if r.most > 0 {
		// Before a connection is diverted: the relay would accept it.
		opens := join(inside, netfilter.State(netfilter.New), netfilter.ForOthers(), netfilter.MoreThan(r.most))
		guard(opens, netfilter.LogTo(netfilter.BlockedGroup, tableFull), netfilter.Drop())
	}

	redirect := chain("redirect", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, redirectPriority)
	masquerade := chain("masquerade", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, masqueradePriority)
	for _, to := range r.redirects {
		service := join(netfilter.To(netip.PrefixFrom(r.address, 32)), netfilter.Protocol(to.protocol), netfilter.DstPorts(to.port, to.port))
		if !r.hairpin {
			guard(inside, service, netfilter.LogTo(netfilter.BlockedGroup, noHairpin), netfilter.Drop())
		}
		redirect(service, netfilter.RewriteDestination(to.to))
	}
	if r.hairpin {
		// Else the node behind the forward would answer the client past the NAT.
		masquerade(inside, toInside, netfilter.Redirected(), netfilter.RewriteSource(r.address, r.random))
	}
	if r.random {
		masquerade(out, netfilter.MasqueradeRandomly())
	} else {
		masquerade(out, netfilter.Masquerade())
	}

	forward := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, forwardPriority)
	forward(in, netfilter.State(netfilter.New), netfilter.NotRedirected(), netfilter.LogTo(netfilter.BlockedGroup, unsolicited), netfilter.Drop())
	// What still comes for a connection that the relay had and has no more: there is no
	// socket for it, and nothing would translate it. Answers by a port forward are no such.
	forward(out, netfilter.Protocol(netfilter.TCP), netfilter.State(netfilter.Established),
		netfilter.NotTranslated(), netfilter.NotRedirected(), netfilter.Reset())

	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: NAT rules: %w", err)
	}
	return nil
}

// strangers match TCP segments that belong to no known connection and open none.
func strangers() []netfilter.Part {
	tcp := netfilter.Protocol(netfilter.TCP)
	return []netfilter.Part{
		join(tcp, netfilter.State(netfilter.Invalid)),
		join(tcp, netfilter.State(netfilter.New), netfilter.NotSYN()),
	}
}

func join(parts ...netfilter.Part) netfilter.Part { return netfilter.Rule(parts...) }
