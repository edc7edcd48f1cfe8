package firewall

import (
	"encoding/binary"
	"errors"
)

// Errors of [serverName].
var (
	errMore   = errors.New("the ClientHello is not complete")
	errNotTLS = errors.New("not a ClientHello")
)

// Constants of TLS (RFC 8446, sections 4 and 5.1; RFC 6066, section 3).
const (
	recordHandshake    = 22
	recordHeader       = 5
	longestRecord      = 1<<14 + 256
	handshakeHeader    = 4
	clientHello        = 1
	extensionName      = 0
	nameTypeHost       = 0
	longestClientHello = 1<<16 - 1
)

// serverName reads the server name of the ClientHello that a stream of TLS begins
// with, "" if it has none: with Encrypted Client Hello it is the outer, public one.
// What else the message holds, GREASE values included (RFC 8701), is passed over. The
// error is errMore while what follows can still make it one.
func serverName(sent []byte) (string, error) {
	message, err := handshakeMessage(sent)
	if err != nil {
		return "", err
	}
	return nameIn(message)
}

// handshakeMessage puts the first handshake message together, which may be split over
// records, and checks what is there of it.
func handshakeMessage(sent []byte) ([]byte, error) {
	var message []byte
	for {
		switch {
		case len(sent) > 0 && sent[0] != recordHandshake, len(sent) > 1 && sent[1] != 3:
			return nil, errNotTLS
		case len(sent) < recordHeader:
			return nil, errMore
		}
		length := int(binary.BigEndian.Uint16(sent[3:]))
		if length == 0 || length > longestRecord {
			return nil, errNotTLS
		}
		fragment := sent[recordHeader:]
		whole := len(fragment) >= length
		if whole {
			fragment = fragment[:length]
		}
		message = append(message, fragment...)
		if err := plausible(message); err != nil {
			return nil, err
		}
		if end := handshakeHeader + messageLength(message); len(message) >= handshakeHeader && len(message) >= end {
			return message[handshakeHeader:end], nil
		}
		if !whole {
			return nil, errMore
		}
		sent = sent[recordHeader+length:]
	}
}

// plausible says what is wrong with the beginning of a ClientHello.
func plausible(message []byte) error {
	switch {
	case len(message) > 0 && message[0] != clientHello,
		len(message) >= handshakeHeader && messageLength(message) > longestClientHello,
		len(message) > handshakeHeader && message[handshakeHeader] != 3: // legacy_version
		return errNotTLS
	}
	return nil
}

func messageLength(message []byte) int {
	if len(message) < handshakeHeader {
		return 0
	}
	return int(message[1])<<16 | int(message[2])<<8 | int(message[3])
}

// nameIn reads the body of a ClientHello.
func nameIn(hello []byte) (string, error) {
	r := reader(hello)
	r.skip(2 + 32) // version and random
	r.vector(1)    // session
	r.vector(2)    // cipher suites
	r.vector(1)    // compression methods
	if r == nil {
		return "", errNotTLS
	}
	if len(r) == 0 {
		return "", nil // no extensions: TLS 1.0 and 1.1
	}
	for extensions := r.vector(2); len(extensions) > 0; {
		kind := extensions.number(2)
		content := extensions.vector(2)
		if extensions == nil {
			return "", errNotTLS
		}
		if kind != extensionName {
			continue
		}
		for names := content.vector(2); len(names) > 0; {
			kind := names.number(1)
			name := names.vector(2)
			if names == nil {
				return "", errNotTLS
			}
			if kind == nameTypeHost {
				return string(name), nil
			}
		}
	}
	return "", nil
}

// reader reads a message piece by piece. It is nil once something was missing, and
// what is read from it then is empty.
type reader []byte

func (r *reader) skip(n int) reader {
	if *r == nil || len(*r) < n {
		*r = nil
		return nil
	}
	piece := (*r)[:n:n]
	*r = (*r)[n:]
	return piece
}

// number reads n bytes as a number.
func (r *reader) number(n int) int {
	v := 0
	for _, b := range r.skip(n) {
		v = v<<8 | int(b)
	}
	return v
}

// vector reads a vector with its length, a number of n bytes, before it (RFC 8446, section 3.4).
func (r *reader) vector(n int) reader {
	length := r.number(n)
	return r.skip(length)
}
