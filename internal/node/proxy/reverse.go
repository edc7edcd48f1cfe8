package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/toxics"
)

// reverse is a reverse proxy: it ends the client's TCP and TLS, reads its requests, and
// sends them on over connections of its own.
//
// The relay, and with it the node's toxics, stands on the client's own TCP connection,
// TLS and all:
//
//	client - TCP - relay - bridge - TLS and HTTP - pipe - TLS - TCP - upstream
//
// So a latency delays the TLS handshake as well, a bandwidth counts what is really sent,
// and a reset is a RST on the client's socket. The bridge is in memory and knows a
// half-close and a reset, so that both ends learn how the other has ended: after an
// Upgrade, a FIN arrives as a FIN and a RST as a RST.
type reverse struct {
	*proxy
	handler http.Handler
	// roots are trusted in an upstream's certificate; nil for cleartext upstreams.
	roots     *x509.CertPool
	upstreams *upstreams
	tunnels   tunnels
}

// clientConn is the connection of a client, which requests find in their context.
type clientConn struct {
	pair *relay.Pair
	// abort resets it, cancel closes it at once.
	abort  func()
	cancel context.CancelFunc
}

// clientKey is the key of the clientConn, choiceKey of the upstream chosen for a request.
type (
	clientKey struct{}
	choiceKey struct{}
)

func (p *proxy) runReverse(ctx context.Context) error {
	r, err := newReverse(p)
	if err != nil {
		return err
	}
	p.relay.Idle = 0 // counted where the frames are seen
	var doors []door
	if p.settings.ClientTLS {
		config, err := p.serverTLS()
		if err != nil {
			return err
		}
		doors = append(doors, door{p.settings.ListenPort(), config}, door{cleartextPort, nil})
	} else {
		doors = append(doors, door{p.settings.ListenPort(), nil})
	}
	listeners := make([]net.Listener, len(doors))
	for i, d := range doors {
		if listeners[i], err = p.env.Listen(ctx, "tcp4", ":"+strconv.Itoa(d.port)); err != nil {
			for _, l := range listeners[:i] {
				_ = l.Close()
			}
			return fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
		}
	}
	r.handleDrain(ctx)
	p.env.Ready()
	return r.serve(ctx, doors, listeners)
}

// door is a port that clients come to; tls is nil where they speak no TLS.
type door struct {
	port int
	tls  *tls.Config
}

// serve takes connections from all listeners until ctx ends or one of them fails.
func (r *reverse) serve(ctx context.Context, doors []door, listeners []net.Listener) error {
	// Connections outlive ctx for as long as it takes to tell the clients.
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		r.farewell()
		cancel()
	})
	defer stop()
	errs := make(chan error, len(doors))
	for i, d := range doors {
		go func() { errs <- accept(serving, listeners[i], r.serveConn(d.tls)) }()
	}
	var all error
	for range doors {
		all = errors.Join(all, <-errs)
		cancel()
	}
	return all
}

func newReverse(p *proxy) (*reverse, error) {
	r := &reverse{proxy: p, upstreams: newUpstreams(p.settings, p.env.Wall)}
	scheme := "http"
	if p.settings.UpstreamTLS {
		scheme = "https"
		pool, err := ca.Pool(p.env.Spec.CA)
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
		}
		r.roots = pool
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, chosen, err := r.dialUpstream(ctx, r.candidates(ctx))
		if choice, ok := ctx.Value(choiceKey{}).(*choice); ok && err == nil {
			choice.taken = chosen
		}
		return c, err
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(&url.URL{Scheme: scheme, Host: r.candidates(pr.In.Context())[0]})
			pr.Out.Host = pr.In.Host // the server decides by the name that the client wrote
			r.forwarded(pr.In, pr.Out.Header)
		},
		ModifyResponse: func(response *http.Response) error {
			r.passedOn(response.Request, response.Header)
			return nil
		},
		Transport: &http.Transport{
			DialContext:    dial,
			DialTLSContext: dial,
			// A connection belongs to one client here, so that the trace can tell whose it is.
			DisableKeepAlives:     true,
			DisableCompression:    true,
			ResponseHeaderTimeout: r.answerPatience(),
		},
		ErrorHandler: func(w http.ResponseWriter, request *http.Request, err error) { r.unreachable(w, request, err) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	r.handler = http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		c := &choice{candidates: r.upstreams.order(request)}
		request = request.WithContext(context.WithValue(request.Context(), choiceKey{}, c))
		if isUpgrade(request) {
			r.upgrade(w, request, c)
			return
		}
		forward.ServeHTTP(w, request)
	})
	return r, nil
}

// choice is which upstreams a request may go to, in their order, and which it went to.
type choice struct {
	candidates []string
	taken      string
}

func (r *reverse) candidates(ctx context.Context) []string {
	return ctx.Value(choiceKey{}).(*choice).candidates
}

