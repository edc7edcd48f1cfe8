package server

import (
	"bytes"
	"compress/flate"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/trace"
)

// open makes a WebSocket in the clear and returns its TCP connection.
func (r *rig) open(field string) net.Conn {
	r.t.Helper()
	conn := r.tcp()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	request := opening
	if field != "" {
		request = with(field)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		r.t.Fatal(err)
	}
	head := make([]byte, 0, 512)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		b := make([]byte, 1)
		if _, err := conn.Read(b); err != nil {
			r.t.Fatalf("%s %v", head, err)
		}
		head = append(head, b[0])
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		r.t.Fatalf("%s", head)
	}
	return conn
}

// frameOf is a frame of a client, masked with 0 (RFC 6455, section 5.2).
func frameOf(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return string(append(b, 0, 0, 0, 0)) + payload
}

// rest is what comes until the end, and how it ended.
func rest(conn net.Conn) string {
	got, err := io.ReadAll(conn)
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return fmt.Sprintf("%x RST", got)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("%x ...", got)
	case err != nil:
		return fmt.Sprintf("%x %v", got, err)
	}
	return fmt.Sprintf("%x FIN", got)
}

const (
	first = 0x01 // of a text in fragments
	next  = 0x00
	last  = 0x80
	whole = 0x81
)

// TestLimits: what is too long is closed with 1009, and what is just not too long is echoed.
func TestLimits(t *testing.T) {
	const tooBig = "880203f1 FIN" // a close frame with 1009
	text := func(n int) string { return strings.Repeat("x", n) }
	answered := frameOf(0x88, "\x03\xf1")
	for _, c := range []struct {
		name, field, send, want, by string
	}{
		{name: "a message of max_message", send: frameOf(whole, text(100)) + frameOf(0x88, "\x03\xe8"), want: "8164" + fmt.Sprintf("%x", text(100)) + "880203e8 FIN"},
		{name: "a longer one", send: frameOf(whole, text(101)) + answered, want: tooBig, by: "max_frame"},
		{name: "one of 2^63 bytes, which never come", send: "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", want: "880203f1 ...", by: "max_frame"},
		{name: "fragments of max_message", send: frameOf(first, text(60)) + frameOf(0x89, "") + frameOf(last, text(40)) + frameOf(0x88, "\x03\xe8"), want: "8a008164" + fmt.Sprintf("%x", text(100)) + "880203e8 FIN"},
		{name: "fragments of more", send: frameOf(first, text(60)) + frameOf(next, text(40)) + frameOf(last, "x") + answered, want: tooBig, by: "max_message"},
		{name: "compressed, and more when it is not", field: "Sec-WebSocket-Extensions: permessage-deflate", send: frameOf(whole|0x40, deflated(text(5000))) + answered, want: tooBig, by: "max_message"},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := testSettings()
			settings.MaxMessage, settings.MaxFrame, settings.Compression = 100, 100, true
			r := startWith(t, *settings)
			conn := r.open(c.field)
			if _, err := io.WriteString(conn, c.send); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(c.want, "...") {
				_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // it waits for the client's close frame
			}
			if got := rest(conn); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			_ = conn.Close()
			closed := r.await("closed", func(e trace.Event) bool { return e.Type == trace.ServerClosed })
			if c.by != "" && (closed.Code != 1009 || closed.By != byLimit || !strings.Contains(closed.Detail, c.by)) {
				t.Errorf("%+v", closed)
			}
		})
	}
}

