package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// listener hands out connections as streams.
type listener struct {
	net.Listener
	service *service
	// secure is nil for cleartext.
	secure *tls.Config
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s := &stream{Conn: conn, tcp: conn, service: l.service, closed: make(chan struct{})}
	if l.secure != nil {
		s.secure = tls.Server(conn, l.secure)
		s.Conn = s.secure
	}
	return s, nil
}

// stream is a connection as the server sees it: what TLS is about is not seen any more.
// It lets the server be slow, hang, and refuse frames that are too long, and it notices what
// net/http answers by itself.
type stream struct {
	net.Conn
	tcp     net.Conn
	secure  *tls.Conn
	service *service

	begin  sync.Once
	failed error // of the beginning; read after begin

	// handled says that an answer is the server's own, not of net/http.
	handled atomic.Bool
	// swallow says that the next write goes nowhere.
	swallow atomic.Bool

	closing sync.Once
	closed  chan struct{}

	mu sync.Mutex
	// hung is closed when the stream does not hang any more; nil when it does not.
	hung chan struct{}

	// frames is set between the handshake and the first read of a frame.
	frames *frameLimit
}

// start waits as long as the server is slow to accept, and makes the TLS handshake.
func (s *stream) start() error {
	s.begin.Do(func() {
		if delay := s.service.env.Wall(s.service.settings.AcceptDelay); delay > 0 {
			timer := time.NewTimer(delay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-s.closed:
			case <-s.service.ctx.Done():
			}
		}
		if s.secure != nil {
			s.failed = s.secure.HandshakeContext(s.service.ctx)
			s.insecure()
		}
	})
	return s.failed
}

// insecure records why TLS failed, and tells a client so that speaks HTTP where TLS
// is spoken, as servers do.
func (s *stream) insecure() {
	var record tls.RecordHeaderError
	switch {
	case s.failed == nil, errors.Is(s.failed, io.EOF), errors.Is(s.failed, net.ErrClosed), s.service.ctx.Err() != nil:
		return // a client that left without a word
	case errors.As(s.failed, &record) && looksLikeHTTP(record.RecordHeader):
		const text = "the client speaks HTTP on the port of HTTPS (RFC 9110, section 4.2.2)"
		s.refused(http.StatusBadRequest, text)
		_, _ = io.WriteString(s.tcp, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"+text+"\n") // it may have left
		return
	}
	s.refused(0, "TLS: "+s.failed.Error())
}

func looksLikeHTTP(b [5]byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "CONNE", "DELET"} {
		if string(b[:]) == method {
			return true
		}
	}
	return false
}

// Read reads what came. A stream that hangs hands nothing on, though the kernel has
// taken it in and told the client so.
func (s *stream) Read(p []byte) (int, error) {
	if err := s.start(); err != nil {
		return 0, err
	}
	if s.frames != nil && s.frames.stopped != nil {
		return 0, s.frames.stopped
	}
	n, err := s.Conn.Read(p)
	s.wait()
	if s.frames == nil {
		return n, err
	}
	if n = s.frames.feed(p[:n]); s.frames.stopped != nil && n == 0 {
		return 0, s.frames.stopped
	}
	return n, err
}

// Write writes, once the stream does not hang any more.
func (s *stream) Write(p []byte) (int, error) {
	if s.swallow.CompareAndSwap(true, false) {
		return len(p), nil
	}
	s.wait()
	if !s.handled.Load() {
		s.notice(p)
	}
	return s.Conn.Write(p)
}

// notice records an answer that net/http gives by itself: of requests that no handler sees.
func (s *stream) notice(answer []byte) {
	head, text, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	parts := bytes.SplitN(line, []byte(" "), 3)
	if len(parts) < 2 || !bytes.HasPrefix(parts[0], []byte("HTTP/")) {
		return
	}
	if status, err := strconv.Atoi(string(parts[1])); err == nil && status >= 400 {
		s.refused(status, "no request of HTTP/1.1 (RFC 9112): "+clip(string(bytes.TrimSpace(text))))
	}
}

// refused records that the stream came to nothing.
func (s *stream) refused(status int, why string) {
	s.service.env.Record(trace.Event{Type: trace.Refused, Flow: s.flow(), Status: status, Detail: why})
}

// flow is the TCP connection: the client opened it.
func (s *stream) flow() *trace.Flow { return flowBetween(s.tcp.RemoteAddr(), s.tcp.LocalAddr()) }

// Close closes the stream at once.
func (s *stream) Close() error {
	s.closing.Do(func() { close(s.closed) })
	if s.secure != nil && s.hangs() {
		return s.tcp.Close() // an alert would have to be written
	}
	return s.Conn.Close()
}

