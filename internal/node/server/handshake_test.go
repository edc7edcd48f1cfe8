package server

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/trace"
)

// opening is a handshake that nothing is wrong with, and accepted its answer.
const (
	opening = "GET /?session=s HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	accepted = "101 Connection: Upgrade; Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=; Upgrade: websocket"
)

// with adds a field to the opening handshake.
func with(field string) string {
	return strings.Replace(opening, "\r\n\r\n", "\r\n"+field+"\r\n\r\n", 1)
}

// instead has something else in the place of a part of it.
func instead(old, new string) string { return strings.Replace(opening, old, new, 1) }

// asked sends a request as it stands and returns status and the fields of the answer that are about
// the handshake.
func asked(t testing.TB, conn net.Conn, request string) string {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.WriteString(conn, request) }() // it may be refused half way
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err.Error()
	}
	_ = response.Body.Close()
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		switch name {
		case "Date", "Content-Type", "Content-Length", "X-Content-Type-Options":
			continue
		}
		fields = append(fields, name+": "+strings.Join(response.Header[name], " | "))
	}
	if response.Close {
		fields = append(fields, "and closes")
	}
	return fmt.Sprintf("%d %s", response.StatusCode, strings.Join(fields, "; "))
}

func (r *rig) tcp() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp4", r.http)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestHandshakes asks as clients do that know better and worse. The refusals have the fields that
// their status requires, and the trace names what was wrong.
func TestHandshakes(t *testing.T) {
	const bad = "400 Sec-Websocket-Version: 13"
	const upgradeRequired = "426 Connection: Upgrade; Sec-Websocket-Version: 13; Upgrade: websocket"
	for _, c := range []struct {
		name, request, want string
		// traced is a part of what the trace says of a refusal.
		traced string
	}{
		{name: "valid", request: opening, want: accepted},
		{name: "tokens in another case, and in lists", request: instead("Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: h2c, WebSocket\r\nConnection: keep-alive, upgrade"), want: accepted},
		{name: "POST", request: instead("GET", "POST"), want: "405 Allow: GET; Sec-Websocket-Version: 13", traced: "the method is POST"},
		{name: "HTTP/1.0", request: instead("HTTP/1.1", "HTTP/1.0"), want: "426 Sec-Websocket-Version: 13; Upgrade: websocket; and closes", traced: "the version is HTTP/1.0"},
		{name: "no Host", request: instead("Host: server\r\n", ""), want: "400 and closes", traced: "missing required Host header"},
		{name: "no Upgrade", request: instead("Upgrade: websocket\r\n", ""), want: upgradeRequired, traced: "Upgrade is missing"},
		{name: "another Upgrade", request: instead("Upgrade: websocket", "Upgrade: h2c"), want: upgradeRequired, traced: `Upgrade is "h2c"`},
		{name: "no Connection", request: instead("Connection: Upgrade\r\n", ""), want: upgradeRequired, traced: "Connection is missing"},
		{name: "no version", request: instead("Sec-WebSocket-Version: 13\r\n", ""), want: bad, traced: "Sec-WebSocket-Version is missing"},
		{name: "version 8", request: instead("Version: 13", "Version: 8"), want: upgradeRequired, traced: "Sec-WebSocket-Version is 8"},
		{name: "no key", request: instead("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), want: bad, traced: "Sec-WebSocket-Key is missing"},
		{name: "key of 15 bytes", request: instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), want: bad, traced: "stands for 15 bytes"},
		{name: "key that is no base64", request: instead("dGhlIHNhbXBsZSBub25jZQ==", "not base64"), want: bad, traced: "is not base64"},
		{name: "two keys", request: with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), want: bad, traced: "more than one Sec-WebSocket-Key"},
		{name: "body", request: with("Content-Length: 1") + "x", want: bad, traced: "announces a body"},
		{name: "chunked body", request: with("Transfer-Encoding: chunked") + "1\r\nx\r\n0\r\n\r\n", want: bad, traced: "has a body"},
		{name: "frames before the answer", request: opening + "\x81\x80\x00\x00\x00\x00", want: "400 and closes", traced: "has sent data before the handshake was answered"},
		{name: "Origin that is none", request: with("Origin: app.example"), want: bad, traced: "is no origin"},
		{name: "subprotocol", request: with("Sec-WebSocket-Protocol: chat, numbered-echo.wslab"), want: strings.Replace(accepted, "; Upgrade", "; Sec-Websocket-Protocol: numbered-echo.wslab; Upgrade", 1)},
		{name: "no subprotocol in common", request: with("Sec-WebSocket-Protocol: chat"), want: accepted},
		{name: "subprotocols that are none", request: with("Sec-WebSocket-Protocol: chat, chat"), want: bad, traced: "is there twice"},
		{name: "permessage-deflate, off", request: with("Sec-WebSocket-Extensions: permessage-deflate"), want: accepted},
		{name: "extensions that are none", request: with("Sec-WebSocket-Extensions: ;"), want: bad, traced: "cannot be read"},
		{name: "no HTTP", request: "hello\r\n\r\n", want: "400 and closes", traced: "no request of HTTP/1.1"},
		{name: "TLS on the port of HTTP", request: "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n", want: "400 and closes", traced: "no request of HTTP/1.1"},
		{name: "head of 100000 bytes", request: with("X-Long: " + strings.Repeat("x", 100_000)), want: "431 and closes", traced: "no request of HTTP/1.1"},
		{name: "plain page", request: "GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n", want: "200 and closes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			if got := asked(t, r.tcp(), c.request); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
			if c.traced != "" {
				r.await(c.traced, func(e trace.Event) bool {
					return e.Type == trace.Refused && strings.HasPrefix(c.want, fmt.Sprint(e.Status)) && strings.Contains(e.Detail, c.traced) || e.Status == 0 && strings.Contains(e.Detail, c.traced)
				})
			}
		})
	}
}