// deflated is a message as permessage-deflate has it (RFC 7692, section 7.2.1).
func deflated(text string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // the level is one
	_, _ = io.WriteString(w, text)                     // to memory
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// TestCompressedEcho has a client that compresses, at every window that the server keeps to.
func TestCompressedEcho(t *testing.T) {
	settings := testSettings()
	settings.Compression = true
	r := startWith(t, *settings)
	for _, window := range []string{"", "; server_max_window_bits=8", "; server_max_window_bits=15"} {
		conn := r.open("Sec-WebSocket-Extensions: permessage-deflate" + window)
		text := strings.Repeat("the same again and again ", 20)
		if _, err := io.WriteString(conn, frameOf(whole|0x40, deflated(text))+frameOf(0x88, "\x03\xe8")); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 2)
		if _, err := io.ReadFull(conn, head); err != nil || head[0] != whole|0x40 {
			t.Fatalf("%x %v", head, err)
		}
		size := int(head[1])
		if size == 126 {
			if _, err := io.ReadFull(conn, head); err != nil {
				t.Fatal(err)
			}
			size = int(binary.BigEndian.Uint16(head))
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(conn, payload); err != nil {
			t.Fatal(err)
		}
		plain, _ := io.ReadAll(flate.NewReader(strings.NewReader(string(payload) + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
		if string(plain) != text {
			t.Errorf("%s: %q", window, plain)
		}
	}
}

// TestCloseOnDemand closes with every code that may be sent, and none that may not.
func TestCloseOnDemand(t *testing.T) {
	r := start(t)
	for _, code := range []int{0, 1000, 1001, 1003, 1007, 1008, 1011, 1012, 1013, 3000, 4999} {
		ws := r.dial("/?session=a")
		r.exchange(ws, websocket.TextMessage, "hi", "hi") // the ledger knows it
		done := make(chan error, 1)
		go func() { // the answer of a client is the library's
			_, _, err := ws.ReadMessage()
			done <- err
		}()
		var closed struct{ Connections int }
		reason := ""
		if code != 0 {
			reason = "because"
		}
		r.call("close", map[string]any{"ids": []string{"a"}, "code": code, "reason": reason}, &closed)
		var seen *websocket.CloseError
		want := code
		if code == 0 {
			want = websocket.CloseNoStatusReceived
		}
		if err := <-done; closed.Connections != 1 || !errors.As(err, &seen) || seen.Code != want || seen.Text != reason {
			t.Errorf("%d: %+v, %v", code, closed, err)
		}
		r.await("closed", func(e trace.Event) bool { return e.Type == trace.ServerClosed && e.Code == want && e.By == byNode })
	}
	for _, code := range []int{-1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000} {
		if err := r.host.Call(t.Context(), "close", map[string]any{"code": code}, nil); err == nil {
			t.Errorf("%d was sent", code)
		}
	}
}

// TestNobodyIsLetInOnTheWayDown: who comes back at once is refused, not let in and cut off.
func TestNobodyIsLetInOnTheWayDown(t *testing.T) {
	r := start(t)
	r.dial("/?session=a")
	r.await("accepted", func(e trace.Event) bool { return e.Type == trace.Accepted })
	r.call("close", map[string]any{"ids": []string{"a"}, "code": 1012, "down": true}, nil)
	if conn, err := net.Dial("tcp4", r.http); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v, %v", conn, err)
	}
}

// TestRestart is what clients see when the server goes down.
func TestRestart(t *testing.T) {
	for how, want := range map[string]string{
		"fin": " FIN", "reset": " RST", "1001": "880203e9 FIN", "1012": "880203f4 FIN",
	} {
		t.Run(how, func(t *testing.T) {
			settings := testSettings()
			settings.OnRestart = how
			var conn net.Conn
			t.Run("up", func(t *testing.T) { // its end is that of the server
				r := startWith(t, *settings)
				conn = r.dialRaw()
				if _, err := io.WriteString(conn, frameOf(whole, "hi")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil { // the ledger knows it
					t.Fatal(err)
				}
			})
			defer func() { _ = conn.Close() }()
			if got := rest(conn); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// dialRaw is open, but the connection outlives the rig's test.
func (r *rig) dialRaw() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp4", r.http)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if got := asked(r.t, conn, opening); got != accepted {
		r.t.Fatal(got)
	}
	return conn
}

// TestHung is half-open as a process is that stands still: its kernel takes in what comes,
// nothing is answered, new clients are served, and it goes on where it stood.
func TestHung(t *testing.T) {
	r := start(t)
	ws := r.dial("/?session=a")
	r.exchange(ws, websocket.TextMessage, "before", "before")
	var n struct{ Connections int }
	r.call("half-open", map[string]any{"ids": []string{"a"}, "how": "hung"}, &n)
	if n.Connections != 1 {
		t.Fatal(n)
	}
	r.await("half-open", func(e trace.Event) bool { return e.Type == trace.HalfOpen && e.Session == "a" && e.Detail == hung })
	if err := ws.WriteMessage(websocket.TextMessage, []byte("into the void")); err != nil {
		t.Fatal(err) // the kernel takes it
	}
	other := r.dial("/?session=b")
	r.exchange(other, websocket.TextMessage, "served", "served")
	_ = ws.UnderlyingConn().SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var timeout net.Error
	if err := peekByte(ws); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("what hangs says %v", err)
	}
	if err := r.host.Call(t.Context(), "half-open", map[string]any{"how": "asleep"}, nil); err == nil {
		t.Error("half-open can be anything")
	}
	r.call("half-open", map[string]any{"off": true}, nil)
	r.await("revived", func(e trace.Event) bool { return e.Type == trace.Revived && e.Session == "a" })
	_ = ws.UnderlyingConn().SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, got, err := ws.ReadMessage(); err != nil || string(got) != "into the void" {
		t.Errorf("%q %v", got, err)
	}
}

// peekByte waits for a byte below TLS.
func peekByte(ws *websocket.Conn) error {
	_, err := ws.UnderlyingConn().(*tls.Conn).NetConn().Read(make([]byte, 1))
	return err
}

// FuzzListener throws bytes at both ports, alone, behind a handshake and inside of TLS: the next
// client is served as if nothing had been.
func FuzzListener(f *testing.F) {
	for _, seed := range []string{
		"", "GET", opening, instead("13", "12"), instead("GET", "POST"), instead("dGhl", "dGh"), with("Content-Length: 5"), with("Transfer-Encoding: chunked") + "zz\r\n",
		with("Origin: \x00"), with("Sec-WebSocket-Protocol: ,"), with("Sec-WebSocket-Extensions: permessage-deflate; a=\"\\"), with("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9"),
		"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
		frameOf(whole, "hello"), frameOf(whole, `{"type":"message","seq":1}`), frameOf(whole, `{"type":"close","code":99999}`), frameOf(whole, `{"type":"push-ack","seq":9}`),
		frameOf(whole|0x40, deflated("compressed")), frameOf(whole|0x40, "\xff\xff\xff"), frameOf(0x88, "\x03"), frameOf(0x88, "\x03\xe8"), frameOf(0x89, ""), frameOf(0x83, "x"), frameOf(0xf1, "x"),
		frameOf(next, "x"), frameOf(first, "x") + frameOf(first, "y"), "\x81\x05hello", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", frameOf(whole, "\xff"),
	} {
		f.Add([]byte(seed))
	}
	settings := testSettings()
	settings.Compression, settings.MaxMessage, settings.Sessions, settings.CSRF = true, 1000, map[string]string{"alice": "c0ffee"}, csrfDoubleSubmit
	const own = "Cookie: wslab_session=c0ffee; csrf_token=x\r\nSec-WebSocket-Protocol: csrf.x\r\nSec-WebSocket-Extensions: permessage-deflate"
	f.Fuzz(func(t *testing.T, data []byte) {
		r := startWith(t, *settings)
		pool, err := ca.Pool(r.authority)
		if err != nil {
			t.Fatal(err)
		}
		secure := &tls.Config{RootCAs: pool, ServerName: "server"}
		for _, ahead := range []string{"", with(own)} {
			conn := r.tcp()
			throwAt(t, conn, ahead, data)
			conn, err := tls.Dial("tcp4", r.https, secure)
			if err != nil {
				t.Fatal(err)
			}
			throwAt(t, conn, ahead, data)
		}
		bare, err := net.Dial("tcp4", r.https)
		if err != nil {
			t.Fatal(err)
		}
		throwAt(t, bare, "", data)
		conn := r.open(own)
		if _, err := io.WriteString(conn, frameOf(whole, `{"type":"message","seq":7}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Fatalf("the next client is not served: %v", err)
		}
	})
}

// throwAt writes bytes, after a handshake if there is one ahead, ends the stream, and reads what
// comes until its end.
func throwAt(t *testing.T, conn net.Conn, ahead string, data []byte) {
	t.Helper()
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if ahead != "" {
		if got := asked(t, conn, ahead); !strings.HasPrefix(got, "101 ") {
			t.Fatal(got)
		}
	}
	_, _ = conn.Write(data) // the server may have refused already
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the server does not end the connection: % x", answer)
	}
}
