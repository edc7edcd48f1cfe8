package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
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
	// tls is for the upstream; nil for a cleartext one.
	tls *tls.Config
}

// pairKey finds the relay's pair of a request in its context.
type pairKey struct{}

func (p *proxy) runReverse(ctx context.Context) error {
	r, err := newReverse(p)
	if err != nil {
		return err
	}
	serverTLS, err := p.serverTLS()
	if err != nil {
		return err
	}
	secure, err := p.env.Listen(ctx, "tcp4", ":"+strconv.Itoa(p.settings.ListenPort()))
	if err != nil {
		return fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
	}
	clear, err := p.env.Listen(ctx, "tcp4", ":"+strconv.Itoa(cleartextPort))
	if err != nil {
		_ = secure.Close()
		return fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
	}
	p.env.Ready()
	return r.serve(ctx, secure, clear, serverTLS)
}

// serve takes connections from both listeners until ctx ends or one of them fails.
func (r *reverse) serve(ctx context.Context, secure, clear net.Listener, config *tls.Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 2)
	go func() { errs <- accept(ctx, secure, r.serveConn(config)) }()
	go func() { errs <- accept(ctx, clear, r.serveConn(nil)) }()
	first := <-errs
	cancel()
	return errors.Join(first, <-errs)
}

func newReverse(p *proxy) (*reverse, error) {
	r := &reverse{proxy: p}
	scheme := "http"
	if p.settings.UpstreamTLS {
		scheme = "https"
		pool, err := ca.Pool(p.env.Spec.CA)
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
		}
		r.tls = &tls.Config{RootCAs: pool, ServerName: p.settings.Upstream, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	}
	upstream := &url.URL{Scheme: scheme, Host: p.settings.Upstream}
	forward := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(upstream)
			pr.Out.Host = pr.In.Host // the server decides by the name that the client wrote
			r.forwarded(pr.In, pr.Out.Header)
		},
		ModifyResponse: func(response *http.Response) error {
			response.Header.Add("Via", r.via())
			return nil
		},
		Transport: &http.Transport{
			DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return r.dialTCP(ctx) },
			TLSClientConfig: r.tls,
			// A connection belongs to one client here, so that the trace can tell whose it is.
			DisableKeepAlives:  true,
			DisableCompression: true,
		},
		ErrorHandler: func(w http.ResponseWriter, request *http.Request, err error) { r.unreachable(w, request, err) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	r.handler = http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if isUpgrade(request) {
			r.upgrade(w, request)
			return
		}
		forward.ServeHTTP(w, request)
	})
	return r, nil
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
		var served net.Conn = inner
		if config != nil {
			served = tls.Server(inner, config)
		}
		one := newOneConn(served)
		var running sync.WaitGroup
		web := &http.Server{
			Handler:           one.waitFor(r.handler, &running),
			ReadHeaderTimeout: r.handshake,
			MaxHeaderBytes:    maxHeader,
			BaseContext:       func(net.Listener) context.Context { return context.WithValue(ctx, pairKey{}, pair) },
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

// upgrade passes an Upgrade request on over a connection of the proxy's own. When the
// upstream agrees, bytes pass unchanged both ways; other answers are passed on as they are.
func (r *reverse) upgrade(w http.ResponseWriter, request *http.Request) {
	ctx := request.Context()
	upstream, err := r.dialUpstream(ctx)
	if err != nil {
		r.unreachable(w, request, err)
		return
	}
	defer func() { _ = upstream.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = upstream.Close() })
	defer stop()
	out := request.Clone(ctx)
	out.Header.Del("Proxy-Connection")
	r.forwarded(request, out.Header)
	if err := out.Write(upstream); err != nil {
		r.unreachable(w, request, err)
		return
	}
	_ = upstream.SetReadDeadline(time.Now().Add(answerTimeout)) // a dead connection says so when it is read
	reader := bufio.NewReader(upstream)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		r.unreachable(w, request, err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	response.Header.Add("Via", r.via())
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
	if _, err := client.Write(head.Bytes()); err != nil {
		_ = client.Close()
		return
	}
	toxics.NewChain(1).Pipe(ctx,
		&prefixed{Conn: client, prefix: buffered(ahead.Reader)},
		&prefixed{Conn: upstream, prefix: buffered(reader)},
		toxics.Options{})
}

// dialUpstream opens a connection to the upstream, with TLS if the lab says so.
func (r *reverse) dialUpstream(ctx context.Context) (net.Conn, error) {
	raw, err := r.dialTCP(ctx)
	if err != nil || r.tls == nil {
		return raw, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c := tls.Client(raw, r.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// dialTCP opens the TCP connection to the upstream and records it.
func (r *reverse) dialTCP(ctx context.Context) (net.Conn, error) {
	port := "80"
	if r.tls != nil {
		port = "443"
	}
	c, err := r.dial(ctx, net.JoinHostPort(r.settings.Upstream, port))
	if err != nil {
		return nil, err
	}
	if pair, ok := ctx.Value(pairKey{}).(*relay.Pair); ok {
		pair.Opened(relay.Opened(c))
	}
	return c, nil
}

// unreachable answers 502, or 504 when the upstream did not answer in time.
func (r *reverse) unreachable(w http.ResponseWriter, request *http.Request, err error) {
	status := http.StatusBadGateway
	if timedOut(err) {
		status = http.StatusGatewayTimeout
	}
	if request.Context().Err() != nil {
		return // the client has gone
	}
	detail := fmt.Sprintf("cannot reach %s: %v", r.settings.Upstream, err)
	if pair, ok := request.Context().Value(pairKey{}).(*relay.Pair); ok {
		pair.Refused(status, detail)
	}
	w.Header().Set("Via", r.via())
	w.Header().Set("Connection", "close")
	http.Error(w, detail, status)
}

func (r *reverse) via() string { return "1.1 " + r.env.Spec.Name }

// forwarded adds what a proxy says about itself and its client (RFC 9110 section 7.6.3 for Via).
func (r *reverse) forwarded(in *http.Request, header http.Header) {
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
