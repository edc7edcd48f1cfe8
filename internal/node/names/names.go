// Package names answers DNS for the names of a lab, at a node's own loopback address:
// programs that read no /etc/hosts resolve them too, and look-ups can be made to fail
// for a while.
//
// It is the only name server that a node knows. What is no name of the lab does not
// exist (NXDOMAIN), and nothing is asked for elsewhere.
package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Failure is how a look-up fails.
type Failure string

// The failures (RFC 1035, section 4.1.1; RFC 8914 tells them apart no further).
const (
	// ServFail: the server says that it cannot answer, as a resolver does whose own
	// servers are out of reach.
	ServFail Failure = "servfail"
	// NXDomain: the server says that there is no such name.
	NXDomain Failure = "nxdomain"
	// Silent: no answer comes.
	Silent Failure = "silent"
)

// Failures lists them.
func Failures() []Failure { return []Failure{ServFail, NXDomain, Silent} }

// idleTimeout is how long a TCP client may say nothing (RFC 7766, section 6.2.3).
const idleTimeout = 5 * time.Second

// Server answers for a fixed set of names. It is safe for concurrent use.
type Server struct {
	hosts   map[string]netip.Addr // by canonical name
	reverse map[string][]string   // canonical names by name for the reverse look-up
	onFail  func(name string, how Failure)

	mu      sync.Mutex
	failing map[string]Failure // by canonical name; "" is every name
}

// New returns a server for hosts. onFail is called for every look-up that was made to
// fail, and must not block; it may be nil.
func New(hosts map[string]netip.Addr, onFail func(name string, how Failure)) *Server {
	s := &Server{
		hosts:   make(map[string]netip.Addr, len(hosts)),
		reverse: make(map[string][]string),
		onFail:  onFail,
		failing: make(map[string]Failure),
	}
	for name, addr := range hosts {
		canonical := dns.CanonicalName(name)
		s.hosts[canonical] = addr
		if back, err := dns.ReverseAddr(addr.String()); err == nil {
			s.reverse[back] = append(s.reverse[back], canonical)
			slices.Sort(s.reverse[back])
		}
	}
	return s
}

// Fail makes look-ups of a name fail from now on, of every name if it is "". An empty
// failure mends it.
func (s *Server) Fail(name string, how Failure) error {
	if how != "" && !slices.Contains(Failures(), how) {
		return fmt.Errorf("a look-up can fail with %v, not with %q", Failures(), how)
	}
	key := ""
	if name != "" {
		key = dns.CanonicalName(name)
		if _, ok := s.hosts[key]; !ok {
			return fmt.Errorf("no name %q here", name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if how == "" {
		delete(s.failing, key)
	} else {
		s.failing[key] = how
	}
	return nil
}

func (s *Server) failure(canonical string) Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if how, ok := s.failing[canonical]; ok {
		return how
	}
	return s.failing[""]
}

// Serve answers on a packet connection and a listener until ctx ends, and closes them.
func (s *Server) Serve(ctx context.Context, packets net.PacketConn, streams net.Listener) error {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, request *dns.Msg) {
		if answer := s.Answer(request); answer != nil {
			_ = w.WriteMsg(answer) // the client has gone
		}
	})
	servers := []*dns.Server{
		{PacketConn: packets, Handler: handler, UDPSize: dns.DefaultMsgSize},
		{Listener: streams, Handler: handler, IdleTimeout: func() time.Duration { return idleTimeout }, ReadTimeout: idleTimeout, WriteTimeout: idleTimeout},
	}
	errs := make(chan error, len(servers))
	var started sync.WaitGroup
	for _, server := range servers {
		started.Add(1)
		server.NotifyStartedFunc = started.Done
		go func() { errs <- server.ActivateAndServe() }()
	}
	started.Wait()
	var err error
	running := len(servers)
	select {
	case <-ctx.Done():
	case err = <-errs:
		running--
	}
	for _, server := range servers {
		_ = server.Shutdown() // the one that has ended says that it is not running
	}
	for range running {
		err = errors.Join(err, <-errs)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Answer returns the answer to a request, or nil when none is given.
func (s *Server) Answer(request *dns.Msg) *dns.Msg {
	answer := new(dns.Msg)
	if request.Response {
		return nil // answers are not answered: two servers would never end
	}
	if len(request.Question) != 1 { // RFC 9619
		return answer.SetRcodeFormatError(request)
	}
	answer.SetReply(request)
	answer.Authoritative = true
	if request.Opcode != dns.OpcodeQuery {
		answer.Rcode = dns.RcodeNotImplemented
		return answer
	}
	if opt := request.IsEdns0(); opt != nil { // RFC 6891, section 6.1.1
		answer.SetEdns0(dns.DefaultMsgSize, false)
		if opt.Version() != 0 {
			answer.Rcode = dns.RcodeBadVers
			return answer
		}
	}
	question := request.Question[0]
	if question.Qclass != dns.ClassINET {
		answer.Rcode = dns.RcodeRefused
		return answer
	}
	name := dns.CanonicalName(question.Name)
	addr, known := s.hosts[name]
	names, isReverse := s.reverse[name]
	if how := s.failure(name); how != "" && (known || !isReverse) {
		return s.fail(answer, name, how)
	}
	header := dns.RR_Header{Name: question.Name, Class: dns.ClassINET} // no time to live: a failure is felt at once
	switch {
	case !known && !isReverse:
		answer.Rcode = dns.RcodeNameError
	case known && question.Qtype == dns.TypeA && addr.Is4():
		header.Rrtype = dns.TypeA
		answer.Answer = append(answer.Answer, &dns.A{Hdr: header, A: addr.AsSlice()})
	case known && question.Qtype == dns.TypeAAAA && addr.Is6():
		header.Rrtype = dns.TypeAAAA
		answer.Answer = append(answer.Answer, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
	case isReverse && question.Qtype == dns.TypePTR:
		header.Rrtype = dns.TypePTR
		for _, n := range names {
			answer.Answer = append(answer.Answer, &dns.PTR{Hdr: header, Ptr: n})
		}
	}
	return answer
}

// fail makes an answer a failure, or nothing.
func (s *Server) fail(answer *dns.Msg, name string, how Failure) *dns.Msg {
	if s.onFail != nil {
		s.onFail(strings.TrimSuffix(name, "."), how)
	}
	switch how {
	case ServFail:
		answer.Rcode = dns.RcodeServerFailure
	case NXDomain:
		answer.Rcode = dns.RcodeNameError
	default:
		return nil
	}
	return answer
}
