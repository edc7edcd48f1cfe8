// Package nat is the NAT of a lab: the kernel's own masquerade and connection table
// in the node's network namespace, and the events that the kernel reports about them.
package nat

import (
	"iter"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
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

// Which port a connection gets outside.
const (
	// Keep is how Linux masquerades: the port of the inside as long as no other
	// connection has it ("port preservation", RFC 4787, section 4.2.1).
	Keep = "keep"
	// Random is `masquerade fully-random`: another port for each mapping, so that a
	// connection whose mapping is made anew is another one to the server.
	Random = "random"
)

// What happens to a new connection when the table is full.
const (
	// DropNew drops it; those that are there live.
	DropNew = "drop"
	// Evict lets it in and forgets the mapping that has been silent for longest.
	Evict = "evict"
)

// Settings of a NAT in a lab file.
//
// Mapping and filtering are those of the kernel (RFC 4787, sections 4.1 and 5): both
// address and port-dependent, for every protocol. A mapping serves one connection, and
// only its server's packets come in by it.
type Settings struct {
	IdleTimeout       time.Duration     `json:"idle_timeout" doc:"How long an established TCP connection may be silent before its mapping expires. The default is that of Linux." min:"1s" clock:"kernel"`
	TransitoryTimeout time.Duration     `json:"transitory_timeout" doc:"The same for TCP connections that are half open or half closed (RFC 5382, section 5), and for how long one that was closed is remembered. The default is that of Linux: 30 s to 120 s, by state." min:"1s" clock:"kernel"`
	UDPTimeout        time.Duration     `json:"udp_timeout" doc:"The same for UDP. The default is that of Linux: 30 s, and 120 s once there were answers." min:"1s" clock:"kernel"`
	OnExpiry          string            `json:"on_expiry" doc:"What happens to packets of a connection whose mapping has expired: they are dropped, the inside is reset, or a new mapping is made." enum:"drop,reset,recover"`
	Ports             string            `json:"ports" doc:"Which port a connection has outside: its own as long as that is free, or one at random. With random a mapping that is made anew is another connection to the server, which answers with a RST." enum:"keep,random"`
	MaxEntries        int               `json:"max_entries" doc:"How many connections may have a mapping at a time; those that are closed do not count. The default, 0, is as many as the kernel can hold." min:"0"`
	OnFull            string            `json:"on_full" doc:"What happens to a new connection when max_entries have a mapping: it is dropped, or it is let in and the mapping that has been silent for longest is forgotten." enum:"drop,evict"`
	Forward           map[string]string `json:"forward" doc:"Port forwards: which node of the inside stands behind a port of the outside address, such as tcp/8443: server or tcp/8443: \"server:443\". Toxics do not reach their connections."`
	Hairpin           bool              `json:"hairpin" doc:"Whether the inside gets to port forwards by the outside address (NODE.NETWORK is its name) as well; it comes from the outside address then (RFC 5382, REQ-8). Without, such packets are dropped."`
}

// Kind is the NAT kind.
func Kind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{
			Name:    "nat",
			Summary: "Hides its other networks behind its address on the last one, and forgets quiet connections.",
			Settings: func() any {
				return &Settings{IdleTimeout: 432000 * time.Second, OnExpiry: Drop, Ports: Keep, OnFull: DropNew}
			},
			Routes:      true,
			OneWay:      true,
			Moves:       true,
			Carries:     true,
			MinNetworks: 2,
			Check:       check,
			Needs:       needs,
		},
		Run: run,
	}
}

func needs(settings any) topology.Needs {
	s := settings.(*Settings)
	sysctls := map[string]string{
		"net.ipv4.ip_forward":                       "1",
		"net.netfilter.nf_conntrack_acct":           "1",
		"net.netfilter.nf_conntrack_tcp_be_liberal": "1",
		netfilter.EstablishedTimeout:                "@" + s.IdleTimeout.String(),
	}
	for d, timeouts := range s.otherTimeouts() {
		for _, t := range timeouts {
			if d > 0 {
				sysctls[t.Sysctl] = "@" + d.String()
			}
		}
	}
	// NET_RAW for the probes with which open connections are adopted.
	return topology.Needs{Capabilities: []string{"NET_ADMIN", "NET_RAW"}, Sysctls: sysctls, OnwardPorts: true}
}

// otherTimeouts yields the timeouts beside that of established connections, with what
// they are to be; 0 is Linux's own.
func (s *Settings) otherTimeouts() iter.Seq2[time.Duration, []netfilter.Timeout] {
	return func(yield func(time.Duration, []netfilter.Timeout) bool) {
		_ = yield(s.TransitoryTimeout, netfilter.TransitoryTimeouts()) && yield(s.UDPTimeout, netfilter.UDPTimeouts())
	}
}

func check(c *topology.NodeCheck) {
	s := c.Node.Settings.(*Settings)
	checkForwards(c, s)
	if s.OnFull == Evict && s.MaxEntries == 0 && c.InFile("on_full") {
		c.Problemf("on_full", "add max_entries, such as max_entries: 512", "%s has no table that could be full", c.Node.Name)
	}
}
