package server

import (
	"encoding/json"
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
)

// message is a text frame of the numbered echo.
type message struct {
	Type string `json:"type"`
	Seq  int64  `json:"seq,omitempty"`
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
	case typeHeartbeat:
		return m, true
	}
	return message{}, false
}

// encode returns the text of a message.
func encode(kind string, seq int64) []byte {
	text, err := json.Marshal(message{Type: kind, Seq: seq})
	if err != nil {
		panic(err) // a struct of a string and a number always encodes
	}
	return text
}
