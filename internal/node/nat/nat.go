// Package nat is the NAT of a lab: the kernel's own masquerade and connection table
// in the node's network namespace, and the events that the kernel reports about them.
package nat

import (
	"time"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/topology"
)

// What happens to the packets of a connection whose mapping has expired.
const (
	// Drop makes it a black hole in both directions: packets without a mapping vanish.
	Drop = "drop"
	// Reset answers the inside with a RST at its next packet and drops what comes from
	// the outside, as the AWS NAT gateway does ("a NAT gateway returns an RST packet to
	// any resources behind the NAT gateway that attempt to continue the connection").
	Reset = "reset"
	// Recover is how Linux behaves by itself: the inside's next packet makes a new
	// mapping, with the same port as long as that is free, and the connection goes on. A
	// packet of the outside is answered with a RST, as by any machine that does not know
	// the connection.
	Recover = "recover"
)

// Settings of a NAT in a lab file.
type Settings struct {
	IdleTimeout time.Duration `json:"idle_timeout" doc:"How long an established TCP connection may be silent before its mapping expires. The default is that of Linux." min:"1s" clock:"kernel"`
	OnExpiry    string        `json:"on_expiry" doc:"What happens to packets of a connection whose mapping has expired: they are dropped, the inside is reset, or a new mapping is made." enum:"drop,reset,recover"`
}

// Kind is the NAT kind.
func Kind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{
			Name:        "nat",
			Summary:     "Hides its other networks behind its address on the last one, and forgets quiet connections.",
			Settings:    func() any { return &Settings{IdleTimeout: 432000 * time.Second, OnExpiry: Drop} },
			Routes:      true,
			OneWay:      true,
			Carries:     true,
			MinNetworks: 2,
			Needs: func(settings any) topology.Needs {
				return topology.Needs{
					// NET_RAW for the probes with which open connections are adopted.
					Capabilities: []string{"NET_ADMIN", "NET_RAW"},
					Sysctls: map[string]string{
						"net.ipv4.ip_forward":                                "1",
						"net.netfilter.nf_conntrack_acct":                    "1",
						"net.netfilter.nf_conntrack_tcp_be_liberal":          "1",
						"net.netfilter.nf_conntrack_tcp_timeout_established": "@" + settings.(*Settings).IdleTimeout.String(),
					},
				}
			},
		},
		Run: run,
	}
}
