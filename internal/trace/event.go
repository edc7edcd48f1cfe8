// Package trace is the model that everything after a run reads: the ordered
// events of all nodes.
package trace

import (
	"net/netip"
	"time"
)

// Type says what happened. The list in this file is the whole vocabulary.
type Type string

// What a client records about one of its sessions.
const (
	// DialStart: an attempt to connect begins. Attempt counts from 1.
	DialStart Type = "dial.start"
	// DialFailed: the attempt failed. Stage says where ("tcp", "proxy", "tls",
	// "websocket"), Status holds an HTTP status or SOCKS reply if there was one.
	DialFailed Type = "dial.failed"
	// Open: the WebSocket handshake is done. Flow is the client's own TCP
	// connection (to the server, or to its proxy).
	Open Type = "open"
	// Close: the connection is over for the client. Code is the close code
	// (1006 when there was no close frame), By says who ended it ("peer", "strategy",
	// "network", "runner"), Err the error.
	Close Type = "close"
	// Sent: a numbered message was written. Seq is its number.
	Sent Type = "msg.sent"
	// Acked: the echo of a numbered message came back. Dur is the round trip.
	Acked Type = "msg.acked"
	// Received: a numbered push of the server arrived.
	Received Type = "push.received"
	// KeepaliveSent and KeepaliveAnswered: a ping and its pong, or a heartbeat
	// and its answer. Detail is "ping" or "heartbeat"; Seq counts them on the connection.
	KeepaliveSent     Type = "keepalive.sent"
	KeepaliveAnswered Type = "keepalive.answered"
	// KeepaliveTimeout: no answer in time; Dur is the timeout. The strategy gives the connection up.
	KeepaliveTimeout Type = "keepalive.timeout"
	// KeepaliveLate: the answer came after the connection was given up; Dur
	// is the time from the ping to it.
	KeepaliveLate Type = "keepalive.late"
	// ReconnectWait: the strategy waits Dur before attempt Attempt.
	ReconnectWait Type = "reconnect.wait"
	// ReconnectGaveUp: the strategy will not try again; Detail says why.
	ReconnectGaveUp Type = "reconnect.gave-up"
)

// What a server records. Session names the client session where it is known.
const (
	// Accepted: a WebSocket handshake was answered with 101. Flow is as the server sees it.
	Accepted Type = "server.accepted"
	// Refused: a handshake was refused; Status says how, Detail why.
	Refused Type = "server.refused"
	// ServerReceived: a numbered message of a client arrived.
	ServerReceived Type = "server.received"
	// ServerPushed: a numbered push was written.
	ServerPushed Type = "server.pushed"
	// ServerClosed: the connection is over for the server.
	ServerClosed Type = "server.closed"
)

// What the nodes on the way record.
const (
	// Relayed: a node that ends TCP (a proxy, or a transparent interception)
	// took a connection and opened its own. Flow is the one taken, Next the one opened.
	Relayed Type = "relay.open"
	// RelayClosed: such a pair is over. By says who ended it: "client", "server",
	// "idle", "toxic" or "node".
	RelayClosed Type = "relay.closed"
	// RelayRefused: a proxy refused; Status holds the HTTP status or the SOCKS reply code.
	RelayRefused Type = "relay.refused"
	// MappingCreated: the NAT has a new mapping. Flow is inside, Next is how it looks outside.
	MappingCreated Type = "nat.created"
	// MappingRefreshed: packets passed after a silence of Dur and re-armed the mapping's timer.
	MappingRefreshed Type = "nat.refreshed"
	// MappingExpired: the mapping is gone because of silence. Dur is the
	// time since its last packet.
	MappingExpired Type = "nat.expired"
	// MappingClosed: the mapping is gone after FIN or RST.
	MappingClosed Type = "nat.closed"
	// MappingFlushed: the mapping was taken away by a flush or a restart.
	MappingFlushed Type = "nat.flushed"
	// Blocked: a firewall or a NAT stopped packets of a flow; Detail says by
	// which rule, Count how many since the last event of this flow.
	Blocked Type = "packet.blocked"
	// Inspected: a firewall looked into a stream and acted; Detail says on what.
	Inspected Type = "firewall.inspected"
	// ToxicAdded, ToxicRemoved, ToxicUpdated: a toxic came, went or changed. Detail is its type.
	ToxicAdded   Type = "toxic.added"
	ToxicRemoved Type = "toxic.removed"
	ToxicUpdated Type = "toxic.updated"
	// ToxicFired: a toxic ended or cut a connection: Detail is its type.
	ToxicFired Type = "toxic.fired"
)

// What the runner and every node records.
const (
	// Ready: the node does its work.
	Ready Type = "node.ready"
	// Restarting: the node's process is replaced; Dur is how long it stays down.
	Restarting Type = "node.restarting"
	// Stopped: the node's process ends; Err is why if it is not on request.
	Stopped Type = "node.stopped"
	// Paused and Resumed: the runner stopped and continued the node's process.
	Paused  Type = "node.paused"
	Resumed Type = "node.resumed"
	// StepStart and StepEnd: a step of the scenario. Seq is its number, Detail its text.
	StepStart Type = "step.start"
	StepEnd   Type = "step.end"
	// Log: a line for a reader of `wslab logs`.
	Log Type = "log"
)

// Flow is one direction-less TCP connection as one machine sees it: Src opened it.
type Flow struct {
	Src netip.AddrPort `json:"src"`
	Dst netip.AddrPort `json:"dst"`
}

// String returns "src > dst".
func (f Flow) String() string { return f.Src.String() + " > " + f.Dst.String() }

// Reverse returns the flow seen from the other end.
func (f Flow) Reverse() Flow { return Flow{Src: f.Dst, Dst: f.Src} }

// Event is one thing that happened at one node. Fields that do not apply are zero.
type Event struct {
	// Time on the wall clock of the machine that all nodes share.
	Time time.Time `json:"time"`
	// Node that recorded the event; "runner" for the runner's own.
	Node string `json:"node"`
	Type Type   `json:"type"`
	// Session is the client session that the event belongs to.
	Session string `json:"session,omitempty"`
	// Conn counts the connections of a session, from 1.
	Conn int `json:"conn,omitempty"`
	// Attempt counts attempts to connect since the last open connection, from 1.
	Attempt int `json:"attempt,omitempty"`
	// Seq is the number of a message, a ping or a step.
	Seq int64 `json:"seq,omitempty"`
	// Count of packets, bytes or messages that the event stands for.
	Count int64 `json:"count,omitempty"`
	// Flow and Next are the connection and, where a node changes it, how it goes on.
	Flow *Flow `json:"flow,omitempty"`
	Next *Flow `json:"next,omitempty"`
	// Dur is in wall time; readers multiply by the speed.
	Dur time.Duration `json:"dur,omitempty"`
	// Code is a WebSocket close code.
	Code int `json:"code,omitempty"`
	// Status is an HTTP status or a SOCKS5 reply code.
	Status int `json:"status,omitempty"`
	// Stage of a connection attempt.
	Stage string `json:"stage,omitempty"`
	// By says who did it.
	By     string `json:"by,omitempty"`
	Detail string `json:"detail,omitempty"`
	Err    string `json:"err,omitempty"`
}

// Recorder takes events. It is safe for concurrent use and does not block for long.
type Recorder interface {
	Record(Event)
}

// RecorderFunc is a function as a Recorder.
type RecorderFunc func(Event)

// Record calls f.
func (f RecorderFunc) Record(e Event) { f(e) }