// TestWhoIsLetIn has the settings that keep others out: what they refuse, and what they do not.
func TestWhoIsLetIn(t *testing.T) {
	const token = "8d03a20c76aa97631547c60b4169fdc2" // of the session c0ffee
	const cookie = "Cookie: wslab_session=c0ffee"
	origins := SecuritySettings{Origins: []string{"https://app.example", "*.apps.example", "https://*.tls.example"}}
	sessions := SecuritySettings{Sessions: map[string]string{"alice": "c0ffee"}}
	session := SecuritySettings{Sessions: sessions.Sessions, CSRF: csrfSession}
	double := SecuritySettings{CSRF: csrfDoubleSubmit}
	query := func(name, value string) func(string) string {
		return func(r string) string { return strings.Replace(r, "session=s", "session=s&"+name+"="+value, 1) }
	}
	for _, c := range []struct {
		name     string
		settings SecuritySettings
		fields   string
		change   func(string) string
		// refused is the setting that refuses, "" if none does.
		refused string
	}{
		{name: "exact origin", settings: origins, fields: "Origin: https://app.example"},
		{name: "its default port", settings: origins, fields: "Origin: https://app.example:443"},
		{name: "another case", settings: origins, fields: "Origin: https://App.Example"},
		{name: "another port", settings: origins, fields: "Origin: https://app.example:8443", refused: "origins"},
		{name: "another scheme", settings: origins, fields: "Origin: http://app.example", refused: "origins"},
		{name: "a longer name", settings: origins, fields: "Origin: https://app.example.evil.example", refused: "origins"},
		{name: "a name that ends alike", settings: origins, fields: "Origin: https://evilapps.example", refused: "origins"},
		{name: "under *.apps.example", settings: origins, fields: "Origin: http://one.apps.example:8080"},
		{name: "deep under *.apps.example", settings: origins, fields: "Origin: https://a.b.apps.example"},
		{name: "apps.example itself", settings: origins, fields: "Origin: https://apps.example", refused: "origins"},
		{name: "under https://*.tls.example", settings: origins, fields: "Origin: https://a.tls.example"},
		{name: "the same in the clear", settings: origins, fields: "Origin: http://a.tls.example", refused: "origins"},
		{name: "null", settings: origins, fields: "Origin: null", refused: "origins"},
		{name: "null, which the list has", settings: SecuritySettings{Origins: []string{"null"}}, fields: "Origin: null"},
		{name: "no Origin: no browser", settings: origins},

		{name: "session", settings: sessions, fields: cookie},
		{name: "no session", settings: sessions, refused: "sessions"},
		{name: "another session", settings: sessions, fields: "Cookie: wslab_session=c0ff", refused: "sessions"},

		{name: "token in the query", settings: session, fields: cookie, change: query("csrf_token", token)},
		{name: "token as a subprotocol", settings: session, fields: cookie + "\r\nSec-WebSocket-Protocol: csrf." + token},
		{name: "no token", settings: session, fields: cookie, refused: "csrf"},
		{name: "wrong token", settings: session, fields: cookie, change: query("csrf_token", token[1:]), refused: "csrf"},
		{name: "token without the session", settings: session, change: query("csrf_token", token), refused: "sessions"},

		{name: "the cookie twice", settings: double, fields: "Cookie: csrf_token=" + token, change: query("csrf_token", token)},
		{name: "the cookie once", settings: double, fields: "Cookie: csrf_token=" + token, refused: "csrf"},
		{name: "another one", settings: double, fields: "Cookie: csrf_token=" + token, change: query("csrf_token", "x"), refused: "csrf"},
		{name: "no cookie", settings: double, change: query("csrf_token", token), refused: "csrf"},
		{name: "an empty cookie, and nothing beside it", settings: double, fields: "Cookie: csrf_token=", change: query("csrf_token", ""), refused: "csrf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := testSettings()
			settings.SecuritySettings = c.settings
			r := startWith(t, *settings)
			request, want := opening, accepted
			if c.fields != "" {
				request = with(c.fields)
			}
			if c.change != nil {
				request = c.change(request)
			}
			if c.refused != "" {
				want = "403 Sec-Websocket-Version: 13"
			}
			if got := asked(t, r.tcp(), request); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if c.refused != "" {
				r.await("refused", func(e trace.Event) bool {
					return e.Type == trace.Refused && e.Status == 403 && e.By == c.refused && e.Session == "s"
				})
			}
		})
	}
}