// reset ends the TCP connection with a RST.
func (s *stream) reset() {
	if tcp, ok := s.tcp.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // closed already, then
	}
	s.closing.Do(func() { close(s.closed) })
	_ = s.tcp.Close() // nothing is to be said any more
}

// drain reads and throws away what comes until the client's close frame, but not for
// longer than that.
func (s *stream) drain(patience time.Duration) {
	if s.SetReadDeadline(time.Now().Add(patience)) != nil {
		return
	}
	buffer := make([]byte, 4096)
	for !s.frames.closed {
		n, err := s.Conn.Read(buffer)
		s.frames.feed(buffer[:n])
		if err != nil {
			return
		}
	}
}

// hang stops reading and writing, or goes on with them.
func (s *stream) hang(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case on && s.hung == nil:
		s.hung = make(chan struct{})
	case !on && s.hung != nil:
		close(s.hung)
		s.hung = nil
	}
}

func (s *stream) hangs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hung != nil
}

// wait waits as long as the stream hangs.
func (s *stream) wait() {
	s.mu.Lock()
	hung := s.hung
	s.mu.Unlock()
	if hung == nil {
		return
	}
	select {
	case <-hung:
	case <-s.closed:
	case <-s.service.ctx.Done():
	}
}

// limit refuses frames and messages over these sizes from now on. Of compressed messages
// only who decompresses them knows the size.
func (s *stream) limit(frame, message int, compressed bool) {
	s.frames = &frameLimit{frame: uint64(frame), message: uint64(message)}
	if compressed {
		s.frames.message = 0
	}
}

// tooLong is a frame or a message over a limit.
type tooLong struct {
	what    string
	setting string
	size    uint64
	limit   uint64
}

// Error names the setting.
func (e *tooLong) Error() string {
	return fmt.Sprintf("a %s of %d bytes or more, %s is %d", e.what, e.size, e.setting, e.limit)
}

// frameLimit follows the frames that a client sends (RFC 6455, section 5.2), to refuse
// one by its header, before its payload is read. What is wrong with a frame otherwise is for
// the reader behind it.
type frameLimit struct {
	// frame and message are the most bytes of payload; 0 is no limit.
	frame, message uint64

	header  [14]byte
	have    int
	left    uint64 // of the present frame's payload
	sofar   uint64 // of the present message
	stopped *tooLong
	// closed says that a close frame has come.
	closed bool
}

// feed takes the next bytes of the stream, and returns how many of them stand before a
// frame that is too long: all, if there is none. It follows the frames behind one as well.
func (f *frameLimit) feed(b []byte) int {
	begun, cut := 0, len(b) // where the present header begins, where the stream ends
	for i := 0; i < len(b); {
		if f.left > 0 {
			n := min(f.left, uint64(len(b)-i))
			f.left -= n
			i += int(n)
			continue
		}
		if f.have == 0 {
			begun = i
		}
		f.header[f.have] = b[i]
		f.have++
		i++
		if f.have < 2 || f.have < f.size() {
			continue
		}
		went := f.stopped == nil
		f.begin()
		f.have = 0
		if went && f.stopped != nil {
			cut = begun
		}
	}
	return cut
}

// size of the header that has begun.
func (f *frameLimit) size() int {
	size := 2
	switch f.header[1] & 0x7f {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	if f.header[1]&0x80 != 0 {
		size += 4
	}
	return size
}

// begin takes up a frame.
func (f *frameLimit) begin() {
	length := uint64(f.header[1] & 0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(f.header[2:]))
	case 127:
		length = binary.BigEndian.Uint64(f.header[2:])
	}
	f.left = length
	opcode := f.header[0] & 0x0f
	if opcode >= 8 {
		f.closed = f.closed || opcode == 8
		return // control frames have at most 125 bytes, or the reader ends it
	}
	if opcode != 0 {
		f.sofar = 0
	}
	switch {
	case f.stopped != nil:
	case f.frame > 0 && length > f.frame:
		f.stopped = &tooLong{"frame", "max_frame", length, f.frame}
	case f.message > 0 && length > f.message-min(f.sofar, f.message):
		f.stopped = &tooLong{"message", "max_message", f.sofar + length, f.message}
	}
	f.sofar += length
}

// connKey is where a request's context keeps its stream.
type connKey struct{}

// withStream keeps the stream of a request's connection in its context.
func withStream(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// handling marks answers as the server's own while the handler runs.
func handling(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := r.Context().Value(connKey{}).(*stream); ok {
			s.handled.Store(true)
		}
		next.ServeHTTP(w, r)
	})
}

// idle marks what comes next as net/http's again.
func idle(c net.Conn, state http.ConnState) {
	if s, ok := c.(*stream); ok && state == http.StateIdle {
		s.handled.Store(false)
	}
}
