package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/ca"
)

// TestWhatNeverEnds has a client, or a server, that sends without end what a proxy has to have whole
// before it can act on it: the refusal is the right one, and the memory is bounded.
func TestWhatNeverEnds(t *testing.T) {
	const (
		most  = 24 << 20 // what is sent at most
		grows = 12 << 20 // how much the heap may grow meanwhile
	)
	authority, err := ca.New()
	if err != nil {
		t.Fatal(err)
	}
	// What a server sends without end, after a first request.
	endless := func(begin, more string) string {
		return serveEach(t, func(c *net.TCPConn) {
			if _, err := readRequestHead(bufio.NewReader(c), 1<<20); err != nil {
				return
			}
			_, _ = io.WriteString(c, begin)
			piece := strings.Repeat(more, 1+(64<<10)/len(more))
			for sent := 0; sent < most; sent += len(piece) {
				if _, err := io.WriteString(c, piece); err != nil {
					return
				}
			}
		})
	}
	post := "POST http://server/ HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name, protocol, begin, more string
		// server answers; nil is one that answers a GET with 200, and nothing else.
		server func() string
		// status that the client sees, 0 for an end without one.
		status int
	}{
		{name: "first line", protocol: protocolHTTP, begin: "GET http://server/", more: "x", status: 414},
		{name: "headers", protocol: protocolHTTP, begin: "GET http://server/ HTTP/1.1\r\n", more: "X: y\r\n", status: 431},
		{name: "a header", protocol: protocolHTTP, begin: "GET http://server/ HTTP/1.1\r\nX: ", more: "x", status: 431},
		{name: "empty lines", protocol: protocolHTTP, begin: "\r\n", more: "\r\n", status: 414},
		{name: "a chunk's extension", protocol: protocolHTTP, begin: post + "5;", more: "x", status: 400},
		{name: "trailers", protocol: protocolHTTP, begin: post + "0\r\n", more: "X: y\r\n", status: 400},
		{name: "bytes that are no HTTP", protocol: protocolHTTP, begin: "\x16", more: "\x03\x01\x00", status: 414},
		{name: "a name of SOCKS5, and on", protocol: protocolSOCKS5, begin: "\x05\x01\x00\x05\x01\x00\x03\xff", more: "x"},
		{name: "a hello of TLS of 16 MiB", protocol: protocolIntercept, begin: "CONNECT server:443 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01\x40\x00\x01\xff\xff\xff", more: strings.Repeat("x", 0x4000-4) + "\x16\x03\x01\x40\x00xxxx", status: 200},
		{name: "headers at a reverse proxy", protocol: "reverse", begin: "GET / HTTP/1.1\r\nHost: server\r\n", more: "X: y\r\n", status: 431},
		{name: "headers of a server", protocol: protocolHTTP, begin: "GET http://server/ HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n", status: 502,
			server: func() string { return endless("HTTP/1.1 200 OK\r\n", "X: y\r\n") }},
		{name: "interim answers of a server", protocol: protocolHTTP, begin: "GET http://server/ HTTP/1.1\r\nHost: server\r\n\r\n", status: 100,
			server: func() string { return endless("", "HTTP/1.1 100 Continue\r\nX: "+strings.Repeat("y", 4000)+"\r\n\r\n") }},
		{name: "an answer for the cache", protocol: protocolHTTP, begin: "GET http://server/ HTTP/1.1\r\nHost: server\r\n\r\n", status: 200,
			server: func() string { return endless("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\n", "x") }},
		{name: "headers of an upstream", protocol: "reverse", begin: "GET / HTTP/1.1\r\nHost: server\r\n\r\n", status: 502,
			server: func() string { return endless("HTTP/1.1 200 OK\r\n", "X: y\r\n") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := ""
			if c.server != nil {
				target = c.server()
			} else {
				target = serveEach(t, func(conn *net.TCPConn) {
					from := bufio.NewReader(conn)
					if r, err := readRequestHead(from, 1<<20); err == nil && r.method == http.MethodGet {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
					_, _ = io.Copy(io.Discard, from)
				})
			}
			settings := *newSettings()
			settings.Protocol, settings.CacheEntries, settings.CacheBytes = c.protocol, 4, 1<<20
			port, next := "3128", "GET http://server/ HTTP/1.1\r\nHost: server\r\n\r\n"
			switch c.protocol {
			case protocolSOCKS5:
				port = "1080"
			case "reverse":
				settings = reverseSettings(func(s *Settings) {
					s.Protocol, s.Upstream, s.UpstreamTLS, s.ClientTLS = "reverse", []string{"server"}, false, false
				})
				port, next = "80", "GET / HTTP/1.1\r\nHost: server\r\n\r\n"
			}
			r := start(t, settings, authority)
			r.host("server:80", target)
			r.host("server:443", target)

			before := heap()
			var largest atomic.Uint64
			conn := dialTCP(t, r.addr(port))
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			written := make(chan struct{})
			go func() {
				defer close(written)
				_, _ = io.WriteString(conn, c.begin)
				if c.more == "" {
					return
				}
				piece := []byte(strings.Repeat(c.more, 1+(64<<10)/len(c.more)))
				for sent := 0; sent < most; sent += len(piece) {
					if sent%(4<<20) < len(piece) {
						largest.Store(max(largest.Load(), heap()))
					}
					if _, err := conn.Write(piece); err != nil {
						return
					}
				}
				_ = conn.CloseWrite()
			}()
			in := bufio.NewReader(conn)
			status := 0
			if c.protocol == protocolSOCKS5 {
				_, _ = io.CopyN(io.Discard, in, 2)
			} else if response, err := http.ReadResponse(in, nil); err == nil {
				status = response.StatusCode
			}
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			buffer := make([]byte, 64<<10)
			for got := 0; ; {
				n, err := in.Read(buffer)
				if got += n; err != nil || got > most {
					break
				}
				if got%(4<<20) < n {
					largest.Store(max(largest.Load(), heap()))
				}
			}
			_ = conn.Close()
			<-written
			if got := max(largest.Load(), heap()); got > before+grows {
				t.Errorf("the heap has grown from %d to %d bytes", before, got)
			}
			if c.server != nil || c.protocol == protocolSOCKS5 {
				return
			}
			after := dialTCP(t, r.addr(port))
			_ = after.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(after, next); err != nil {
				t.Fatal(err)
			}
			if response, err := http.ReadResponse(bufio.NewReader(after), nil); err != nil || response.StatusCode != 200 {
				t.Errorf("the next client sees %v, %v", response, err)
			}
		})
	}
}

// heap is how much of it is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
