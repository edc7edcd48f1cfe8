package proxy

import (
	"slices"
	"time"

	"github.com/wslab/wslab/topology"
)

// ReverseSettings are the keys of a reverse proxy beside those that all proxies have.
type ReverseSettings struct {
	Upstream    []string      `json:"upstream,omitempty" doc:"The server that it stands in front of, or a list of them (protocol reverse)."`
	UpstreamTLS bool          `json:"upstream_tls" doc:"Whether it speaks TLS to its upstream (protocol reverse)."`
	ClientTLS   bool          `json:"client_tls" doc:"Whether it speaks TLS to its clients (protocol reverse); if not, it takes ws alone, on port 80 unless port says otherwise."`
	Balance     string        `json:"balance" doc:"Which of several upstreams takes a connection (protocol reverse): round-robin; client-address, always the same for an address; cookie, the one that the cookie SERVERID names, which the proxy sets." enum:"round-robin,client-address,cookie"`
	FailTimeout time.Duration `json:"fail_timeout" doc:"How long an upstream that could not be reached is left out while there are others, as nginx has it (protocol reverse); 0 leaves none out." min:"0s"`
	DownStatus  int           `json:"down_status" doc:"Status for a client when no upstream can be reached (protocol reverse): 502 as nginx has it, 503 as HAProxy. One that does not answer in time is 504." min:"500" max:"599"`

	AnswerTimeout time.Duration `json:"answer_timeout" doc:"How long its upstream may take to answer a request before the client gets a 504 (protocol reverse); 0 is 30 s of real time." min:"0s"`
	Forwarded     bool          `json:"forwarded" doc:"Whether it adds X-Forwarded-For, -Host and -Proto, and Via (protocol reverse)."`
	HTTPVersion   string        `json:"http_version,omitempty" doc:"HTTP version that a request with an Upgrade is sent on with (protocol reverse); without it 1.1, and 1.0 where upgrade is strip, as nginx before 1.29.7." enum:"1.0,1.1"`

	Activity    string        `json:"activity" doc:"What re-arms idle_timeout once a connection is upgraded (protocol reverse): any byte either way, bytes of data frames (pings and pongs do not count), or only bytes that go upstream, or downstream." enum:"any,data,upstream,downstream"`
	OnIdle      string        `json:"on_idle" doc:"What the client sees when idle_timeout ends its WebSocket (protocol reverse): a FIN, a RST, or a close frame with that code." enum:"fin,reset,1000,1001,1008,1011,1012,1013"`
	MaxLifetime time.Duration `json:"max_lifetime" doc:"Ends a WebSocket this long after it was opened, whatever passes on it (protocol reverse): keepalive does not help. 0 never does." min:"0s"`
	OnLifetime  string        `json:"on_lifetime" doc:"What the client sees when max_lifetime ends its WebSocket (protocol reverse)." enum:"fin,reset,1000,1001,1008,1011,1012,1013"`
	OnReset     string        `json:"on_reset" doc:"What the client sees when its upstream's connection is reset (protocol reverse): the RST, or a FIN, as nginx and HAProxy have it." enum:"fin,reset"`
	CloseFrames string        `json:"close_frames" doc:"Whether it passes close frames (protocol reverse), or ends the connection with a FIN in their place, which clients report as 1006." enum:"pass,drop"`
	MaxFrame    int           `json:"max_frame" doc:"Bytes of payload that a frame may have, either way (protocol reverse); a longer one ends the connection with 1009. 0 is no limit." min:"0"`
	MaxMessage  int           `json:"max_message" doc:"Bytes that a message may have, all its frames together (protocol reverse); a longer one ends the connection with 1009. 0 is no limit." min:"0"`
	OnDrain     string        `json:"on_drain" doc:"What the clients see when the proxy is drained and the grace is over (protocol reverse)." enum:"fin,reset,1000,1001,1008,1011,1012,1013"`
	OnRestart   string        `json:"on_restart,omitempty" doc:"What the clients see when the proxy is restarted or stopped (protocol reverse); without it what the kernel does with the sockets of a process that ends." enum:"fin,reset,1000,1001,1008,1011,1012,1013"`
}

// What activity, close_frames and balance can be.
const (
	activityAny        = "any"
	activityData       = "data"
	activityUpstream   = "upstream"
	activityDownstream = "downstream"

	pass = "pass"
	drop = "drop"

	balanceRoundRobin = "round-robin"
	balanceAddress    = "client-address"
	balanceCookie     = "cookie"
)

// How a proxy ends a connection of its own accord; else with a close code.
const (
	endFIN   = "fin"
	endReset = "reset"
)

func newReverseSettings() ReverseSettings {
	return ReverseSettings{
		UpstreamTLS: true, ClientTLS: true,
		Balance: balanceRoundRobin, FailTimeout: 10 * time.Second, DownStatus: 502,
		Forwarded: true,
		Activity:  activityAny, OnIdle: endFIN, OnLifetime: endFIN, OnReset: endReset, CloseFrames: pass, OnDrain: endFIN,
	}
}

// Drains says whether the proxy can be drained.
func (s *Settings) Drains() bool { return s.Reverse() }

// checkReverse reports what is wrong with a reverse proxy beyond its single keys.
func checkReverse(c *topology.NodeCheck, s *Settings) {
	if s.ClientTLS && s.Port == cleartextPort {
		c.Problemf("port", "", "port %d is where a reverse proxy takes ws; give another for wss", cleartextPort)
	}
	for key, needs := range map[string]struct {
		key string
		set bool
	}{
		"activity":    {"idle_timeout", s.IdleTimeout > 0},
		"on_idle":     {"idle_timeout", s.IdleTimeout > 0},
		"on_lifetime": {"max_lifetime", s.MaxLifetime > 0},
		"balance":     {"upstream, with a list,", len(s.Upstream) > 1},
	} {
		if c.InFile(key) && !needs.set {
			c.Problemf(key, "", "%s means nothing without %s", key, needs.key)
		}
	}
	checkUpstreams(c, s)
}

func checkUpstreams(c *topology.NodeCheck, s *Settings) {
	var servers []string
	for _, n := range c.Lab.Nodes {
		if n.Kind != nil && n.Kind.Target {
			servers = append(servers, n.Name)
		}
	}
	if len(s.Upstream) == 0 {
		c.Problemf("", c.Suggest("", servers), "a reverse proxy needs an upstream")
	}
	for i, name := range s.Upstream {
		upstream, ok := c.Lab.Node(name)
		switch {
		case !ok:
			c.Problemf("upstream", c.Suggest(name, servers), "there is no node %q", name)
		case slices.Contains(s.Upstream[:i], name):
			c.Problemf("upstream", "", "%s is there twice", name)
		case upstream.Kind == nil:
			// its own kind is reported
		case !upstream.Kind.Target && !upstream.Kind.Opaque:
			c.Problemf("upstream", c.Suggest(name, servers), "%s is a %s, not a server", name, upstream.Kind.Name)
		case !c.Reaches(c.Node.Name, name):
			c.Problemf("upstream", "put both on one network, or a node that routes between them", "%s has no way to %s", c.Node.Name, name)
		}
	}
}
