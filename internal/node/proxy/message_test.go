package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

func readerOf(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }

// FuzzRequest reads a request as a client sends it, and its body: there is an error, or a request
// that can be sent on as it is read.
func FuzzRequest(f *testing.F) {
	for _, c := range squidCases() {
		f.Add([]byte(c.sends[0]))
	}
	f.Add([]byte("CONNECT [::1]:443 HTTP/1.0\r\n\r\nahead"))
	f.Add([]byte("POST http://server/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"))
	f.Add([]byte("GET http://[::1%25x]:99999/ HTTP/1.1\r\nConnection: Host, , Content-Length\r\n\t\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bufio.NewReader(bytes.NewReader(data))
		r, err := readRequestHead(in, maxRequestHeader)
		if err != nil {
			if r != nil {
				t.Errorf("%v and a request", err)
			}
			return
		}
		if !bytes.HasPrefix(data, r.raw) || len(r.raw) > maxRequestHeader {
			t.Errorf("%d bytes of %d were read", len(r.raw), len(data))
		}
		again, err := readRequestHead(bufio.NewReader(bytes.NewReader(r.bytes())), 2*maxRequestHeader)
		if err != nil || again.line != r.line || len(again.fields) != len(r.fields) {
			t.Fatalf("%q is read as %v, %v", r.bytes(), again, err)
		}
		h := &httpClient{httpProxy: &httpProxy{proxy: &proxy{settings: newSettings()}}}
		if to, no := h.route(r); no == nil {
			if _, _, err := net.SplitHostPort(to.address); err != nil || to.path == "" || strings.ContainsAny(to.path+to.authority, " \r\n") {
				t.Errorf("%q goes to %+v", r.target, to)
			}
		}
		r.stripConnection()
		for _, name := range connectionFields {
			if r.has(name) {
				t.Errorf("%s is left", name)
			}
		}
		content, err := again.body()
		if err == nil {
			n, _ := io.Copy(io.Discard, content.reader(in))
			if n > int64(len(data)) {
				t.Errorf("a body of %d bytes in %d", n, len(data))
			}
		}
	})
}

// FuzzResponse is FuzzRequest for what servers answer.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00"))
	f.Add([]byte("HTTP/1.0 200\r\nCache-Control: max-age=99999999999999999999, s-maxage=\"5\"\r\nAge: 18446744073709551615\r\nVary: a,,b\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bufio.NewReader(bytes.NewReader(data))
		answer, err := readResponseHead(in, maxRequestHeader)
		if err != nil {
			return
		}
		content, err := answer.body("GET")
		if err != nil {
			return
		}
		c := newCache(2, 4096, 1)
		r, err := readRequestHead(readerOf("GET http://server/ HTTP/1.1\r\nA: b\r\n\r\n"), maxRequestHeader)
		if err != nil {
			t.Fatal(err)
		}
		rec := c.record(c.look(r, "u"), r, answer, content)
		source := content.reader(in)
		if rec != nil {
			source = io.TeeReader(source, rec)
		}
		if err := copyBody(io.Discard, source, true); err == nil {
			rec.complete()
		} else if errors.Is(err, io.EOF) {
			t.Error("a body that is cut short looks whole")
		}
		if c.used > 4096 {
			t.Errorf("%d bytes are stored", c.used)
		}
		if at := c.look(r, "u"); at.hit != nil && (at.age < 0 || at.age >= at.hit.lifetime) {
			t.Errorf("age %v of %v", at.age, at.hit.lifetime)
		}
	})
}

// FuzzTarget parses what CONNECT asks for.
func FuzzTarget(f *testing.F) {
	for _, target := range []string{"server:443", "[::1]:443", "server", "server:0", "server:99999", ":443", "a@b:1", "[::1%eth0]:1", "::1:1", "server:+443", "server:\x00"} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, authority string) {
		target, err := parseTarget(authority)
		if err != nil {
			return
		}
		host, port, err := net.SplitHostPort(target)
		if err != nil || host == "" || port == "" || port == "0" || strings.ContainsAny(host, " @/\x00") {
			t.Errorf("%q is taken for %q", authority, target)
		}
		if again, err := parseTarget(target); err != nil || again != target {
			t.Errorf("%q is read again as %q, %v", target, again, err)
		}
	})
}
