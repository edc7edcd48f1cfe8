package server

import (
	"encoding/json"
	"strings"
)

// Subprotocol is the name of the numbered echo, for clients that want to
// negotiate it. The server speaks it with every client.
const Subprotocol = "numbered-echo.wslab"

// The types of the numbered echo's messages.
const (
	typeMessage   = "message"   // client: a numbered message
	typeEcho      = "echo"      // server: it has arrived
	typePush      = "push"      // server: a numbered message of its own
	typePushAck   = "push-ack"  // client: it has arrived
	typeHeartbeat = "heartbeat" // either: sent back as it came
	typeBeat      = "beat"      // server: a heartbeat of its own, if the client asked for that
	typeBeatAck   = "beat-ack"  // client: it has arrived
	typeClose     = "close"     // client: the server is to close with that code
)

// message is a text frame of the numbered echo.
type message struct {
	Type string `json:"type"`
	Seq  int64  `json:"seq,omitempty"`
	// TS of a beat; the answer has it, too.
	TS string `json:"ts,omitempty"`
	// OneWay says that a heartbeat wants no answer.
	OneWay bool `json:"one_way,omitempty"`
	// Code and Reason of a close.
	Code   int    `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// parse returns the message that a text frame holds; ok is false for anything
// that is not of the numbered echo, which is echoed as it came.
func parse(text []byte) (m message, ok bool) {
	if len(text) == 0 || text[0] != '{' || json.Unmarshal(text, &m) != nil {
		return message{}, false
	}
	switch m.Type {
	case typeMessage, typePushAck:
		return m, m.Seq > 0
	case typeHeartbeat, typeBeatAck:
		return m, true
	case typeClose:
		return m, checkClose(m.Code, m.Reason) == nil
	}
	return message{}, false
}

// encodePush returns the text of a push with so many bytes of padding.
func encodePush(seq int64, size int) []byte {
	text, err := json.Marshal(struct {
		message
		Pad string `json:"pad,omitempty"`
	}{message{Type: typePush, Seq: seq}, strings.Repeat(".", size)})
	if err != nil {
		panic(err) // a struct of strings and numbers always encodes
	}
	return text
}

// encode returns the text of a message.
func encode(kind string, seq int64) []byte {
	return message{Type: kind, Seq: seq}.text()
}

func (m message) text() []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // a struct of texts and numbers always encodes
	}
	return text
}
