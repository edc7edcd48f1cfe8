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
	// "websocket"), Status holds an HTTP status or SOCKS reply if there was one, Flow is the
	// client's own TCP connection if there was one.
	DialFailed Type = "dial.failed"
	// DialDropped: the attempt was dropped after Dur: another one was faster, or the old connection
	// was heard of again.
	DialDropped Type = "dial.dropped"
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
	// and its answer. Detail is "ping" or "heartbeat"; Seq counts them on the connection, Count is
	// the bytes of the WebSocket frames (of KeepaliveReceived those of both ways).
	KeepaliveSent     Type = "keepalive.sent"
	KeepaliveAnswered Type = "keepalive.answered"
	// KeepaliveReceived: a ping or a heartbeat of the server arrived and was answered.
	KeepaliveReceived Type = "keepalive.received"
	// KeepaliveTimeout: no answer in time; Dur is the timeout. The strategy gives the connection
	// up. With Detail "silence" nothing was asked: nothing was heard for Dur.
	KeepaliveTimeout Type = "keepalive.timeout"
	// KeepaliveLate: the answer came after the connection was given up; Dur
	// is the time from the ping to it.
	KeepaliveLate Type = "keepalive.late"
	// KeepaliveDoubted: no answer for Dur; the strategy seeks another connection beside this one, and
	// gives it up when it has one. KeepaliveTrusted: it was heard of before that.
	KeepaliveDoubted Type = "keepalive.doubted"
	KeepaliveTrusted Type = "keepalive.trusted"
	// ReconnectWait: the strategy waits Dur before attempt Attempt.
	ReconnectWait Type = "reconnect.wait"
	// SessionResumed: over this connection the session goes on where it was, and Count messages are sent again. With
	// a Detail it does not quite: the server knew nothing of the session, or does not resume any; then Count
	// is 0 or less, and -Count messages may be lost.
	SessionResumed Type = "session.resumed"
	// Stalled: the program of the session did not come back from a message: it read nothing
	// more and sent nothing, for Dur at most. Unstalled: it goes on.
	Stalled   Type = "client.stalled"
	Unstalled Type = "client.unstalled"
	// ReconnectGaveUp: the strategy will not try again; Detail says why.
	ReconnectGaveUp Type = "reconnect.gave-up"
)

// What a server records. Session names the client session where it is known.
const (
	// Accepted: a WebSocket handshake was answered with 101. Flow is as the server sees it,
	// By the user whose session cookie it brought, Detail its Origin, where there were any.
	Accepted Type = "server.accepted"
	// Refused: a handshake was refused; Status says how, Detail why, with the section of the
	// RFC or the setting of the server, which By names if it was one ("origins", "csrf", ...).
	// Without a Status the connection came to nothing before there was an answer.
	Refused Type = "server.refused"
	// ServerReceived: a numbered message of a client arrived.
	ServerReceived Type = "server.received"
	// ServerPushed: a numbered push was written.
	ServerPushed Type = "server.pushed"
	// Answered: a client that is not wslab's own answered, which proves that the connection works both ways. Seq is
	// the push that it has got, 0 for a ping alone; Dur is the round trip. Detail is "push-ack" or "pong";
	// "probe" is the pong to a ping by which the runner asks at the end whether the client is there.
	Answered Type = "server.answered"
	// Heard: a client that is not wslab's own sent something beside numbered messages: Detail is "ping",
	// "heartbeat", or "message".
	Heard Type = "server.heard"
	// ServerClosed: the connection is over for the server. By says who ended it: "peer",
	// "network", "node", "limit" (a frame or message too long), "keepalive" (the client did not
	// answer, or was silent), or "client", which asked for that code; Code is the close code, Detail the reason or what was too long. Where the server
	// ended it, Time is that of its close frame.
	ServerClosed Type = "server.closed"
	// ServerResumed: the client has asked to go on with its session; Count pushes and echoes are
	// sent again, Detail is "fresh" where nothing was known of it.
	ServerResumed Type = "server.resumed"
	// HalfOpen: the server's end of a connection is not there any more, and nobody is
	// told. Detail is "hung" (the process: its kernel still acknowledges) or "vanished" (the
	// machine). Revived: it is there again.
	HalfOpen Type = "server.half-open"
	Revived  Type = "server.revived"
)

