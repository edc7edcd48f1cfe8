package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/toxics"
)

const (
	// maxRequestHeader is how long the header of a request or a response may be: Squid's
	// request_header_max_size and reply_header_max_size.
	maxRequestHeader = 64 << 10
	// nextRequest is how long a client may take for its next request on a connection, in
	// lab time: Squid's client_idle_pconn_timeout.
	nextRequest = 2 * time.Minute
)

// httpProxy is a running proxy of protocol http or intercept.
//
// A tunnel (CONNECT) has the relay, and with it the node's toxics, between the client's connection and
// the server's. A client that lets the proxy read more of what it says, forwarding or
// interception, has the relay on its TCP connection, as a reverse proxy has it:
//
//	client - TCP - relay - bridge - HTTP, or TLS and HTTP - TCP - server
type httpProxy struct {
	*proxy
	slots   *slots   // nil without a limit
	cache   *cache   // nil without one
	captive *captive // nil without one
	forge   *forge   // nil but for an interceptor
}

func newHTTPProxy(p *proxy) (*httpProxy, error) {
	h := &httpProxy{proxy: p}
	s := p.settings
	if s.MaxConnections > 0 {
		h.slots = newSlots(s.MaxConnections)
	}
	if s.CacheEntries > 0 {
		h.cache = newCache(s.CacheEntries, s.CacheBytes, p.env.Spec.Speed)
	}
	if s.Captive == captiveRedirect || s.Captive == captivePage {
		var err error
		if h.captive, err = newCaptive(p); err != nil {
			return nil, err
		}
	}
	if s.Protocol == protocolIntercept {
		var err error
		if h.forge, err = newForge(p); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// refusal is an answer of the proxy's own.
type refusal struct {
	status int
	// reason is for the client and the trace.
	reason string
	header http.Header
	// by is the setting that refused, if it was one.
	by string
	// keep leaves the connection open for another request.
	keep bool
	// page instead of the reason as the body; it is HTML.
	page string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...), header: make(http.Header)}
}

// httpClient is one client connection of an HTTP proxy.
type httpClient struct {
	*httpProxy
	flow trace.Flow
	// login is what the connection has been authenticated as.
	login login
	// pair is nil as long as the relay does not stand on the connection.
	pair *relay.Pair
	// gone ends when nothing more will come from the client.
	gone context.Context
	// tunnelled is set when what passes is a tunnel, whose ends are not the proxy's.
	tunnelled atomic.Bool
	// inside is where requests go that come out of TLS; nil outside of it.
	inside *inside
}

// serve serves a client connection: requests that are answered by the proxy itself, until
// one opens a tunnel or is to be forwarded.
func (p *httpProxy) serve(ctx context.Context, c net.Conn) {
	h := &httpClient{httpProxy: p, flow: relay.Accepted(c), gone: ctx}
	leave, full := p.slots.enter(ctx, h)
	defer leave()
	if full == fullClose {
		return
	}
	in := bufio.NewReader(c)
	for first := true; ; first = false {
		h.patience(c, first)
		request, no := readRequest(in, first)
		if no == nil && full == fullRefuse {
			no = refuse(http.StatusServiceUnavailable, "%d clients are served already (max_connections)", p.settings.MaxConnections)
			no.by = "max_connections"
		}
		if no == nil {
			no = h.admit(request)
		}
		switch {
		case no != nil:
			if !h.refuse(c, in, request, no) {
				linger(c)
				return
			}
		case request.method == http.MethodConnect:
			h.connect(ctx, c, in, request)
			return
		default:
			h.onRelay(ctx, c, io.MultiReader(bytes.NewReader(request.raw), buffered(in)), func(ctx context.Context, inner net.Conn) {
				h.serveRequests(ctx, inner, true)
			})
			return
		}
	}
}

// patience bounds how long a client may take for a request: real time for the first one, since
// it only protects the proxy.
func (h *httpClient) patience(c net.Conn, first bool) {
	d := h.handshake
	if !first {
		d = max(d, h.env.Wall(nextRequest))
	}
	_ = c.SetReadDeadline(time.Now().Add(d)) // a connection without deadlines is not served worse
}

