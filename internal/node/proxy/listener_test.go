package proxy

import (
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/ca"
)

// FuzzHTTPListener throws bytes at the listener of a proxy of either protocol, alone and behind
// a CONNECT: the next client is served as if nothing had been, and nothing is left of what was thrown.
func FuzzHTTPListener(f *testing.F) {
	for _, c := range squidCases() {
		f.Add([]byte(c.sends[0]))
	}
	f.Add([]byte("GET http://server/ HTTP/1.1\r\n\r\nGET http://server/ HTTP/1.1\r\nConnection: close\r\n\r\n"))
	f.Add([]byte("CONNECT server:443 HTTP/1.1\r\n\r\n\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"))
	f.Add([]byte("GET http://server/chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\xff\xff\xff"))
	f.Add([]byte("GET http://the-proxy/login HTTP/1.1\r\n\r\nPOST http://server/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	authority, err := ca.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		target, conns := echoServer(t)
		drained := make(chan struct{})
		defer close(drained)
		go func() { // the test looks at none of them
			for {
				select {
				case <-conns:
				case <-drained:
					return
				}
			}
		}()
		for _, protocol := range []string{protocolHTTP, protocolIntercept} {
			settings := *newSettings()
			settings.Protocol, settings.Upgrade, settings.CacheEntries, settings.CacheBytes = protocol, pass, 4, 4096
			settings.ReadTimeout = 200 * time.Millisecond
			r := start(t, settings, authority)
			r.only("server:443", target)
			r.host("server:80", target)
			before := runtime.NumGoroutine()
			throw(t, r.addr("3128"), data)
			throw(t, r.addr("3128"), append([]byte("CONNECT server:443 HTTP/1.1\r\nHost: x\r\n\r\n"), data...))
			next := dialTCP(t, r.addr("3128"))
			if _, err := io.WriteString(next, "CONNECT server:443 HTTP/1.1\r\nHost: x\r\n\r\nnext"); err != nil {
				t.Fatal(err)
			}
			wantText(t, next, "HTTP/1.1 200 Connection established\r\n\r\nnext")
			_ = next.Close()
			for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before+2; {
				if time.Now().After(end) {
					stacks := make([]byte, 1<<20)
					t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				}
				runtime.Gosched()
				time.Sleep(time.Millisecond)
			}
		}
	})
}
