package toxics

import (
	"bytes"
	"encoding/binary"
)

// frameTracker knows where in one direction of a connection the frames of a WebSocket
// begin and end (RFC 6455, section 5.2). It needs all bytes from the first on. A stream
// that does not begin with an opening handshake, TLS above all, is opaque to it, and
// costs nothing. A copy goes on from the same place by itself.
type frameTracker struct {
	phase framePhase
	// head of the handshake as far as it has come. It is not shared between copies.
	head []byte

	header  [14]byte
	have    int    // bytes of header
	left    uint64 // bytes of the payload that are still to come
	started bool   // the frame's header is complete
}

type framePhase int

const (
	inHandshake framePhase = iota
	inFrames
	opaque
)

// piece is a part of a stream: of one frame, or what is no frame's.
type piece struct {
	data   []byte
	framed bool
	opcode byte
	// first and last byte of the frame are in it.
	first, last bool
}

// clone returns a copy that shares nothing.
func (t *frameTracker) clone() frameTracker {
	c := *t
	c.head = bytes.Clone(t.head)
	return c
}

// feed notes that data have passed.
func (t *frameTracker) feed(data []byte) {
	for len(data) > 0 && t.phase != opaque {
		_, data = t.cut(data)
	}
}

// atBoundary says whether the next byte may be the first of a frame.
func (t *frameTracker) atBoundary() bool { return t.phase == inFrames && t.have == 0 }

// cut takes the first piece off data, which are not empty.
func (t *frameTracker) cut(data []byte) (p piece, rest []byte) {
	switch t.phase {
	case inHandshake:
		return t.handshake(data)
	case inFrames:
		return t.frame(data)
	}
	return piece{data: data}, nil
}

// handshake takes the head of a request or an answer off.
func (t *frameTracker) handshake(data []byte) (piece, []byte) {
	before := len(t.head)
	t.head = append(t.head, data...)
	end := bytes.Index(t.head, []byte("\r\n\r\n"))
	switch {
	case !mayBeRequest(t.head) && !mayBeAnswer(t.head), len(t.head) > headLimit && end < 0:
		t.phase, t.head = opaque, nil
	case end >= 0:
		head := t.head[:end]
		t.phase = opaque
		if upgradeHead(head) && (requestHead(head) || bytes.HasPrefix(head, switching)) {
			t.phase = inFrames
		}
		n := end + 4 - before
		t.head = nil
		return piece{data: data[:n]}, data[n:]
	}
	return piece{data: data}, nil
}

// switching begins the answer that agrees (RFC 6455, section 4.2.2).
var switching = []byte("HTTP/1.1 101")

func mayBeAnswer(b []byte) bool {
	n := min(len(b), len(switching))
	return bytes.Equal(b[:n], switching[:n])
}

// frame takes what belongs to the present frame off.
func (t *frameTracker) frame(data []byte) (piece, []byte) {
	p := piece{framed: true, first: t.have == 0}
	n := 0
	for !t.started && n < len(data) {
		t.header[t.have] = data[n]
		t.have++
		n++
		t.started = t.headerComplete()
	}
	if t.started {
		payload := min(t.left, uint64(len(data)-n))
		n += int(payload)
		t.left -= payload
		p.last = t.left == 0
	}
	p.data, p.opcode = data[:n], t.header[0]&0x0f
	if p.last {
		t.have, t.started = 0, false
	}
	return p, data[n:]
}

// headerComplete says whether the header is, and works out what follows it.
func (t *frameTracker) headerComplete() bool {
	if t.have < 2 {
		return false
	}
	size, length := 2, uint64(t.header[1]&0x7f)
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if t.have >= size {
		switch size {
		case 4:
			length = uint64(binary.BigEndian.Uint16(t.header[2:]))
		case 10:
			length = binary.BigEndian.Uint64(t.header[2:])
		}
	}
	if t.header[1]&0x80 != 0 {
		size += 4 // the masking key
	}
	if t.have < size {
		return false
	}
	t.left = length
	return true
}