// readRequest reads a request. A client that leaves, or takes too long for its next
// request, is a refusal of status 0: nobody is listening.
func readRequest(in *bufio.Reader, first bool) (*request, *refusal) {
	request, err := readRequestHead(in, maxRequestHeader)
	switch {
	case err == nil:
		return request, nil
	case errors.Is(err, errLineTooLong):
		return nil, refuse(http.StatusRequestURITooLong, "the first line is longer than %d bytes", maxRequestHeader)
	case errors.Is(err, errHeaderTooLarge):
		return nil, refuse(http.StatusRequestHeaderFieldsTooLarge, "the request header is longer than %d bytes", maxRequestHeader)
	case errors.Is(err, errVersion):
		return nil, refuse(http.StatusHTTPVersionNotSupported, "%v", err)
	case errors.As(err, new(syntaxError)):
		return nil, refuse(http.StatusBadRequest, "this is no HTTP request: %v", err)
	case errors.Is(err, os.ErrDeadlineExceeded) && first:
		return nil, refuse(http.StatusRequestTimeout, "the request did not come in time")
	}
	return nil, refuse(0, "the client left without a request")
}

// admit says no to a client that has not logged in, and to what is not allowed.
func (h *httpClient) admit(r *request) *refusal {
	if h.inside != nil {
		return nil // the CONNECT has been admitted
	}
	if h.captive != nil {
		if no := h.captive.admit(h.flow, r); no != nil {
			return no
		}
	}
	if r.method == http.MethodConnect {
		// A port that nobody may go to is no reason to ask who it is: Squid's own configuration
		// denies it first.
		if no := h.permit(r); no != nil {
			return no
		}
		return h.authorize(r)
	}
	if no := h.authorize(r); no != nil {
		return no
	}
	_, no := h.route(r)
	return no
}

// permit says no to a CONNECT to nowhere, or to a port that is not on the list.
func (h *httpClient) permit(r *request) *refusal {
	target, err := parseTarget(r.target)
	if err != nil {
		return refuse(http.StatusBadRequest, "CONNECT %q: %v", r.target, err)
	}
	_, text, _ := net.SplitHostPort(target) // it has been checked
	port, _ := strconv.Atoi(text)
	if !slices.Contains(h.settings.AllowConnect, port) {
		no := refuse(http.StatusForbidden, "CONNECT to port %d is not allowed", port)
		no.by, no.keep = "allow_connect", true
		return no
	}
	return nil
}

// parseTarget checks the authority form of a CONNECT: host:port, the port required (RFC 9112
// section 3.2.3).
func parseTarget(authority string) (string, error) {
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		return "", errors.New("the target has to be HOST:PORT")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%q is not a port", port)
	}
	if host == "" || slices.ContainsFunc([]byte(host), func(b byte) bool { return b <= ' ' || b >= 0x7f || b == '/' || b == '@' }) {
		return "", fmt.Errorf("%q is not a host", host)
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// connect opens a tunnel (RFC 9110 section 9.3.6), or looks into what goes through it.
func (h *httpClient) connect(ctx context.Context, c net.Conn, in *bufio.Reader, r *request) {
	target, _ := parseTarget(r.target) // it has been checked
	portal := h.captive != nil && h.captive.tls != nil && !h.captive.passes(h.flow)
	var server net.Conn
	if !portal {
		var no *refusal
		if server, no = h.reach(ctx, target); no != nil {
			if h.refuse(c, in, r, no) {
				linger(c)
			}
			return
		}
	}
	_ = c.SetReadDeadline(time.Time{})
	if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		if server != nil {
			_ = server.Close() // the client has gone
		}
		return
	}
	ahead := buffered(in)
	host, _, _ := net.SplitHostPort(target)
	switch {
	case portal:
		h.onRelay(ctx, c, ahead, func(ctx context.Context, inner net.Conn) { h.captive.impersonate(ctx, h, inner) })
	case h.forge == nil || h.settings.exempts(host):
		pair := h.relay.Pair(h.flow)
		pair.Opened(relay.Opened(server))
		pair.SetIdle(h.settings.tunnelIdle())
		pair.Pipe(ctx, h.end(&prefixed{Conn: c, prefix: ahead}), h.end(server))
	default:
		h.onRelay(ctx, c, ahead, func(ctx context.Context, inner net.Conn) {
			h.pair.Opened(relay.Opened(server))
			h.intercept(ctx, inner, server, target)
		})
	}
}

