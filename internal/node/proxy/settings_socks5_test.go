package proxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

func TestSOCKS5Rules(t *testing.T) {
	names := func(name string) ([]netip.Addr, error) {
		if name == "server" {
			return []netip.Addr{netip.MustParseAddr("203.0.113.3")}, nil
		}
		return nil, errors.New("no such name")
	}
	rules := []SOCKS5Rule{
		{Action: "deny", To: []string{".internal.test", "Printer"}},
		{Action: "allow", To: []string{"10.0.0.0/8", "server"}, Ports: []int{443, 80}},
		{Action: "deny", To: []string{"203.0.113.0/24"}},
		{Action: "allow", Ports: []int{8443}},
	}
	for _, c := range []struct {
		host, port string
		denied     bool
	}{
		{"wiki.internal.test", "443", true},
		{"internal.test", "8443", false},
		{"PRINTER.", "8443", true},
		{"server", "443", false},
		{"server", "8443", true},      // its address is in the denied network
		{"203.0.113.3", "443", false}, // the address of a name that is allowed
		{"203.0.113.4", "8443", true},
		{"::ffff:10.1.2.3", "80", false},
		{"unknown", "8443", false},
		{"unknown", "8444", true}, // nothing fits
	} {
		s := &SOCKS5Settings{Rules: rules}
		if got := s.denies(c.host, c.port, names); got != c.denied {
			t.Errorf("%s:%s is denied: %v", c.host, c.port, got)
		}
	}
	if new(SOCKS5Settings).denies("any", "1", names) {
		t.Error("without rules something is denied")
	}
}

func TestSOCKS5RepliesAreForced(t *testing.T) {
	target, _ := echoServer(t)
	settings := Settings{Protocol: "socks5", SOCKS5Settings: SOCKS5Settings{
		Reply: map[string]int{"server:443": 1, "server": 4, "*": 6}, Bound: boundZero,
		MethodDelay: 20 * time.Millisecond, ReplyDelay: 20 * time.Millisecond,
	}}
	r := start(t, settings, nil)
	r.host("server:443", target)
	for i, c := range []struct {
		name string
		port uint16
		code byte
	}{{"server", 443, 1}, {"server", 80, 4}, {"other", 443, 6}} {
		began := time.Now()
		conn := dialTCP(t, r.addr("1080"))
		request := append([]byte("\x05\x01\x00\x05\x01\x00\x03"), byte(len(c.name)))
		request = append(append(request, c.name...), byte(c.port>>8), byte(c.port))
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		wantText(t, conn, "\x05\x00\x05"+string(rune(c.code))+"\x00\x01\x00\x00\x00\x00\x00\x00")
		wantEOF(t, conn)
		if d := time.Since(began); d < 40*time.Millisecond {
			t.Errorf("two delays of 20 ms took %s", d)
		}
		if e := r.events.wait(t, trace.RelayRefused, i+1); e.Status != int(c.code) {
			t.Errorf("event %v", e)
		}
	}
}

func TestSOCKS5TakesEither(t *testing.T) {
	settings := Settings{Protocol: "socks5", Users: map[string]string{"alice": "secret"}, SOCKS5Settings: SOCKS5Settings{Methods: []string{"none", "password"}}}
	r := start(t, settings, nil)
	for _, c := range []struct{ offer, want string }{
		{"\x05\x02\x00\x02", "\x05\x00"},
		{"\x05\x02\x02\x00", "\x05\x00"}, // the proxy's preference counts
		{"\x05\x01\x02", "\x05\x02"},
		{"\x05\x01\x01", "\x05\xff"},
	} {
		conn := dialTCP(t, r.addr("1080"))
		if _, err := io.WriteString(conn, c.offer); err != nil {
			t.Fatal(err)
		}
		wantText(t, conn, c.want)
	}
}

// FuzzSOCKS5Listener throws bytes at a proxy that listens; the client after is served.
func FuzzSOCKS5Listener(f *testing.F) {
	for _, seed := range []string{
		"", "\x05", "\x05\xff", "\x05\x01\x00\x05\x01\x00\x03\xffname", "\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
		"\x05\x02\x00\x02\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", "\x05\x01\x00\x05\x02\x00\x09", "\x16\x03\x01\x02\x00\x01\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		target, _ := echoServer(t)
		r := start(t, Settings{Protocol: "socks5"}, nil)
		// Whatever is asked for leads to where nobody is, but for the one address.
		r.only("server:443", target)
		throw(t, r.addr("1080"), data)
		c := dialTCP(t, r.addr("1080"))
		if _, err := io.WriteString(c, "\x05\x01\x00\x05\x01\x00\x03\x06server\x01\xbb"); err != nil {
			t.Fatal(err)
		}
		wantText(t, c, "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01")
		wantAny(t, c, 2) // the port
		wantEcho(t, c, "served")
	})
}

// throw writes bytes at a listener, ends the stream, and reads what comes until its end.
func throw(t *testing.T, addr string, data []byte) {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = c.Write(data) // the listener may have refused already
	_ = c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(io.LimitReader(c, 1<<20))
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the listener does not end the connection: % x", answer)
	}
}

func wantAny(t *testing.T, c io.Reader, n int) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}