// answerPatience is how long an upstream may take to answer.
func (r *reverse) answerPatience() time.Duration {
	if r.settings.AnswerTimeout > 0 {
		return r.env.Wall(r.settings.AnswerTimeout)
	}
	return answerTimeout
}

// serverTLS is what clients see: a certificate of the lab for the node's name.
func (p *proxy) serverTLS() (*tls.Config, error) {
	ips := []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, i := range p.env.Spec.Interfaces {
		ips = append(ips, i.Addr.Addr().AsSlice())
	}
	certificate, err := ca.Issue(p.env.Spec.CA, []string{p.env.Spec.Name, "localhost"}, ips)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}, nil
}

// serveConn serves one client connection until it and what was upgraded on it are over.
func (r *reverse) serveConn(config *tls.Config) func(context.Context, net.Conn) {
	return func(ctx context.Context, c net.Conn) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		outer, inner := newBridge(c)
		pair := r.relay.Pair(relay.Accepted(c))
		client := &clientConn{pair: pair, cancel: cancel, abort: func() {
			_ = inner.SetLinger(0)
			_ = inner.Close()
		}}
		var served net.Conn = inner
		if config != nil {
			served = tls.Server(inner, config)
		}
		one := newOneConn(served)
		var running sync.WaitGroup
		web := &http.Server{
			Handler:           one.waitFor(r.handler, &running),
			ReadHeaderTimeout: r.handshake,
			IdleTimeout:       r.env.Wall(r.settings.IdleTimeout),
			MaxHeaderBytes:    maxHeader,
			BaseContext:       func(net.Listener) context.Context { return context.WithValue(ctx, clientKey{}, client) },
			ConnState:         one.state,
			ErrorLog:          log.New(io.Discard, "", 0),
		}
		running.Go(func() { _ = web.Serve(one) }) // it ends with the one connection
		out := pair.Pipe(ctx, c, outer)
		if !out.Reset && out.By != toxics.ByClient && out.By != toxics.ByServer {
			cancel() // ended here: the upstream is told by closing its connection as well
		}
		running.Wait()
	}
}

// upgrade passes an Upgrade request on over a connection of the proxy's own, or what is
// left of it when Upgrade is stripped. When the upstream agrees, bytes pass both ways; other
// answers are passed on as they are.
func (r *reverse) upgrade(w http.ResponseWriter, request *http.Request, c *choice) {
	ctx := request.Context()
	upstream, taken, err := r.dialUpstream(ctx, c.candidates)
	if err != nil {
		r.unreachable(w, request, err)
		return
	}
	c.taken = taken
	defer func() { _ = upstream.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = upstream.Close() })
	defer stop()
	reader, response, err := r.ask(upstream, request)
	if err != nil {
		r.unreachable(w, request, err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	r.passedOn(request, response.Header)
	if r.settings.strips() {
		ctx.Value(clientKey{}).(*clientConn).pair.Stripped(response.StatusCode)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		for name, values := range response.Header {
			if !hopByHop(name) {
				w.Header()[name] = values
			}
		}
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body) // one of them has gone: nobody to tell
		return
	}
	client, ahead, err := http.NewResponseController(w).Hijack()
	if err != nil {
		r.unreachable(w, request, err)
		return
	}
	_ = upstream.SetReadDeadline(time.Time{})
	stop() // from here on the pipe watches the context of the connection
	head := new(bytes.Buffer)
	_, _ = fmt.Fprintf(head, "HTTP/1.1 %s\r\n", response.Status)
	_ = response.Header.Write(head) // a buffer takes all
	head.WriteString("\r\n")
	conn := ctx.Value(clientKey{}).(*clientConn)
	t := newTunnel(r.proxy, conn,
		&prefixed{Conn: client, prefix: buffered(ahead.Reader)},
		&prefixed{Conn: upstream, prefix: buffered(reader)},
		strings.EqualFold(response.Header.Get("Upgrade"), "websocket"))
	defer r.tunnels.add(t)()
	if err := t.open(head.Bytes()); err != nil {
		_ = client.Close()
		return
	}
	t.run(ctx)
}

// ask sends an Upgrade request on and reads the head of the answer.
func (r *reverse) ask(upstream net.Conn, request *http.Request) (*bufio.Reader, *http.Response, error) {
	out := request.Clone(request.Context())
	out.Header.Del("Proxy-Connection")
	r.forwarded(request, out.Header)
	if !out.ProtoAtLeast(1, 1) || out.Header.Get("User-Agent") == "" {
		out.Header["User-Agent"] = []string{""} // or the library would add its own
	}
	version := r.settings.HTTPVersion
	if r.settings.strips() {
		for _, name := range []string{"Connection", "Upgrade", "Keep-Alive", "Te"} {
			out.Header.Del(name)
		}
		out.Close = true // which the library writes as Connection: close
		if version == "" {
			version = "1.0"
		}
	}
	if err := writeRequest(upstream, out, version); err != nil {
		return nil, nil, err
	}
	_ = upstream.SetReadDeadline(time.Now().Add(r.answerPatience())) // a dead connection says so when it is read
	reader := bufio.NewReader(upstream)
	response, err := http.ReadResponse(reader, request)
	for err == nil && response.StatusCode >= 100 && response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
		response, err = http.ReadResponse(reader, request) // 100 and 103 are no answers yet
	}
	return reader, response, err
}

