package strategy

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// What the kernel was told about keepalive, read back from the socket, with and without TLS.
func TestTCPKeepaliveReachesTheSocket(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil); err == nil {
			echo(ws)
			_ = ws.Close()
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	for _, server := range []*httptest.Server{plain, secure} {
		for _, c := range []struct {
			tcp  *TCPKeepalive
			want [4]int // SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT
		}{
			{&TCPKeepalive{Idle: 3 * time.Second, Interval: 2 * time.Second, Count: 7}, [4]int{1, 3, 2, 7}},
			{nil, [4]int{0}},
		} {
			ctx, stop := context.WithCancel(t.Context())
			var got [4]int
			var ws *websocket.Conn
			dial := func(ctx context.Context) (*websocket.Conn, error) {
				conn, response, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(server.URL, "http"), nil)
				if response != nil {
					_ = response.Body.Close()
				}
				ws = conn
				return conn, err
			}
			s := New(Strategy{Keepalive: Keepalive{TCP: c.tcp}}, dial, Options{OnEvent: func(e Event) {
				if e.Type == Opened {
					got = socketKeepalive(t, ws)
					stop()
				}
			}})
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
			stop()
			if c.want[0] == 0 {
				got = [4]int{got[0]} // the rest has no meaning while it is off
			}
			if got != c.want {
				t.Errorf("%s %+v: got %v, want %v", server.URL, c.tcp, got, c.want)
			}
		}
	}
}

func socketKeepalive(t *testing.T, ws *websocket.Conn) (got [4]int) {
	raw, err := tcpConn(ws.NetConn()).SyscallConn()
	if err != nil {
		t.Error(err)
		return got
	}
	err = raw.Control(func(fd uintptr) {
		for i, option := range [][2]int{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
		} {
			value, err := syscall.GetsockoptInt(int(fd), option[0], option[1])
			if err != nil {
				t.Error(err)
			}
			got[i] = value
		}
	})
	if err != nil {
		t.Error(err)
	}
	return got
}
