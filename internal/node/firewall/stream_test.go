package firewall

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// everything is an inspection that acts on all there is.
func everything() Inspection {
	i := defaultInspection()
	i.WebSocket, i.Connect, i.PlainHTTP = Reset, Drop, BlackHole
	i.TLSServerName = []ServerNames{
		{[]string{"good.example"}, Pass},
		{[]string{"bad.example", "*.bad.example"}, Slow},
	}
	return i
}

func follow(i Inspection, port uint16, whole bool) *stream {
	return newStream(whole, true, func(f finding, name string) treatment { return i.treat(f, port, name) })
}

// send feeds a stream as the interceptor does, and returns what is let go.
func send(s *stream, parts ...string) (gone string) {
	var held []byte
	for _, p := range parts {
		held = append(held, p...)
		if s.found != nil {
			break
		}
		if s.over {
			gone, held = gone+string(held), nil
			continue
		}
		n := s.feed(held)
		gone, held = gone+string(held[:n]), slices.Clone(held[n:])
		if s.over {
			gone, held = gone+string(held), nil
		}
	}
	return gone
}

// state says in a word what an inspection thinks of a stream.
func state(s *stream) string {
	switch {
	case s.found != nil:
		return s.found.action
	case s.over:
		return Pass
	}
	return "undecided"
}

