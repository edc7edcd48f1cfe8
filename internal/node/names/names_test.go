package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var hosts = map[string]netip.Addr{
	"server": netip.MustParseAddr("203.0.113.3"),
	"www":    netip.MustParseAddr("203.0.113.3"),
	"nat":    netip.MustParseAddr("10.0.0.1"),
}

// serve runs a server on loopback and returns its address, the same for UDP and TCP.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp4", l.Addr().String())
	if err != nil {
		t.Skipf("the port is taken for UDP: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, p, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

func resolver(address string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}

// Go's own resolver understands the answers, over UDP and TCP.
func TestGoResolves(t *testing.T) {
	address := serve(t, New(hosts, nil))
	r := resolver(address)
	for _, name := range []string{"server", "SERVER", "server."} {
		got, err := r.LookupHost(t.Context(), name)
		if err != nil || !slices.Equal(got, []string{"203.0.113.3"}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	back, err := r.LookupAddr(t.Context(), "203.0.113.3")
	if err != nil || !slices.Equal(back, []string{"server.", "www."}) {
		t.Errorf("reverse: %v, %v", back, err)
	}
	var missing *net.DNSError
	if _, err := r.LookupHost(t.Context(), "nobody"); !errors.As(err, &missing) || !missing.IsNotFound {
		t.Errorf("nobody: %v", err)
	}
	over := &dns.Client{Net: "tcp"}
	answer, _, err := over.Exchange(new(dns.Msg).SetQuestion("nat.", dns.TypeA), address)
	if err != nil || len(answer.Answer) != 1 || !strings.HasSuffix(answer.Answer[0].String(), "10.0.0.1") {
		t.Errorf("TCP: %v, %v", answer, err)
	}
}

func TestAnswers(t *testing.T) {
	s := New(hosts, nil)
	question := func(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }
	two := question("server.", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	notify := question("server.", dns.TypeA)
	notify.Opcode = dns.OpcodeNotify
	chaos := question("server.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	edns := question("server.", dns.TypeA).SetEdns0(4096, true)
	version := question("server.", dns.TypeA).SetEdns0(4096, false)
	version.IsEdns0().SetVersion(1)
	for _, c := range []struct {
		name    string
		request *dns.Msg
		rcode   int
		answers int
	}{
		{"A", question("server.", dns.TypeA), dns.RcodeSuccess, 1},
		{"mixed case", question("SerVer.", dns.TypeA), dns.RcodeSuccess, 1},
		{"AAAA of a name with an A", question("server.", dns.TypeAAAA), dns.RcodeSuccess, 0},
		{"MX", question("server.", dns.TypeMX), dns.RcodeSuccess, 0},
		{"unknown", question("example.com.", dns.TypeA), dns.RcodeNameError, 0},
		{"PTR", question("1.0.0.10.in-addr.arpa.", dns.TypePTR), dns.RcodeSuccess, 1},
		{"PTR of nobody", question("9.0.0.10.in-addr.arpa.", dns.TypePTR), dns.RcodeNameError, 0},
		{"the root", question(".", dns.TypeNS), dns.RcodeNameError, 0},
		{"no question", new(dns.Msg), dns.RcodeFormatError, 0},
		{"two questions", two, dns.RcodeFormatError, 0},
		{"no query", notify, dns.RcodeNotImplemented, 0},
		{"class CH", chaos, dns.RcodeRefused, 0},
		{"EDNS", edns, dns.RcodeSuccess, 1},
		{"EDNS of another version", version, dns.RcodeBadVers, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := s.Answer(c.request)
			if answer.Rcode != c.rcode || len(answer.Answer) != c.answers || !answer.Response || answer.Id != c.request.Id {
				t.Errorf("%v", answer)
			}
			if (c.request.IsEdns0() == nil) != (answer.IsEdns0() == nil) {
				t.Error("EDNS is answered with EDNS, and nothing else is")
			}
		})
	}
	if s.Answer(&dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}) != nil {
		t.Error("an answer was answered")
	}
}

func TestFailures(t *testing.T) {
	var failed []string
	s := New(hosts, func(name string, how Failure) { failed = append(failed, fmt.Sprint(name, " ", how)) })
	ask := func(name string) *dns.Msg { return s.Answer(new(dns.Msg).SetQuestion(name, dns.TypeA)) }
	for _, c := range []struct {
		how   Failure
		rcode int
	}{{ServFail, dns.RcodeServerFailure}, {NXDomain, dns.RcodeNameError}} {
		if err := s.Fail("server", c.how); err != nil {
			t.Fatal(err)
		}
		if a := ask("SERVER."); a.Rcode != c.rcode || len(a.Answer) > 0 {
			t.Errorf("%s: %v", c.how, a)
		}
		if a := ask("nat."); a.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: another name failed: %v", c.how, a)
		}
	}
	if err := s.Fail("server", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Fail("", Silent); err != nil {
		t.Fatal(err)
	}
	if a := ask("nat."); a != nil {
		t.Errorf("answered: %v", a)
	}
	if err := s.Fail("", ""); err != nil {
		t.Fatal(err)
	}
	if a := ask("server."); len(a.Answer) != 1 {
		t.Errorf("mended: %v", a)
	}
	if want := []string{"server servfail", "server nxdomain", "nat silent"}; !slices.Equal(failed, want) {
		t.Errorf("told of %q, want %q", failed, want)
	}
	if err := s.Fail("nobody", Silent); err == nil {
		t.Error("a name that is not there was accepted")
	}
	if err := s.Fail("server", "loud"); err == nil {
		t.Error("a failure that is none was accepted")
	}
}

// FuzzListener throws bytes at both ports; the next client is served as if nothing had been.
func FuzzListener(f *testing.F) {
	request, err := new(dns.Msg).SetQuestion("server.", dns.TypeA).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(request)
	f.Add([]byte{})
	f.Add([]byte{0, 12, 0, 0})
	f.Add(append([]byte{0xff, 0xff}, request...))
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01")) // a name that points at itself
	f.Fuzz(func(t *testing.T, data []byte) {
		address := serve(t, New(hosts, nil))
		for _, network := range []string{"udp4", "tcp4"} {
			c, err := net.Dial(network, address)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(data) // the server may have hung up
			_ = c.Close()
		}
		for _, network := range []string{"udp", "tcp"} {
			client := &dns.Client{Net: network, Timeout: 20 * time.Second}
			answer, _, err := client.Exchange(new(dns.Msg).SetQuestion("server.", dns.TypeA), address)
			if err != nil || len(answer.Answer) != 1 {
				t.Errorf("%s: %v, %v", network, answer, err)
			}
		}
	})
}