// writeRequest writes a request. The library knows HTTP/1.1 alone: of another version is
// what stands in the request line.
func writeRequest(to io.Writer, request *http.Request, version string) error {
	if version == "" || version == "1.1" {
		return request.Write(to)
	}
	var b bytes.Buffer
	if err := request.Write(&b); err != nil {
		return err
	}
	line, rest, _ := bytes.Cut(b.Bytes(), []byte("\r\n"))
	line = bytes.TrimSuffix(line, []byte("HTTP/1.1"))
	_, err := to.Write(slices.Concat(line, []byte("HTTP/"+version+"\r\n"), rest))
	return err
}

// dialUpstream opens a connection to the first of the upstreams that can be reached,
// with TLS if the lab says so.
func (r *reverse) dialUpstream(ctx context.Context, candidates []string) (c net.Conn, taken string, err error) {
	for _, name := range candidates {
		c, err = r.dialOne(ctx, name)
		r.upstreams.tried(name, err == nil || ctx.Err() != nil)
		if err == nil {
			return c, name, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", &downError{strings.Join(candidates, ", "), err}
}

// downError says that no upstream could be reached.
type downError struct {
	tried string
	err   error
}

// Error names what was tried.
func (e *downError) Error() string { return fmt.Sprintf("cannot reach %s: %v", e.tried, e.err) }

// Unwrap returns the reason of the last one.
func (e *downError) Unwrap() error { return e.err }

func (r *reverse) dialOne(ctx context.Context, name string) (net.Conn, error) {
	port := "80"
	if r.roots != nil {
		port = "443"
	}
	raw, err := r.dial(ctx, net.JoinHostPort(name, port))
	if err != nil {
		return nil, err
	}
	if client, ok := ctx.Value(clientKey{}).(*clientConn); ok {
		client.pair.Opened(relay.Opened(raw))
	}
	if r.roots == nil {
		return raw, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.dialPatience())
	defer cancel()
	c := tls.Client(raw, &tls.Config{RootCAs: r.roots, ServerName: name, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12})
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// unreachable answers for an upstream that does not: 504 when it took too long, else
// what the lab file says for one that cannot be reached, and 502 for one that gave no answer.
func (r *reverse) unreachable(w http.ResponseWriter, request *http.Request, err error) {
	if request.Context().Err() != nil {
		return // the client has gone
	}
	status, detail := http.StatusBadGateway, fmt.Sprintf("%s gave no answer: %v", request.Context().Value(choiceKey{}).(*choice).taken, err)
	var down *downError
	if errors.As(err, &down) {
		status, detail = r.settings.DownStatus, down.Error()
	}
	if timedOut(err) {
		status = http.StatusGatewayTimeout
	}
	if client, ok := request.Context().Value(clientKey{}).(*clientConn); ok {
		client.pair.Refused(status, detail)
	}
	if r.settings.Forwarded {
		w.Header().Set("Via", r.via())
	}
	w.Header().Set("Connection", "close")
	http.Error(w, detail, status)
}

// passedOn adds what the proxy says in an answer.
func (r *reverse) passedOn(request *http.Request, header http.Header) {
	if r.settings.Forwarded {
		header.Add("Via", r.via())
	}
	if taken := request.Context().Value(choiceKey{}).(*choice).taken; r.settings.Balance == balanceCookie && cookieOf(request) != taken {
		header.Add("Set-Cookie", (&http.Cookie{Name: stickyCookie, Value: taken, Path: "/"}).String())
	}
}

func (r *reverse) via() string { return "1.1 " + r.env.Spec.Name }

// forwarded adds what a proxy says about itself and its client (RFC 9110 section 7.6.3 for Via).
func (r *reverse) forwarded(in *http.Request, header http.Header) {
	if !r.settings.Forwarded {
		return
	}
	client, _, err := net.SplitHostPort(in.RemoteAddr)
	if err != nil {
		client = "unknown" // in-memory connections have no address
	}
	header.Set("X-Forwarded-For", strings.Join(append(in.Header.Values("X-Forwarded-For"), client), ", "))
	header.Set("X-Forwarded-Host", in.Host)
	header.Set("X-Forwarded-Proto", "http")
	if in.TLS != nil {
		header.Set("X-Forwarded-Proto", "https")
	}
	header.Add("Via", r.via())
}

// isUpgrade says whether a request asks for another protocol (RFC 9110 section 7.8).
func isUpgrade(request *http.Request) bool {
	return request.Header.Get("Upgrade") != "" && httpguts.HeaderValuesContainsToken(request.Header["Connection"], "upgrade")
}

// hopByHop says whether a header is about one connection only (RFC 9110 section 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}
