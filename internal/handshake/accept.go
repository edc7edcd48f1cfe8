// Package handshake is the opening handshake of RFC 6455 as something that can be
// checked and explained: the calculation of Sec-WebSocket-Accept, what is wrong with
// a request or a response and which section says so, and the negotiation of
// subprotocols and of permessage-deflate (RFC 7692). The server of a lab refuses by the
// same rules that `wslab handshake` teaches.
package handshake

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// GUID is what a server appends to the key (RFC 6455, section 1.3): a text that no
// server would send that knows nothing of WebSocket.
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// KeySize is how many random bytes a key stands for (RFC 6455, section 4.1, item 7).
const KeySize = 16

// Calculation is the way from Sec-WebSocket-Key to Sec-WebSocket-Accept (RFC 6455,
// section 4.2.2, item 5.4), step by step.
type Calculation struct {
	// Key as it stands in the request.
	Key string `json:"key"`
	// Bytes are what the key stands for, in hex. The server does not need them.
	Bytes string `json:"bytes"`
	// Joined is the key's text, not its bytes, with the GUID behind it.
	Joined string `json:"joined"`
	// SHA1 is the hash of that, 20 bytes in hex; SHA-1 is no secret here, it only shows
	// that the server has read the key.
	SHA1 string `json:"sha1"`
	// Accept is the hash in base64.
	Accept string `json:"accept"`
}

// Calculate returns the calculation for a key. It does not ask whether the key is
// one: a server that did not check would answer likewise. Bytes is empty for a key that
// is not base64.
func Calculate(key string) Calculation {
	c := Calculation{Key: key, Joined: key + GUID}
	if raw, err := base64.StdEncoding.DecodeString(key); err == nil {
		c.Bytes = hex.EncodeToString(raw)
	}
	sum := sha1.Sum([]byte(c.Joined))
	c.SHA1 = hex.EncodeToString(sum[:])
	c.Accept = base64.StdEncoding.EncodeToString(sum[:])
	return c
}

// Accept returns the value of Sec-WebSocket-Accept for a key.
func Accept(key string) string { return Calculate(key).Accept }

// NewKey returns a key as a client makes it: 16 random bytes in base64.
func NewKey() string {
	raw := make([]byte, KeySize)
	_, _ = rand.Read(raw) // it never fails
	return base64.StdEncoding.EncodeToString(raw)
}

// CheckKey says what is wrong with a key: it is not base64 (RFC 4648, section 4, with
// its padding), or not of exactly 16 bytes.
func CheckKey(key string) error {
	raw, err := base64.StdEncoding.Strict().DecodeString(key)
	switch {
	case key == "":
		return errors.New("is empty")
	case err != nil:
		return errors.New("is not base64")
	case len(raw) != KeySize:
		return fmt.Errorf("stands for %d bytes", len(raw))
	}
	return nil
}