// TestPageShowsTheToken is where the server's own page has its token from, and no other.
func TestPageShowsTheToken(t *testing.T) {
	page := func(r *rig, field string) string {
		conn := r.tcp()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\nHost: server\r\n"+field+"\r\n"); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	settings := testSettings()
	settings.Sessions, settings.CSRF = map[string]string{"alice": "c0ffee"}, csrfSession
	r := startWith(t, *settings)
	if got := page(r, "Cookie: wslab_session=c0ffee\r\n"); !strings.Contains(got, `content="8d03a20c76aa97631547c60b4169fdc2"`) {
		t.Errorf("alice sees %s", got)
	}
	if got := page(r, ""); strings.Contains(got, "csrf-token") {
		t.Errorf("a stranger sees %s", got)
	}
	settings.Sessions, settings.CSRF = nil, csrfDoubleSubmit
	r = startWith(t, *settings)
	got := page(r, "")
	token := regexp.MustCompile(`content="([a-z0-9]+)"`).FindStringSubmatch(got)
	if token == nil || !strings.Contains(got, "Set-Cookie: csrf_token="+token[1]+";") {
		t.Errorf("the page and its cookie do not have the same token: %s", got)
	}
}

// TestNegotiation has settings of the handshake other than the defaults.
func TestNegotiation(t *testing.T) {
	deflate := func(answer string) string {
		return strings.Replace(accepted, "; Upgrade", "; Sec-Websocket-Extensions: "+answer+"; Upgrade", 1)
	}
	const plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, c := range []struct{ name, field, want string }{
		{"the server's preference", "Sec-WebSocket-Protocol: b, a", strings.Replace(accepted, "; Upgrade", "; Sec-Websocket-Protocol: a; Upgrade", 1)},
		{"none in common", "Sec-WebSocket-Protocol: c", "400 Sec-Websocket-Version: 13"},
		{"none offered", "X: y", accepted},
		{"permessage-deflate", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", deflate(plain)},
		{"a smaller window", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10", deflate(plain + "; server_max_window_bits=10")},
		{"an offer that cannot be taken, and one that can", "Sec-WebSocket-Extensions: permessage-deflate; x=1, permessage-deflate", deflate(plain)},
		{"an offer that cannot be taken", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7", accepted},
		{"another extension", "Sec-WebSocket-Extensions: x-webkit-deflate-frame", accepted},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := testSettings()
			settings.Subprotocols, settings.OnNoCommon, settings.Compression = []string{"a", "b"}, refuseNoCommon, true
			if got := asked(t, startWith(t, *settings).tcp(), with(c.field)); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

// TestHTTPOnThePortOfHTTPS is told so.
func TestHTTPOnThePortOfHTTPS(t *testing.T) {
	r := start(t)
	conn, err := net.Dial("tcp4", r.https)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := asked(t, conn, opening); got != "400 and closes" {
		t.Error(got)
	}
	r.await("refused", func(e trace.Event) bool { return e.Type == trace.Refused && e.Status == 400 })
}

// TestSlowServer has a server that is slow to accept, and one that is slow to answer: the kernel's
// handshake is over long before.
func TestSlowServer(t *testing.T) {
	const lab = 3 * time.Second // at the speed of the test 0.3 s
	for name, set := range map[string]func(*Settings){
		"accept":    func(s *Settings) { s.AcceptDelay = lab },
		"handshake": func(s *Settings) { s.HandshakeDelay = lab },
	} {
		t.Run(name, func(t *testing.T) {
			settings := testSettings()
			set(settings)
			r := startWith(t, *settings)
			pool, err := ca.Pool(r.authority)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp4", r.https)
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			secure := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "server"})
			defer func() { _ = secure.Close() }()
			if got := asked(t, secure, opening); got != accepted {
				t.Error(got)
			}
			if took := time.Since(begun); took < lab/10 {
				t.Errorf("answered after %v", took)
			}
		})
	}
}