// reach opens the connection to a target, or says what to answer.
func (h *httpClient) reach(ctx context.Context, target string) (net.Conn, *refusal) {
	server, err := h.dial(ctx, target)
	if err == nil {
		return server, nil
	}
	if ctx.Err() != nil {
		return nil, refuse(0, "the node is going down, or the client has gone")
	}
	return nil, h.unreachable(target, err)
}

// unreachable is the answer where a server could not be reached, or has not answered.
func (h *httpClient) unreachable(target string, err error) *refusal {
	status := http.StatusBadGateway
	switch {
	case h.settings.UnreachableStatus != 0:
		status = h.settings.UnreachableStatus
	case timedOut(err):
		status = http.StatusGatewayTimeout
	}
	return refuse(status, "cannot reach %s: %v", target, err)
}

// buffered is what a reader has read ahead: a client may send on without
// waiting for the answer to its CONNECT.
func buffered(r *bufio.Reader) io.Reader {
	ahead, _ := r.Peek(r.Buffered()) // no error: it is there
	return bytes.NewReader(bytes.Clone(ahead))
}

// refuse answers and records it. It reports whether the connection goes on.
func (h *httpClient) refuse(c net.Conn, in *bufio.Reader, r *request, no *refusal) bool {
	if no.status == 0 {
		return false // nobody is listening
	}
	e := trace.Event{Type: trace.RelayRefused, Flow: &h.flow, Status: no.status, Detail: no.reason, By: no.by}
	h.env.Record(e)
	keep := no.keep && r != nil && r.keepsAlive() && drain(c, in, r)
	content, kind := no.page, "text/html; charset=utf-8"
	if content == "" {
		content, kind = no.reason+"\n", "text/plain; charset=utf-8"
	}
	answer := &head{line: fmt.Sprintf("HTTP/1.1 %d %s", no.status, reasonPhrase(no.status))}
	answer.add("Date", time.Now().UTC().Format(http.TimeFormat))
	answer.add("Content-Type", kind)
	answer.add("Content-Length", strconv.Itoa(len(content)))
	for _, name := range sortedKeys(no.header) {
		for _, value := range no.header[name] {
			answer.add(name, value)
		}
	}
	answer.add("Via", "1.1 "+h.env.Spec.Name)
	if keep {
		answer.add("Connection", "keep-alive")
	} else {
		answer.add("Connection", "close")
	}
	b := answer.bytes()
	if r == nil || r.method != http.MethodHead {
		b = append(b, content...)
	}
	_ = c.SetWriteDeadline(time.Now().Add(lingerTimeout))
	_, err := c.Write(b)
	_ = c.SetWriteDeadline(time.Time{})
	return err == nil && keep
}

// reasonPhrase is that of RFC 9110; Go has an older one.
func reasonPhrase(status int) string {
	if status == http.StatusRequestURITooLong {
		return "URI Too Long"
	}
	return http.StatusText(status)
}

// drain reads the body of a request that is refused, if it is a short one: the next
// request follows it.
func drain(c net.Conn, in *bufio.Reader, r *request) bool {
	if r.method == http.MethodConnect {
		return true
	}
	b, err := r.body()
	if err != nil || r.has("Expect") {
		return false
	}
	if b.none() {
		return true
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTimeout))
	content := &io.LimitedReader{R: b.reader(in), N: lingerBytes}
	_, err = io.Copy(io.Discard, content)
	return err == nil && content.N > 0
}

// end is a connection of a tunnel, as its end is to be carried on.
func (h *httpClient) end(c net.Conn) net.Conn {
	if h.settings.TunnelEnd == tunnelEndClose {
		return &wholeEnd{c}
	}
	return c
}

// wholeEnd is a connection that ends as a whole and in order, whatever became of it: it
// has no half-close, and a RST looks like a FIN.
type wholeEnd struct{ net.Conn }

// Read returns io.EOF where the connection has died.
func (c *wholeEnd) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
		err = io.EOF
	}
	return n, err
}

