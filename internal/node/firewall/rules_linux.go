package firewall

import (
	"fmt"

	"github.com/google/nftables"

	"github.com/wslab/wslab/internal/netfilter"
)

// Rules that stop packets, as packet.blocked names them.
const (
	notAllowed         = "not allowed: dropped"
	notAllowedRejected = "not allowed: rejected"
	noConnection       = "no such connection: dropped"
)

// install sets the firewall's rules up in place of those that an earlier process left.
func install(allowed []service, onDeny string) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "wslab-firewall"}
	conn.AddTable(t) // so that there is one to delete
	conn.DelTable(t)
	conn.AddTable(t)
	forward := netfilter.BaseChain(t, "forward", nftables.ChainTypeFilter, nftables.ChainHookForward, 0)
	drop := nftables.ChainPolicyDrop
	forward.Policy = &drop
	conn.AddChain(forward)
	add := func(parts ...netfilter.Part) {
		conn.AddRule(&nftables.Rule{Table: t, Chain: forward, Exprs: netfilter.Rule(parts...)})
	}
	log := func(rule string) netfilter.Part { return netfilter.LogTo(netfilter.BlockedGroup, rule) }
	tcp := netfilter.Protocol(netfilter.TCP)

	add(netfilter.State(netfilter.Established|netfilter.Related), netfilter.Accept())
	add(netfilter.State(netfilter.Invalid), log(noConnection), netfilter.Drop())
	add(tcp, netfilter.NotSYN(), log(noConnection), netfilter.Drop())
	for _, s := range allowed {
		switch s.protocol {
		case "icmp":
			add(netfilter.Protocol(netfilter.ICMP), netfilter.Accept())
		case "tcp":
			add(tcp, netfilter.DstPorts(s.first, s.last), netfilter.Accept())
		case "udp":
			add(netfilter.Protocol(netfilter.UDP), netfilter.DstPorts(s.first, s.last), netfilter.Accept())
		}
	}
	if onDeny == Reject {
		add(tcp, log(notAllowedRejected), netfilter.Reset())
		add(log(notAllowedRejected), netfilter.Prohibit())
	} else {
		add(log(notAllowed), netfilter.Drop())
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: firewall rules: %w", err)
	}
	return nil
}
