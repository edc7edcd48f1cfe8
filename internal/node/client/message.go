package client

import (
	"encoding/json"
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
}

// parse returns the message that a text frame of the server holds; ok is false for
// anything that is none.
func parse(text []byte) (m message, ok bool) {
	if json.Unmarshal(text, &m) != nil || m.Seq <= 0 {
		return message{}, false
	}
	return m, m.Type == typeEcho || m.Type == typePush
}

// encode returns the text of a message.
func encode(kind string, seq int64) []byte {
	text, err := json.Marshal(message{Type: kind, Seq: seq})
	if err != nil {
		panic(err) // a struct of a string and a number always encodes
	}
	return text
}
