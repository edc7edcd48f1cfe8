package client

import (
	"encoding/json"
	"strings"
)

// The types of the numbered echo's messages that a client sends and gets. The
// heartbeat belongs to package strategy.
const (
	typeMessage = "message"  // to the server: a numbered message
	typeEcho    = "echo"     // from it: the message has arrived
	typePush    = "push"     // from it: a numbered message of its own
	typePushAck = "push-ack" // to it: the push has arrived
)

// message is a text frame of the numbered echo.
type message struct {
	Type string `json:"type"`
	Seq  int64  `json:"seq"`
	// Pad makes a message longer.
	Pad string `json:"pad,omitempty"`
}

// parse returns the message that a text frame of the server holds; ok is false for
// anything that is none.
func parse(text []byte) (m message, ok bool) {
	if json.Unmarshal(text, &m) != nil || m.Seq <= 0 {
		return message{}, false
	}
	if m.Type == typeMessage {
		m.Type = typeEcho // a server that sends everything back as it came
	}
	return m, m.Type == typeEcho || m.Type == typePush
}

// encode returns the text of a message with so many bytes of padding.
func encode(kind string, seq int64, size int) []byte {
	text, err := json.Marshal(message{Type: kind, Seq: seq, Pad: strings.Repeat(".", size)})
	if err != nil {
		panic(err) // a struct of strings and a number always encodes
	}
	return text
}
