package server

import (
	"bufio"
	"cmp"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/handshake"
	"github.com/wslab/wslab/internal/trace"
)

// agreement is what came of a handshake.
type agreement struct {
	key         string
	subprotocol string
	// deflate is what was agreed on compression; Answer is "" without it.
	deflate handshake.Deflate
	// user who is logged in, and the origin of the page that connects; either may be "".
	user, origin string
}

// refusal is why a handshake is refused.
type refusal struct {
	status int
	// by is the setting that refuses, "" if the RFC does.
	by string
	// why for the trace and for the client; hint may be empty.
	why, hint string
}

// judge judges a handshake: by RFC 6455, section 4.2.1, and then by the settings.
func (s *service) judge(r *http.Request) (agreement, *refusal) {
	h := handshake.FromRequest(r)
	if wrong := handshake.Wrong(handshake.CheckRequest(h)); len(wrong) > 0 {
		p := wrong[0]
		return agreement{}, &refusal{status: p.Status(), why: fmt.Sprintf("%s (%s)", p.Text("en"), p.Section()), hint: p.Hint("en")}
	}
	if r.ContentLength != 0 {
		return agreement{}, &refusal{status: http.StatusBadRequest, why: "the request has a body (RFC 6455, section 4.1)"}
	}
	// What follows was checked to be readable.
	offered, _ := handshake.Protocols(r.Header.Values("Sec-WebSocket-Protocol"))
	extensions, _ := handshake.Extensions(r.Header.Values("Sec-WebSocket-Extensions"))
	a := agreement{key: r.Header.Get("Sec-WebSocket-Key"), origin: r.Header.Get("Origin")}
	if a.origin != "" && len(s.settings.Origins) > 0 && !originAllowed(s.settings.Origins, a.origin) {
		return a, &refusal{status: http.StatusForbidden, by: "origins", why: fmt.Sprintf("the Origin %q is not allowed (origins)", clip(a.origin))}
	}
	var session string
	a.user, session = s.userOf(r)
	if len(s.settings.Sessions) > 0 && a.user == "" {
		return a, &refusal{status: http.StatusForbidden, by: "sessions", why: "nobody is logged in with the cookie " + sessionCookie + " of the request (sessions)"}
	}
	if wrong := s.checkToken(r, session, offered); wrong != "" {
		return a, &refusal{status: http.StatusForbidden, by: "csrf", why: wrong + " (csrf: " + s.settings.CSRF + ")"}
	}
	a.subprotocol = handshake.ChooseProtocol(s.settings.Subprotocols, offered)
	if a.subprotocol == "" && len(offered) > 0 && s.settings.OnNoCommon == refuseNoCommon {
		return a, &refusal{status: http.StatusBadRequest, by: "on_no_common",
			why: fmt.Sprintf("of the subprotocols %s it speaks none (on_no_common)", clip(strings.Join(offered, ", ")))}
	}
	if s.settings.Compression {
		a.deflate, _ = handshake.AcceptDeflate(extensions)
	}
	return a, nil
}

// clip bounds how much of a header's value is repeated.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// refuse answers and records a refusal, with the headers that its status has to bring.
func (s *service) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	s.env.Record(trace.Event{
		Type: trace.Refused, Session: r.URL.Query().Get("session"), Flow: flowOf(r), Status: no.status, By: no.by, Detail: no.why,
	})
	header := w.Header()
	header.Set("Sec-WebSocket-Version", "13") // RFC 6455, section 4.4
	switch no.status {
	case http.StatusUpgradeRequired: // RFC 9110, sections 15.5.22 and 7.8
		header.Set("Upgrade", "websocket")
		header.Set("Connection", "Upgrade")
	case http.StatusMethodNotAllowed: // RFC 9110, section 15.5.6
		header.Set("Allow", http.MethodGet)
	}
	text := no.why
	if no.hint != "" {
		text += "\n" + no.hint
	}
	http.Error(w, text, no.status)
}

// errEarlyData says that a client did not wait for the answer.
var errEarlyData = errors.New("the client has sent data before the handshake was answered (RFC 6455, section 4.1)")

// upgrade answers a handshake with 101 and returns the connection. The answer is
// written here, because gorilla/websocket agrees to every offer of permessage-deflate, also
// to those that it does not keep to.
func (s *service) upgrade(w http.ResponseWriter, r *http.Request, a agreement) (*websocket.Conn, *stream, error) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("the connection cannot be taken over")
	}
	raw, buffered, err := hijacker.Hijack()
	if err != nil {
		return nil, nil, err
	}
	conn, ok := raw.(*stream)
	if !ok {
		_ = raw.Close() // nothing was said on it
		return nil, nil, fmt.Errorf("a connection of type %T", raw)
	}
	if buffered.Reader.Buffered() > 0 {
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"+errEarlyData.Error()+"\n") // it may have left
		_ = conn.Close()
		return nil, nil, errEarlyData
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		_ = conn.Close() // the first error counts
		return nil, nil, err
	}
	if _, err := conn.Write(a.answer()); err != nil {
		_ = conn.Close() // the first error counts
		return nil, nil, err
	}
	conn.limit(s.settings.MaxFrame, s.settings.MaxMessage, a.deflate.Answer != "")
	upgrader := websocket.Upgrader{EnableCompression: a.deflate.Answer != "", CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := upgrader.Upgrade(&takenOver{ResponseWriter: w, conn: conn, buffered: buffered}, plain(r, a), nil)
	if err != nil {
		_ = conn.Close() // the first error counts
		return nil, nil, err
	}
	if 0 < a.deflate.Window && a.deflate.Window < 15 {
		// Go's compressor has one window, of 15 bits. Without any reference back it
		// keeps to every smaller one.
		if err := ws.SetCompressionLevel(flate.HuffmanOnly); err != nil {
			_ = conn.Close() // the first error counts
			return nil, nil, err
		}
	}
	return ws, conn, nil
}

// answer is the response that agrees (RFC 6455, section 4.2.2, item 5).
func (a agreement) answer() []byte {
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + handshake.Accept(a.key) + "\r\n")
	if a.subprotocol != "" {
		b.WriteString("Sec-WebSocket-Protocol: " + a.subprotocol + "\r\n")
	}
	if a.deflate.Answer != "" {
		b.WriteString("Sec-WebSocket-Extensions: " + a.deflate.Answer + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// plain is the request as gorilla/websocket has to see it to do what was agreed on.
func plain(r *http.Request, a agreement) *http.Request {
	as := r.Clone(r.Context())
	as.Header = http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {cmp.Or(a.key, handshake.NewKey())},
	}
	if a.deflate.Answer != "" {
		as.Header.Set("Sec-WebSocket-Extensions", handshake.PerMessageDeflate)
	}
	return as
}

// takenOver hands the connection of a handshake that was answered already to
// gorilla/websocket, whose own answer goes nowhere.
type takenOver struct {
	http.ResponseWriter
	conn     *stream
	buffered *bufio.ReadWriter
}

func (t *takenOver) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	t.conn.swallow.Store(true)
	return t.conn, t.buffered, nil
}
