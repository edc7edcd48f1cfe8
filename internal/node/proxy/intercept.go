package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
)

// tlsRecord is the first byte of a connection that speaks TLS: a record of type handshake.
const tlsRecord = 0x16

// inside is where the requests go that come out of a client's TLS.
type inside struct {
	// target is what is dialled, name what the server is called.
	target, name string
	config       *tls.Config
	// open is the connection that was opened for the tunnel, for the first request; broken is
	// why there is none.
	open   net.Conn
	broken *refusal
}

// intercept opens the TLS that a client speaks in its tunnel. It speaks TLS with the server
// first, as Squid does with ssl_bump and peek, so that what it shows the client can follow
// from what the server showed.
func (h *httpClient) intercept(ctx context.Context, client, server net.Conn, target string) {
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	_ = client.SetReadDeadline(time.Now().Add(h.handshake))
	hello, raw, err := peekHello(ctx, client)
	_ = client.SetReadDeadline(time.Time{})
	client = &prefixed{Conn: client, prefix: bytes.NewReader(raw)}
	if len(raw) == 0 || raw[0] != tlsRecord {
		h.tunnel(ctx, client, server) // not TLS, or nothing: there is nothing to open
		return
	}
	name, _, _ := net.SplitHostPort(target)
	if hello != nil && hello.ServerName != "" {
		name = hello.ServerName
	}
	if err == nil && h.settings.exempts(name) {
		h.tunnel(ctx, client, server)
		return
	}
	h.inside = &inside{target: target, name: name}
	h.inside.config = &tls.Config{
		ServerName: name, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // the chain is looked at below
	}
	untrusted := false
	if err == nil {
		untrusted = h.openInside(ctx, server)
	}
	defer h.inside.close()
	h.serveTLS(ctx, client, untrusted)
}

// openInside speaks TLS with the server. It reports whether the client is to be shown a certificate
// that it does not trust.
func (h *httpClient) openInside(ctx context.Context, server net.Conn) (untrusted bool) {
	secure, bad, err := h.secure(ctx, server)
	switch {
	case err != nil:
		h.inside.broken = refuse(http.StatusBadGateway, "no TLS with %s: %v", h.inside.target, err)
	case bad != nil && h.settings.BadOrigin == badOriginUntrusted:
		h.inside.open, untrusted = secure, true
	case bad != nil && h.settings.BadOrigin != badOriginIgnore:
		h.inside.broken = refuse(http.StatusBadGateway, "the certificate of %s is not trusted: %v", h.inside.target, bad)
		h.inside.broken.by = "bad_origin"
	default:
		h.inside.open = secure
	}
	return untrusted
}

// secure speaks TLS on a connection with the server; bad is what is wrong with its certificate.
func (h *httpClient) secure(ctx context.Context, server net.Conn) (secure *tls.Conn, bad, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secure = tls.Client(server, h.inside.config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	chain := secure.ConnectionState().PeerCertificates
	options := x509.VerifyOptions{Roots: h.forge.roots, DNSName: h.inside.name, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, bad = chain[0].Verify(options)
	return secure, bad, nil
}

// connection to the server for the next request: the one that is open, or a new one.
func (i *inside) connection(h *httpClient) (net.Conn, *refusal) {
	if i.broken != nil {
		no := *i.broken
		return nil, &no
	}
	if c := i.open; c != nil {
		i.open = nil
		return c, nil
	}
	server, no := h.reach(h.gone, i.target)
	if no != nil {
		return nil, no
	}
	h.pair.Opened(relay.Opened(server))
	secure, bad, err := h.secure(h.gone, server)
	if err == nil && bad != nil && h.settings.BadOrigin != badOriginIgnore && h.settings.BadOrigin != badOriginUntrusted {
		err = bad
	}
	if err != nil {
		_ = server.Close()
		return nil, refuse(http.StatusBadGateway, "no TLS with %s: %v", i.target, err)
	}
	return secure, nil
}

func (i *inside) close() {
	if i.open != nil {
		_ = i.open.Close()
	}
}

// serveTLS shows the client a certificate of the company's and serves its requests.
func (h *httpClient) serveTLS(ctx context.Context, client net.Conn, untrusted bool) {
	e := trace.Event{Type: trace.Intercepted, Flow: &h.flow, By: h.inside.name, Detail: h.forge.issuer}
	certificate, err := h.forge.certificate(h.inside.name, untrusted)
	if err != nil {
		e.Err = err.Error()
		h.env.Record(e)
		return
	}
	shaking, cancel := context.WithTimeout(ctx, h.handshake)
	defer cancel()
	secure := tls.Server(client, &tls.Config{
		Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
	})
	if err := secure.HandshakeContext(shaking); err != nil {
		e.Err = err.Error()
		h.env.Record(e)
		return
	}
	h.env.Record(e)
	h.serveRequests(ctx, secure, true)
	_ = secure.Close()
}

// errPeeked ends a handshake of which only the first message is wanted.
var errPeeked = errors.New("peeked")

// peekHello reads the first message of TLS and returns it with all that was read. What does not begin as TLS
// does is read no further than its first byte.
func peekHello(ctx context.Context, c net.Conn) (hello *tls.ClientHelloInfo, raw []byte, err error) {
	first := make([]byte, 1)
	if n, err := io.ReadFull(c, first); err != nil || first[0] != tlsRecord {
		return nil, first[:n], err
	}
	seen := bytes.NewBuffer(first)
	listener := &overheard{Conn: c, from: io.MultiReader(bytes.NewReader(first), io.TeeReader(c, seen))}
	err = tls.Server(listener, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = info
		return nil, errPeeked
	}}).HandshakeContext(ctx)
	if errors.Is(err, errPeeked) {
		err = nil
	}
	if err == nil && hello == nil {
		err = errors.New("no TLS hello")
	}
	return hello, seen.Bytes(), err
}

// overheard is a connection that is only listened to.
type overheard struct {
	net.Conn
	from io.Reader
}

// Read reads from the copy.
func (o *overheard) Read(b []byte) (int, error) { return o.from.Read(b) }

// Write drops what a handshake that is not meant would say.
func (o *overheard) Write(b []byte) (int, error) { return len(b), nil }

// Close leaves the connection open.
func (o *overheard) Close() error { return nil }