// onRelay puts the relay on the client's TCP connection and serves what comes out of it
// until the connection is over. first is what has been read of it.
func (h *httpClient) onRelay(ctx context.Context, c net.Conn, first io.Reader, serve func(context.Context, net.Conn)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone, left := context.WithCancel(ctx)
	defer left()
	_ = c.SetReadDeadline(time.Time{})
	outer, inner := newBridge(c)
	h.pair, h.gone = h.relay.Pair(h.flow), gone
	client := &clientEnd{prefixed: prefixed{Conn: c, prefix: first}, left: left, tunnelled: &h.tunnelled}
	var serving sync.WaitGroup
	serving.Go(func() {
		stop := context.AfterFunc(ctx, func() { _ = inner.Close() })
		defer stop()
		serve(ctx, inner)
		client.release()
		linger(inner)
	})
	out := h.pair.Pipe(ctx, client, outer)
	if !out.Reset && out.By != toxics.ByClient && out.By != toxics.ByServer {
		cancel() // ended here: the server is told by closing its connection as well
	}
	serving.Wait()
}

// clientEnd is the client's connection under a relay. It tells when nothing more will come from the
// client, and does not wait for ever for a client that the proxy has finished with.
type clientEnd struct {
	prefixed
	left context.CancelFunc
	// tunnelled: what passes is a tunnel, and a half of it may end long before the other.
	tunnelled *atomic.Bool
	// halfClosed: our half has ended. lingering: the client's has to, soon.
	halfClosed, lingering atomic.Bool
}

// Read tells the end.
func (c *clientEnd) Read(b []byte) (int, error) {
	n, err := c.prefixed.Read(b)
	if err != nil {
		c.left()
		if c.lingering.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
			err = io.EOF
		}
	}
	return n, err
}

// CloseWrite ends our half, and with it the connection unless it is a tunnel.
func (c *clientEnd) CloseWrite() error {
	c.halfClosed.Store(true)
	if !c.tunnelled.Load() {
		c.linger()
	}
	return c.prefixed.CloseWrite()
}

// release says that a tunnel is over as well.
func (c *clientEnd) release() {
	c.tunnelled.Store(false)
	if c.halfClosed.Load() {
		c.linger()
	}
}

func (c *clientEnd) linger() {
	c.lingering.Store(true)
	_ = c.SetReadDeadline(time.Now().Add(lingerTimeout)) // it is closed: nothing to wait for
}

// serveRequests serves the requests of a connection under the relay, until one is the last.
// The first one may have been admitted already.
func (h *httpClient) serveRequests(ctx context.Context, c net.Conn, admitted bool) {
	in := bufio.NewReader(c)
	for first := true; ; first = false {
		h.patience(c, first)
		request, no := readRequest(in, first)
		if no == nil && !(first && admitted) {
			no = h.admit(request)
		}
		_ = c.SetReadDeadline(time.Time{})
		keep := false
		switch {
		case no != nil:
			keep = h.refuse(c, in, request, no)
		case request.method == http.MethodConnect:
			h.connectInside(ctx, c, in, request)
		default:
			keep = h.forward(ctx, c, in, request)
		}
		if !keep {
			return
		}
	}
}

// connectInside opens a tunnel on a connection that the relay stands on already: the client
// has had requests forwarded before.
func (h *httpClient) connectInside(ctx context.Context, c net.Conn, in *bufio.Reader, r *request) {
	target, err := parseTarget(r.target)
	if err != nil || h.inside != nil {
		h.refuse(c, in, r, refuse(http.StatusBadRequest, "CONNECT %q: this is no place for a tunnel", r.target))
		return
	}
	server, no := h.reach(ctx, target)
	if no != nil {
		h.refuse(c, in, r, no)
		return
	}
	h.pair.Opened(relay.Opened(server))
	if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = server.Close() // the client has gone
		return
	}
	host, _, _ := net.SplitHostPort(target)
	client := &prefixed{Conn: c, prefix: buffered(in)}
	if h.forge != nil && !h.settings.exempts(host) {
		h.intercept(ctx, client, server, target)
		return
	}
	h.tunnel(ctx, client, server)
}

// tunnel carries bytes between the inner end of the bridge, or what is spoken on it, and
// a server until it is over.
func (h *httpClient) tunnel(ctx context.Context, client, server net.Conn) {
	h.tunnelled.Store(true)
	out := toxics.NewChain(1).Pipe(ctx, h.end(client), h.end(server), toxics.Options{Idle: h.env.Wall(h.settings.ReadTimeout)})
	if out.By == toxics.ByIdle {
		h.pair.Ends(out.By, "")
	}
}