// What the nodes on the way record.
const (
	// Relayed: a node that ends TCP (a proxy, or a transparent interception)
	// took a connection and opened its own. Flow is the one taken, Next the one opened.
	Relayed Type = "relay.open"
	// RelayClosed: such a pair is over. By says who ended it: "client", "server",
	// "idle", "toxic" or "node"; of a reverse proxy also "lifetime", "drain", or "limit"
	// (a frame or message too long). Detail says how the client was told where the proxy
	// ended it: "fin", "reset" or a close code.
	RelayClosed Type = "relay.closed"
	// Draining: a proxy ends its connections, Count of them, when Dur has passed.
	Draining Type = "relay.draining"
	// RelayRefused: a proxy refused; Status holds the HTTP status or the SOCKS reply code,
	// By the setting of the proxy that did it ("allow_connect", "users", "auth", "captive",
	// "max_connections", ...), where it was one.
	RelayRefused Type = "relay.refused"
	// UpgradeStripped: a proxy took Upgrade out of a request, which went on without
	// it; Status is what was answered.
	UpgradeStripped Type = "relay.upgrade-stripped"
	// RelayQueued: a proxy that is full lets a client wait.
	RelayQueued Type = "relay.queued"
	// LoggedIn: a client has logged in at a proxy's captive portal; Detail is its address.
	LoggedIn Type = "relay.login"
	// Intercepted: a proxy opened a client's TLS. Detail is the issuer of the certificate that
	// it showed, By the name that the client asked for; Err is why TLS failed, if it did.
	Intercepted Type = "relay.intercepted"
	// CacheHit: a proxy answered from its cache; Detail is the request, Dur the age of the
	// answer in wall time.
	CacheHit Type = "relay.cached"
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
	// MappingEvicted: the mapping was taken away to make room for another, because the
	// table was full. Dur is the time since its last packet.
	MappingEvicted Type = "nat.evicted"
	// ConnectionTracked: a firewall with an idle timeout of its own has a new connection.
	ConnectionTracked Type = "firewall.tracked"
	// ConnectionRefreshed: packets passed after a silence of Dur and re-armed the
	// connection's timer.
	ConnectionRefreshed Type = "firewall.refreshed"
	// ConnectionExpired: the firewall forgot the connection because of silence. Dur is
	// the time since its last packet.
	ConnectionExpired Type = "firewall.expired"
	// ConnectionClosed: the connection is over for the firewall after FIN or RST.
	ConnectionClosed Type = "firewall.closed"
	// ConnectionFlushed: the firewall was told to forget the connection.
	ConnectionFlushed Type = "firewall.flushed"
	// Blocked: a firewall or a NAT stopped packets of a flow; Detail says by
	// which rule, Count how many since the last event of this flow.
	Blocked Type = "packet.blocked"
	// Inspected: a firewall looked into a stream and acted; Detail says by which rule, By
	// what it does from then on: "drop", "black-hole", "reset" or "slow".
	Inspected Type = "firewall.inspected"
	// ToxicAdded, ToxicRemoved, ToxicUpdated: a toxic came, went or changed. Detail is its type.
	ToxicAdded   Type = "toxic.added"
	ToxicRemoved Type = "toxic.removed"
	ToxicUpdated Type = "toxic.updated"
	// ToxicFired: a toxic ended or cut a connection: Detail is its type.
	ToxicFired Type = "toxic.fired"
)

// What every node records of the conditions of its links.
const (
	// LinkChanged: a network of the node, or with By that node's place on it, has
	// the conditions of Detail; none if it is empty.
	LinkChanged Type = "link.changed"
)

// What the runner and every node records.
const (
	// Ready: the node does its work.
	Ready Type = "node.ready"
	// Restarting: the node's process is replaced; Dur is how long it stays down.
	Restarting Type = "node.restarting"
	// AddressChanged: the node's address on one of its networks is another one. Detail is
	// "OLD > NEW".
	AddressChanged Type = "node.address-changed"
	// Stopped: the node's process ends; Err is why if it is not on request.
	Stopped Type = "node.stopped"
	// Paused and Resumed: the runner stopped and continued the node's process.
	Paused  Type = "node.paused"
	Resumed Type = "node.resumed"
	// Asleep and Awake: the runner put the node of Detail to sleep and woke it: its programs
	// stood still, and its network was off.
	Asleep Type = "node.asleep"
	Awake  Type = "node.awake"
	// ProgramStarted and ProgramEnded: the program of the session, which is not wslab's own, was started and has
	// ended; Detail says how. ProgramKilled: it did not end when it was told to.
	// ProgramOutput: it wrote the line of Detail.
	ProgramStarted Type = "program.started"
	ProgramEnded   Type = "program.ended"
	ProgramKilled  Type = "program.killed"
	ProgramOutput  Type = "program.output"
	// StepStart and StepEnd: a step of the scenario. Seq is its number, Detail its text; Err
	// says what it has waited for in vain.
	StepStart Type = "step.start"
	StepEnd   Type = "step.end"
	// LookupFailed: the node's name server was told to fail and did. Detail is the
	// name, Err how ("servfail", "nxdomain", "silent").
	LookupFailed Type = "names.failed"
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
	// Network that the event is about.
	Network string `json:"network,omitempty"`
	// Stage of a connection attempt.
	Stage string `json:"stage,omitempty"`
	// Witnessed says that Node, the client's, did not record the event itself: it is drawn from what the
	// server recorded, because the client is a program that records nothing.
	Witnessed bool `json:"witnessed,omitempty"`
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
