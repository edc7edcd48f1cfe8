package toxics

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/Shopify/toxiproxy/v2/stream"
	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
	"golang.org/x/net/http/httpguts"
)

// Which requests http_reply answers.
const (
	replyUpgrade = "upgrade"
	replyAny     = "any"
)

// headLimit bounds the head of a request that is looked at.
const headLimit = 64 << 10

type httpReply struct {
	Status  int               `json:"status" doc:"The status of the answer: 403, 407, 502, 302 to a captive page ..." min:"200" max:"599"`
	Headers map[string]string `json:"headers" doc:"Headers of the answer beside Content-Length and Connection; 407 gets a Proxy-Authenticate, 401 a WWW-Authenticate, if none is given."`
	Body    string            `json:"body" doc:"The page; its Content-Type is text/html unless headers say so."`
	To      string            `json:"to" doc:"Whether it answers requests to upgrade alone, or any first request." enum:"upgrade,any"`
}

func (a *httpReply) Check() error {
	switch {
	case a.Status < 200 || a.Status > 599:
		return fmt.Errorf("status is %d, not from 200 to 599", a.Status)
	case a.To != replyUpgrade && a.To != replyAny:
		return fmt.Errorf("to is %q, not upgrade or any", a.To)
	}
	for name, value := range a.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("%q: %q is no header of HTTP (RFC 9110, section 5)", name, value)
		}
	}
	return nil
}

func (a *httpReply) toxic(scale) toxiproxy.Toxic {
	return &httpReplyToxic{answer: a.render(), upgradeOnly: a.To == replyUpgrade}
}

// render writes the answer down.
func (a *httpReply) render() []byte {
	headers := make(http.Header)
	for name, value := range a.Headers {
		headers.Set(name, value)
	}
	for status, challenge := range map[int]string{
		http.StatusProxyAuthRequired: "Proxy-Authenticate",
		http.StatusUnauthorized:      "Www-Authenticate",
	} {
		if a.Status == status && headers.Get(challenge) == "" {
			headers.Set(challenge, `Basic realm="wslab"`)
		}
	}
	if a.Body != "" && headers.Get("Content-Type") == "" {
		headers.Set("Content-Type", "text/html; charset=utf-8")
	}
	headers.Set("Connection", "close")
	if a.Status != http.StatusNoContent && a.Status != http.StatusNotModified {
		headers.Set("Content-Length", fmt.Sprint(len(a.Body)))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.Status, http.StatusText(a.Status))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, headers.Get(name))
	}
	b.WriteString("\r\n")
	if a.Status != http.StatusNoContent && a.Status != http.StatusNotModified {
		b.WriteString(a.Body)
	}
	return b.Bytes()
}

// httpReplyToxic answers the first request of a connection by itself and closes it, as
// a proxy or a captive portal does that stands in the way. The server sees nothing of the
// request. What is not HTTP/1, TLS above all, passes, and so do connections that
// are past their first request when the toxic comes.
type httpReplyToxic struct {
	answer      []byte
	upgradeOnly bool
}

func (t *httpReplyToxic) newState(h handle) pairState {
	return &httpReplyState{handle: h, pass: h.pair.links[stream.Upstream].bytes.Load() > 0}
}

// httpReplyState is the request of one pair.
type httpReplyState struct {
	handle handle

	mu   sync.Mutex // update comes from another goroutine than Pipe
	pass bool
	// held are the chunks of a request that is not complete.
	held []*stream.StreamChunk
	head []byte
}

func (*httpReplyState) update(toxiproxy.Toxic) {}
func (*httpReplyState) stop() bool             { return false }

// Pipe holds the client's first request back until it is known what it is.
func (t *httpReplyToxic) Pipe(stub *toxiproxy.ToxicStub) {
	seat := stub.State.(*seat)
	state := seat.state.(*httpReplyState)
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				if seat.direction == stream.Upstream {
					state.letPass(stub)
				}
				stub.Close()
				return
			}
			if seat.direction == stream.Downstream {
				stub.Output <- c
				continue
			}
			if t.take(state, c, stub) {
				<-stub.Interrupt
				return
			}
		}
	}
}

// take looks at a chunk of the client's and returns whether it was answered.
func (t *httpReplyToxic) take(s *httpReplyState, c *stream.StreamChunk, stub *toxiproxy.ToxicStub) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pass {
		stub.Output <- c
		return false
	}
	s.held, s.head = append(s.held, c), append(s.head, c.Data...)
	head, _, complete := bytes.Cut(s.head, []byte("\r\n\r\n"))
	switch {
	case complete && requestHead(head) && (!t.upgradeOnly || upgradeHead(head)):
		s.handle.fired()
		s.handle.answer(t.answer)
		return true
	case complete, len(s.head) > headLimit, !mayBeRequest(s.head):
		s.release(stub)
	}
	return false
}

// letPass gives up waiting for the rest of a request.
func (s *httpReplyState) letPass(stub *toxiproxy.ToxicStub) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(stub)
}

func (s *httpReplyState) release(stub *toxiproxy.ToxicStub) {
	for _, c := range s.held {
		stub.Output <- c
	}
	s.pass, s.held, s.head = true, nil, nil
}

// Cleanup lets go of what was held when the toxic is removed.
func (t *httpReplyToxic) Cleanup(stub *toxiproxy.ToxicStub) {
	seat := stub.State.(*seat)
	if seat.direction == stream.Upstream {
		seat.state.(*httpReplyState).letPass(stub)
	}
}

// mayBeRequest says whether a stream may begin with a request of HTTP/1: a method of
// capital letters (RFC 9112, section 3.1; every registered one is).
func mayBeRequest(b []byte) bool {
	method, _, _ := bytes.Cut(b[:min(len(b), 32)], []byte(" "))
	return len(method) < 32 && !bytes.ContainsFunc(method, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' })
}

// requestHead says whether that is the head of a request of HTTP/1.
func requestHead(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	parts := strings.Split(string(line), " ")
	return len(parts) == 3 && strings.HasPrefix(parts[2], "HTTP/1.")
}

// upgradeHead says whether a head asks for, or agrees to, an upgrade to WebSocket.
func upgradeHead(head []byte) bool {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if ok && strings.EqualFold(string(bytes.TrimSpace(name)), "Upgrade") && httpguts.HeaderValuesContainsToken([]string{string(value)}, "websocket") {
			return true
		}
	}
	return false
}
