package proxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// TestReverseIsRestarted restarts a proxy as a lab does: its process is replaced. What
// the clients see is theirs by the time the process is gone.
func TestReverseIsRestarted(t *testing.T) {
	for _, how := range []string{"", "fin", "reset", "1012"} {
		t.Run("on_restart "+how, func(t *testing.T) {
			h := nodetest.NewHost(t, "app-proxy")
			l := h.Listen(t, "127.0.0.1:80")
			settings := reverseSettings(func(s *Settings) {
				s.Protocol, s.Upstream, s.UpstreamTLS, s.ClientTLS, s.Port, s.OnRestart = "reverse", []string{"server"}, false, false, 8080, how
			})
			t.Setenv("WSLAB_PRIVATE_ETC", "1")
			n := h.Start(t, Kind(), &settings, topology.NodeSpec{
				Interfaces: []topology.Interface{nodetest.Interface("lan", "127.0.0.1/8")},
				Hosts:      map[string]netip.Addr{"server": netip.MustParseAddr("127.0.0.1")},
			})
			for range 2 { // and again, by the successor
				c := h.MustDial(t, "127.0.0.1:8080")
				if _, err := io.WriteString(c, upgradeTo("/")); err != nil {
					t.Fatal(err)
				}
				server := nodetest.Accept(t, l)
				if _, err := http.ReadRequest(bufio.NewReader(server)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(server, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				in := bufio.NewReader(c)
				_ = c.SetReadDeadline(time.Now().Add(nodetest.Patience))
				if _, err := http.ReadResponse(in, nil); err != nil {
					t.Fatal(err)
				}
				before := n.Count(trace.Ready)
				n.Call(t, "restart", map[string]time.Duration{"down": 0}, nil)
				wantLastWords(t, in, how)
				_ = c.Close()
				n.Await(t, func(trace.Event) bool { return n.Count(trace.Ready) > before })
			}
		})
	}
}

func wantLastWords(t *testing.T, in io.Reader, how string) {
	t.Helper()
	rest, err := io.ReadAll(in)
	switch how {
	case "reset":
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %x, %v, want a RST", rest, err)
		}
	case "1012":
		if len(rest) != 4 || rest[0] != 0x88 || binary.BigEndian.Uint16(rest[2:]) != 1012 || err != nil {
			t.Errorf("read %x, %v, want a close frame 1012 and a FIN", rest, err)
		}
	default:
		if len(rest) > 0 || err != nil {
			t.Errorf("read %x, %v, want a FIN", rest, err)
		}
	}
}
