package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes of RFC 6455 section 5.2 that a relay has to know.
const (
	opContinuation = 0x0
	opClose        = 0x8
	opControl      = 0x8 // this bit marks control frames
)

// maxFrameHeader is the longest header of a frame: two bytes, a length of eight, a mask.
const maxFrameHeader = 14

// Why a frame reader stops a stream.
var (
	errCloseFrame = errors.New("a close frame")
	errTooBig     = errors.New("over the limit")
)

// frameReader follows the frames of one direction of a WebSocket connection as their
// bytes go by. It looks at headers alone and holds no more than one, so its memory is
// bounded whatever the frames are. It does not judge: what is no frame of RFC 6455
// goes by as it is. The zero value passes everything.
type frameReader struct {
	// maxFrame and maxMessage are the most bytes of payload that pass; 0 is no limit.
	maxFrame, maxMessage uint64
	// stopAtClose stops the stream before a close frame.
	stopAtClose bool
	// opaque: the stream is none of frames, or was not understood.
	opaque bool

	head    [maxFrameHeader]byte
	n       int    // bytes of head that have come
	left    uint64 // bytes of the frame's payload to come
	control bool   // the frame is a control frame
	message uint64 // payload of the message so far
	stopped error
}

// feed takes the next bytes of the stream. It returns those that may go on (they are
// part of b, or appended to out), whether bytes of a data frame were among them, and why
// the stream stops: [errCloseFrame], or an error that is [errTooBig]. A stream that
// has stopped stays so.
func (f *frameReader) feed(out, b []byte) (pass []byte, data bool, err error) {
	for len(b) > 0 && f.stopped == nil {
		switch {
		case f.opaque:
			return append(out, b...), true, nil
		case f.left > 0:
			n := min(uint64(len(b)), f.left)
			out, b, f.left = append(out, b[:n]...), b[n:], f.left-n
			data = data || !f.control
		default:
			f.head[f.n], b = b[0], b[1:]
			f.n++
			if f.n < f.headerSize() {
				continue
			}
			if f.stopped = f.begin(); f.stopped != nil {
				break
			}
			out = append(out, f.head[:f.n]...)
			f.n = 0
			data = data || !f.control
		}
	}
	return out, data, f.stopped
}

// headerSize is the size of the header that has begun, as far as it is known.
func (f *frameReader) headerSize() int {
	if f.n < 2 {
		return 2
	}
	size := 2
	switch f.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.head[1]&0x80 != 0 {
		size += 4
	}
	return size
}

// begin takes up the frame of which the header has come.
func (f *frameReader) begin() error {
	opcode := f.head[0] & 0x0f
	length := uint64(f.head[1] & 0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(f.head[2:])
	}
	f.control = opcode&opControl != 0
	switch {
	case length>>63 != 0:
		f.opaque = true // no length that there is: what follows is nothing to rely on
		return nil
	case opcode == opClose && f.stopAtClose:
		return errCloseFrame
	case f.control:
		f.left = length
		return nil
	}
	if opcode != opContinuation {
		f.message = 0
	}
	if f.maxFrame > 0 && length > f.maxFrame {
		return fmt.Errorf("a frame of %d bytes is %w of %d", length, errTooBig, f.maxFrame)
	}
	if f.maxMessage > 0 && length > f.maxMessage-min(f.message, f.maxMessage) {
		return fmt.Errorf("a message of %d bytes or more is %w of %d", f.message+length, errTooBig, f.maxMessage)
	}
	f.left, f.message = length, f.message+length
	return nil
}

// rest returns the bytes of a header that never became whole, for the end of the stream.
func (f *frameReader) rest() []byte {
	if f.stopped != nil {
		return nil
	}
	return f.head[:f.n]
}

// between says whether the stream stands between two frames, so that one can be put in.
func (f *frameReader) between() bool { return !f.opaque && f.n == 0 && f.left == 0 }

// closeFrame is a close frame as a server sends it: not masked (RFC 6455 section 5.5.1).
func closeFrame(code int, reason string) []byte {
	payload := append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
	return append([]byte{0x80 | opClose, byte(len(payload))}, payload...)
}
