package toxics

import (
	"net"
	"sync"
	"syscall"
)

// chunkSize is how much is read at a time; recordSize, where a buffer is held while
// waiting. A record of TLS is no longer (RFC 8446, section 5.1).
const (
	chunkSize  = 128 << 10
	recordSize = 16 << 10
)

// chunks are the buffers that readers share: a connection that is idle holds none.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// reader reads a connection. It holds a buffer only from a read to the release after it,
// where the connection tells when there is something to be read.
type reader struct {
	conn   net.Conn
	raw    syscall.RawConn // nil where a buffer is held while waiting
	buffer *[chunkSize]byte
	own    []byte
}

func newReader(c net.Conn) *reader {
	r := &reader{conn: c}
	if tcp, ok := c.(*net.TCPConn); ok {
		r.raw = socket(tcp)
	}
	return r
}

// read returns what has come, at least a byte or an error. It is good until release.
func (r *reader) read() ([]byte, error) {
	if r.raw != nil {
		return r.readWhenReady()
	}
	if r.own == nil {
		r.own = make([]byte, recordSize)
	}
	n, err := r.conn.Read(r.own)
	return r.own[:n], err
}

func (r *reader) take() {
	if r.buffer == nil {
		r.buffer = chunks.Get().(*[chunkSize]byte)
	}
}

// release gives the buffer back.
func (r *reader) release() {
	if r.buffer != nil {
		chunks.Put(r.buffer)
		r.buffer = nil
	}
}
