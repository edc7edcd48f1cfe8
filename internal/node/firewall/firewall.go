// Package firewall is the firewall of a lab: nftables in the node's network namespace,
// and a look into cleartext streams for those that want to become a WebSocket.
package firewall

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/topology"
)

// What happens to packets that are not allowed, and to streams that an inspection stops.
const (
	// Pass lets a stream through.
	Pass = "pass"
	// Drop takes packets away without a word: a black hole.
	Drop = "drop"
	// Reject answers with a RST (TCP) or ICMP "administratively prohibited".
	Reject = "reject"
	// Reset sends a RST to both ends.
	Reset = "reset"
)

// Settings of a firewall in a lab file.
type Settings struct {
	Allow   []string   `json:"allow" doc:"What may be opened through the firewall, in either direction: tcp/443, tcp/8000-8100, udp/53, icmp. Answers may always pass; everything else is stopped."`
	OnDeny  string     `json:"on_deny" doc:"Whether packets that are not allowed vanish or are answered with a RST or an ICMP error." enum:"drop,reject"`
	Inspect Inspection `json:"inspect" doc:"What the firewall looks for inside of allowed TCP streams."`
}

// Inspection says what is done about what is found in a stream.
type Inspection struct {
	WebSocket string `json:"websocket" doc:"What happens to a stream with a cleartext request to upgrade to WebSocket: it passes, becomes a black hole, or is reset at both ends. TLS is not looked into." enum:"pass,drop,reset"`
}

// Kind is the firewall kind.
func Kind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{
			Name:    "firewall",
			Summary: "Lets through what is allowed, stateful, and may stop cleartext WebSocket streams.",
			Settings: func() any {
				return &Settings{OnDeny: Drop, Inspect: Inspection{WebSocket: Pass}}
			},
			Routes:      true,
			Carries:     true,
			MinNetworks: 2,
			Check:       check,
			Needs: func(any) topology.Needs {
				return topology.Needs{
					// NET_RAW for the probes with which open connections are adopted.
					Capabilities: []string{"NET_ADMIN", "NET_RAW"},
					Sysctls: map[string]string{
						"net.ipv4.ip_forward": "1",
						// What a node sends to adopt a connection is out of the window on purpose.
						"net.netfilter.nf_conntrack_tcp_be_liberal": "1",
					},
				}
			},
		},
		Run: run,
	}
}

func check(c *topology.NodeCheck) {
	for i, text := range c.Node.Settings.(*Settings).Allow {
		if _, err := parseService(text); err != nil {
			c.Problemf(fmt.Sprintf("allow[%d]", i), "tcp/443, tcp/8000-8100, udp/53 and icmp are understood", "%v", err)
		}
	}
}

// service is what may be opened: a protocol and, but for ICMP, a range of ports.
type service struct {
	protocol    string
	first, last uint16
}

// parseService reads "tcp/443", "tcp/8000-8100", "udp/53" or "icmp".
func parseService(text string) (service, error) {
	protocol, ports, ranged := strings.Cut(text, "/")
	switch {
	case protocol == "icmp" && !ranged:
		return service{protocol: protocol}, nil
	case protocol != "tcp" && protocol != "udp":
		return service{}, fmt.Errorf("allow %q: the protocol is %q, not tcp, udp or icmp", text, protocol)
	case !ranged:
		return service{}, fmt.Errorf("allow %q: which port?", text)
	}
	from, to, ranged := strings.Cut(ports, "-")
	if !ranged {
		to = from
	}
	first, err := parsePort(from)
	if err != nil {
		return service{}, fmt.Errorf("allow %q: %w", text, err)
	}
	last, err := parsePort(to)
	if err != nil {
		return service{}, fmt.Errorf("allow %q: %w", text, err)
	}
	if last < first {
		return service{}, fmt.Errorf("allow %q: %d comes before %d", text, last, first)
	}
	return service{protocol, first, last}, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port from 1 to 65535", text)
	}
	return uint16(n), nil
}