func TestStream(t *testing.T) {
	const get = "GET /chat HTTP/1.1\r\nHost: server\r\n"
	const done = "GET / HTTP/1.1\r\nHost: server\r\n\r\n"
	const chat = get + "Upgrade: websocket\r\n"
	for _, test := range []struct{ name, sent, want string }{
		{"nothing", "", "undecided"},
		{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", Pass},
		{"HTTP/2", "PRI * HTTP/2.0\r\n", Pass},
		{"half a method", "GE", "undecided"},
		{"half a request line", "GET /cha", "undecided"},
		{"endless method", strings.Repeat("A", 40), Pass},
		{"binary", "\x00\x01", Pass},
		{"space first", " GET / HTTP/1.1\r\n", Pass},
		{"half a header", get, "undecided"},
		{"plain", done, "undecided"},
		{"upgrade", chat, Reset},
		{"half an upgrade", get + "Upgrade: websock", "undecided"},
		{"case", "get /chat http/1.1\r\n", Pass},
		{"case of the header", get + "uPGRADE:\tWebSocket \r\n\r\n", Reset},
		{"bare newlines", "GET / HTTP/1.1\nUpgrade: websocket\n\n", Reset},
		{"list", get + "Upgrade: h2c, websocket/13\r\n", Reset},
		{"folded", get + "Upgrade:\r\n websocket\r\n", Reset},
		{"folded elsewhere", get + "Via:\r\n websocket\r\n", "undecided"},
		{"endless header", get + strings.Repeat("X: y\r\n", inspectLimit), Pass},
		{"proxy", "GET http://server/chat HTTP/1.1\r\nUpgrade: websocket\r\n", Reset},
		{"connect", "CONNECT server:443 HTTP/1.1\r\n", Drop},

		{"second request", done + chat, Reset},
		{"second request behind an empty line", done + "\r\n" + chat, Reset},
		{"in the body", "POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + chat, "undecided"},
		{"behind the body", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" + chat, Reset},
		{"in a chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + chat, "undecided"},
		{"behind chunks", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n" + chat, Reset},
		{"a chunk without an end", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n" + chat, Pass},
		{"no size of a chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n" + chat, Pass},
		{"two lengths", "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + chat, Pass},
		{"a negative length", "POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n" + chat, Pass},
		{"smuggled", "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello" + chat, Pass},
		{"another protocol", get + "Upgrade: h2c\r\n\r\n" + chat, Reset},
		{"another protocol that is spoken", get + "Upgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\n", Pass},
		{"another protocol without lines", get + "Upgrade: x\r\n\r\nHELO", Pass},
	} {
		var bytes []string
		for _, b := range []byte(test.sent) {
			bytes = append(bytes, string(b))
		}
		for how, parts := range map[string][]string{"at once": {test.sent}, "byte by byte": bytes} {
			if how == "byte by byte" && len(test.sent) > inspectLimit {
				continue
			}
			s := follow(everything(), 80, true)
			gone := send(s, parts...)
			if got := state(s); got != test.want {
				t.Errorf("%s, %s: %s, not %s", test.name, how, got, test.want)
			}
			if !strings.HasPrefix(test.sent, gone) || s.over && gone != test.sent {
				t.Errorf("%s, %s: let go %q", test.name, how, gone)
			}
		}
	}
}

// TestStreamLetsGo: what was before the finding goes on, what was found does not.
func TestStreamLetsGo(t *testing.T) {
	s := follow(everything(), 80, true)
	first, second := "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
	if gone := send(s, first+second); gone != first {
		t.Errorf("let go %q", gone)
	}
}

func TestPlainHTTP(t *testing.T) {
	for port, want := range map[uint16]string{443: BlackHole, 80: "undecided"} {
		s := follow(everything(), port, true)
		send(s, "GET / HTTP/1.1\r\n\r\n")
		if got := state(s); got != want {
			t.Errorf("port %d: %s, not %s", port, got, want)
		}
	}
	// HTTP comes to light before the upgrade that it asks for.
	s := follow(everything(), 443, true)
	send(s, "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
	if s.found == nil || s.found.rule != "inspect.plain_http: black-hole" {
		t.Errorf("found %v", s.found)
	}
}

// TestMiddle looks into streams of which the beginning was not seen.
func TestMiddle(t *testing.T) {
	for sent, want := range map[string]string{
		"hello":                   Pass,
		"POS":                     Pass, // it might be the middle of anything
		"GE":                      "undecided",
		"POST / HTTP/1.1\r\n\r\n": "undecided",
		"\x17\x03\x03\x00\x10":    Pass,
		"\x81\x85abcdhello":       Pass,
		"GET / HTTP/1.1\r\nUpgrade: websocket\r\n": Reset,
		"\x16\x03\x03\x00\x28\xde\xad\xbe\xef":     Pass,
	} {
		s := follow(everything(), 80, false)
		send(s, sent)
		if got := state(s); got != want {
			t.Errorf("%q: %s, not %s", sent, got, want)
		}
	}
}

// hello is what crypto/tls sends first.
func hello(t testing.TB, config *tls.Config) string {
	t.Helper()
	client, server := net.Pipe()
	go func() {
		_ = tls.Client(client, config).Handshake() // nobody answers
		_ = client.Close()
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(server, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	return string(header) + string(body)
}

// split cuts the handshake message of a record into several records.
func split(record string, at ...int) string {
	var out strings.Builder
	body := record[5:]
	last := 0
	for _, a := range append(at, len(body)) {
		part := body[last:a]
		out.WriteString(record[:3] + string([]byte{byte(len(part) >> 8), byte(len(part))}) + part)
		last = a
	}
	return out.String()
}

func TestServerName(t *testing.T) {
	named := func(name string) string {
		return hello(t, &tls.Config{ServerName: name, InsecureSkipVerify: name == ""})
	}
	bad := named("chat.bad.example")
	for _, test := range []struct{ name, sent, want string }{
		{"bad", bad, Slow},
		{"another case", named("BAD.example"), Slow},
		{"good", named("good.example"), Pass},
		{"neither", named("other.example"), Pass},
		{"not below", named("verybad.example"), Pass},
		{"no name", named(""), Pass},
		{"half", bad[:len(bad)/2], "undecided"},
		{"half a record header", bad[:4], "undecided"},
		{"two records", split(bad, 3), Slow},
		{"many records", split(bad, 1, 2, 50, 60, 61), Slow},
		{"an empty record", split(bad, 0), Pass},
		{"another record between", bad[:3] + "\x00\x01\x01" + "\x17\x03\x03\x00\x01\x00", Pass},
		{"a ServerHello", "\x16\x03\x03\x00\x04\x02\x00\x00\x00", Pass},
		{"in a tunnel", "CONNECT bad.example:443 HTTP/1.1\r\nHost: x\r\n\r\n" + bad, Slow},
	} {
		i := everything()
		i.Connect = Pass
		var pieces []string
		for piece := range slices.Chunk([]byte(test.sent), 7) {
			pieces = append(pieces, string(piece))
		}
		for how, parts := range map[string][]string{"at once": {test.sent}, "in pieces": pieces} {
			s := follow(i, 443, true)
			s.treat = func(f finding, name string) treatment {
				if f == plainHTTP {
					return treatment{action: Pass}
				}
				return i.treat(f, 443, name)
			}
			send(s, parts...)
			if got := state(s); got != test.want {
				t.Errorf("%s, %s: %s, not %s", test.name, how, got, test.want)
			}
		}
	}
	s := follow(everything(), 443, true)
	send(s, bad)
	if want := "inspect.tls_server_name: slow, chat.bad.example"; s.found == nil || s.found.rule != want {
		t.Errorf("found %v, not %s", s.found, want)
	}
}

// extensions makes a ClientHello with these extensions.
func extensions(list ...string) string {
	all := strings.Join(list, "")
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00" +
		string([]byte{byte(len(all) >> 8), byte(len(all))}) + all
	message := "\x01\x00" + string([]byte{byte(len(body) >> 8), byte(len(body))}) + body
	return "\x16\x03\x01" + string([]byte{byte(len(message) >> 8), byte(len(message))}) + message
}

func extension(kind uint16, content string) string {
	return string([]byte{byte(kind >> 8), byte(kind), byte(len(content) >> 8), byte(len(content))}) + content
}

func sni(name string) string {
	return fmt.Sprintf("%c%c%c%c%c%s", 0, len(name)+3, 0, 0, len(name), name)
}

// TestExtensions reads what other clients send.
func TestExtensions(t *testing.T) {
	for _, test := range []struct {
		name, sent, want string
		err              error
	}{
		{"behind GREASE", extensions(extension(0x1a1a, "\x00"), extension(0, sni("a.example"))), "a.example", nil},
		{"before Encrypted Client Hello", extensions(extension(0, sni("public.example")), extension(0xfe0d, strings.Repeat("x", 200))), "public.example", nil},
		{"none", extensions(), "", nil},
		{"an empty name", extensions(extension(0, "")), "", nil},
		{"a name cut off", extensions(extension(0, sni("a.example")[:6])), "", nil},
		{"an extension too long", extensions("\x00\x05\xff\xff"), "", errNotTLS},
	} {
		if got, err := serverName([]byte(test.sent)); got != test.want || err != test.err {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
	}
	old := "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x00\x2f" + "\x01\x00"
	if got, err := serverName([]byte(old)); got != "" || err != nil {
		t.Errorf("without extensions: %q, %v", got, err)
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"a.example", "a.example", true},
		{"A.example", "a.EXAMPLE.", true},
		{"a.example", "b.a.example", false},
		{"*.example", "a.example", true},
		{"*.example", "b.a.example", true},
		{"*.example", "example", false},
		{"*.example", ".example", false},
		{"*", "", true},
		{"a.example", "", false},
	} {
		if got := matches(test.pattern, test.name); got != test.want {
			t.Errorf("%s, %q: %v", test.pattern, test.name, got)
		}
	}
}

// FuzzStream splits what is sent: what is found must not depend on more than that a
// piece may have gone by before it was understood.
func FuzzStream(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\n\r\n"), 5, true)
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\nUpgrade:\n websocket\n"), 60, true)
	f.Add([]byte("CONNECT bad.example:443 HTTP/1.1\r\n\r\n"), 9, true)
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"), 40, false)
	f.Add([]byte(hello(f, &tls.Config{ServerName: "bad.example"})), 100, true)
	f.Fuzz(func(t *testing.T, sent []byte, at int, whole bool) {
		if at < 0 || at > len(sent) {
			return
		}
		once := follow(everything(), 80, whole)
		gone := send(once, string(sent))
		if !strings.HasPrefix(string(sent), gone) {
			t.Fatalf("let go %q", gone)
		}
		twice := follow(everything(), 80, whole)
		split := send(twice, string(sent[:at]), string(sent[at:]))
		if !strings.HasPrefix(string(sent), split) {
			t.Fatalf("let go %q", split)
		}
		if twice.found != nil && (once.found == nil || *once.found != *twice.found || gone != split) {
			t.Errorf("split at %d: %v and %q, at once %v and %q", at, twice.found, split, once.found, gone)
		}
	})
}

func FuzzServerName(f *testing.F) {
	f.Add([]byte(hello(f, &tls.Config{ServerName: "bad.example"})))
	f.Add([]byte(split(hello(f, &tls.Config{ServerName: "bad.example"}), 10, 90)))
	f.Add([]byte(extensions(extension(0x1a1a, "\x00"), extension(0, sni("a.example")))))
	f.Fuzz(func(t *testing.T, sent []byte) {
		name, err := serverName(sent)
		if err != nil && name != "" {
			t.Errorf("%q and %v", name, err)
		}
		if err != errMore {
			return
		}
		// What needs more is no ClientHello of its own accord.
		if _, err := serverName(sent[:len(sent)/2]); err == nil {
			t.Error("half of it was enough")
		}
	})
}
