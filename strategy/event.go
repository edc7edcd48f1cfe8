package strategy

import (
	"net"
	"time"
)

// EventType says what happened to a session.
type EventType int

// What happens to a session.
const (
	// DialStart: an attempt to connect begins.
	DialStart EventType = iota + 1
	// DialFailed: the attempt failed with Err after Dur.
	DialFailed
	// Opened: the attempt succeeded after Dur; Local and Remote are the ends
	// of the connection. It comes before anything else about the connection.
	Opened
	// Closed: the connection is over for the session after Dur: By says who ended it,
	// Code is the close code, Text the peer's reason, Err the error. After it only
	// KeepaliveLate may still come about the connection.
	Closed
	// KeepaliveSent: the ping or heartbeat (Means) number Seq is about to be written.
	KeepaliveSent
	// KeepaliveAnswered: its answer arrived after Dur.
	KeepaliveAnswered
	// KeepaliveReceived: a ping or heartbeat (Means) of the server arrived, and was answered.
	KeepaliveReceived
	// KeepaliveTimeout: its answer did not arrive within Dur, or with MeansSilence nothing
	// did; the connection is given up.
	KeepaliveTimeout
	// KeepaliveLate: its answer arrived after Dur, when the connection had been
	// given up: the alarm was false.
	KeepaliveLate
	// Waiting: the session waits Dur before attempt Attempt.
	Waiting
	// Doubted: nothing was heard for Dur after a ping that was sent for an [Adaptive] keepalive:
	// another connection is sought beside this one. Trusted: it was heard of before there was one.
	Doubted
	Trusted
	// DialDropped: the attempt was dropped after Dur, because another one succeeded first or none is
	// needed any more.
	DialDropped
	// Resumed: over this connection the session goes on where it was ([Resume]), and Count messages are sent
	// again that had been sent before. A Text says what was not as it should be: the peer knew nothing of the session, or
	// does not resume any; in that case -Count messages may be lost.
	Resumed
	// GaveUp: the session does not try again; Text says why, Err is the last error.
	GaveUp
)

// Who ended a connection.
const (
	// ByPeer: a close frame of the peer.
	ByPeer = "peer"
	// ByStrategy: a keepalive without an answer.
	ByStrategy = "strategy"
	// ByNetwork: the connection ended without a close frame.
	ByNetwork = "network"
	// ByCaller: the context given to [Session.Run] ended.
	ByCaller = "caller"
)

// The means of keepalive that events name.
const (
	MeansPing      = "ping"
	MeansHeartbeat = "heartbeat"
	// MeansSilence is a [Watch]: nothing was sent, and nothing was heard.
	MeansSilence = "silence"
)

// Event is one thing that happened to a session. Fields that do not apply are zero.
type Event struct {
	Type EventType
	Time time.Time
	// Conn counts the connections of the session, from 1; of an attempt, it is
	// the number that the connection gets if it succeeds.
	Conn int
	// Attempt counts attempts to connect since the last open connection, from 1.
	Attempt int
	// Seq counts the keepalives of one means on a connection, from 1.
	Seq int64
	// Means of keepalive: MeansPing, MeansHeartbeat or MeansSilence.
	Means string
	// Bytes of the WebSocket frames that the event stands for: of the probe, of its answer, or
	// of a probe of the server and the client's answer.
	Bytes int
	Dur   time.Duration
	// Count of messages.
	Count int
	// Code is a close code: 1006 where there was no close frame.
	Code int
	By   string
	Text string
	Err  error
	// Local and Remote are the ends of the underlying connection.
	Local, Remote net.Addr
}
