// Package firewall is the firewall of a lab: nftables in the node's network namespace,
// ordered rules with or without connection tracking, an idle timeout that the kernel
// keeps, and a look into streams for what a rule about their content stops.
package firewall

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/topology"
)

// What happens to packets of a connection that the firewall has forgotten: Drop, Reset
// (RST to whoever sends next, as the AWS Network Load Balancer does), or Recover.
const (
	// Recover is how Linux behaves by itself (net.netfilter.nf_conntrack_tcp_loose): a
	// packet that the rules let open a connection makes the entry anew.
	Recover = "recover"
)

// linuxTimeout is how long Linux lets an established connection be silent
// (nf_conntrack-sysctl in the kernel's documentation).
const linuxTimeout = 432000 * time.Second

// Settings of a firewall in a lab file.
type Settings struct {
	Allow       []string      `json:"allow" doc:"What may be opened through the firewall, in either direction: tcp/443, tcp/8000-8100, udp/53, icmp. The short form of rules: a lab has the one or the other."`
	Rules       []Rule        `json:"rules,omitempty" doc:"What may pass and what may not, in order: the first rule that matches a packet decides. Answers may always pass, unless the firewall is stateless."`
	OnDeny      string        `json:"on_deny" doc:"Whether packets that nothing allows vanish or are answered with a RST or an ICMP error." enum:"drop,reject"`
	Stateful    bool          `json:"stateful" doc:"Whether the firewall knows connections. Without, each packet is judged by itself: answers need rules of their own (from_port)."`
	IdleTimeout time.Duration `json:"idle_timeout" doc:"How long an established TCP connection may be silent before the firewall forgets it. The default is that of Linux." min:"1s" clock:"kernel"`
	OnExpiry    string        `json:"on_expiry" doc:"What happens to packets of a connection that the firewall has forgotten: they are dropped, and only a SYN is accepted; whoever sends next is answered with a RST; or the connection goes on if the rules would let its sender open one." enum:"drop,reset,recover"`
	Inspect     Inspection    `json:"inspect" doc:"What the firewall looks for inside of the TCP streams that its rules let pass."`
}

// Kind is the firewall kind.
func Kind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{
			Name:    "firewall",
			Summary: "Lets through what its rules allow, stateful or not, forgets quiet connections, and may look into streams.",
			Settings: func() any {
				return &Settings{OnDeny: Drop, Stateful: true, IdleTimeout: linuxTimeout, OnExpiry: Drop, Inspect: defaultInspection()}
			},
			Routes:      true,
			Carries:     true,
			MinNetworks: 2,
			Check:       check,
			Needs: func(settings any) topology.Needs {
				return topology.Needs{
					// NET_RAW for the probes with which open connections are adopted.
					Capabilities: []string{"NET_ADMIN", "NET_RAW"},
					Networks:     true,
					OnwardPorts:  true,
					Sysctls: map[string]string{
						"net.ipv4.ip_forward":             "1",
						"net.netfilter.nf_conntrack_acct": "1",
						// What a node sends to adopt a connection is out of the window on purpose.
						"net.netfilter.nf_conntrack_tcp_be_liberal":          "1",
						"net.netfilter.nf_conntrack_tcp_timeout_established": "@" + settings.(*Settings).IdleTimeout.String(),
					},
				}
			},
		},
		Run: run,
	}
}

func check(c *topology.NodeCheck) {
	s := c.Node.Settings.(*Settings)
	for i, text := range s.Allow {
		if _, err := parseService(text); err != nil {
			c.Problemf(fmt.Sprintf("allow[%d]", i), "tcp/443, tcp/8000-8100, udp/53 and icmp are understood", "%v", err)
		}
	}
	if len(s.Allow) > 0 && len(s.Rules) > 0 {
		c.Problemf("allow", "write it as a rule: { proto: tcp, port: 443, action: accept }", "allow is the short form of rules: %s has both", c.Node.Name)
	}
	checkRules(c, s.Rules)
	if !s.Stateful {
		checkStateless(c, s)
	}
	s.Inspect.check(c)
}

// checkRules reports what is wrong with single rules, and those that nothing gets to.
func checkRules(c *topology.NodeCheck, rules []Rule) {
	var networks []topology.PlannedNetwork
	var names []string
	for _, n := range c.Lab.Networks {
		networks = append(networks, topology.PlannedNetwork{Name: n.Name, Asked: n.Prefix, Prefix: n.Prefix})
		names = append(names, n.Name)
	}
	named := rangeOf(networks)
	var before []rule
	for i, r := range rules {
		key := fmt.Sprintf("rules[%d]", i)
		for place, list := range map[string][]string{"from": r.From, "to": r.To} {
			for n, name := range list {
				if _, ok := named(name); !ok {
					c.Problemf(fmt.Sprintf("%s.%s[%d]", key, place, n), placeHint(c, name, names), "%q is no network of the lab, no range and no address", name)
				}
			}
		}
		out, wrong := r.resolve(i, func(name string) (netip.Prefix, bool) {
			p, _ := named(name) // reported above
			return p, true
		}, nil)
		for _, w := range wrong {
			path := key
			if w.key != "" {
				path += "." + w.key
			}
			c.Problemf(path, w.hint, "%s", w.text)
		}
		if k, ok := shadow(rules, before, r, out); ok && len(wrong) == 0 {
			c.Problemf(key, "move it up, or leave it out", "rule %d is never asked: rule %d matches all that it does", i+1, k+1)
		}
		before = append(before, out)
	}
}

// shadow finds a rule before another one that leaves it nothing.
func shadow(rules []Rule, before []rule, r Rule, out rule) (int, bool) {
	for k, b := range before {
		way := rules[k].Direction
		if b.covers(out) && (way == "" || way == Both || way == r.Direction) {
			return k, true
		}
	}
	return 0, false
}

// placeHint says what could have been meant by a name.
func placeHint(c *topology.NodeCheck, name string, networks []string) string {
	if p, err := netip.ParsePrefix(name); err == nil && p.Addr().Is4() {
		return fmt.Sprintf("did you mean %q?", p.Masked())
	}
	return c.Suggest(name, networks)
}

// checkStateless reports what a firewall without state cannot do.
func checkStateless(c *topology.NodeCheck, s *Settings) {
	if len(s.Allow) > 0 {
		c.Problemf("allow", "write rules, those for answers as well: { proto: tcp, from_port: 443, action: accept }",
			"a stateless firewall knows no answers: with allow alone none would come back")
	}
	for _, key := range []string{"idle_timeout", "on_expiry"} {
		if c.InFile(key) {
			c.Problemf(key, "leave it out, or make it stateful", "a stateless firewall knows no connections that it could forget")
		}
	}
	if s.Inspect.active() {
		c.Problemf("inspect", "leave it out, or make it stateful", "a stateless firewall sees packets, not streams: it cannot look into them")
	}
}
