package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
)

// subprotocol is what the client offers; a server need not take it.
const subprotocol = "numbered-echo.wslab"

// The stages of an attempt to connect.
const (
	stageTCP       = "tcp"
	stageProxy     = "proxy"
	stageTLS       = "tls"
	stageWebSocket = "websocket"
	stageEcho      = "echo"
)

// DialError says at which stage an attempt to connect failed.
type DialError struct {
	// Stage is "tcp", "proxy", "tls" or "websocket".
	Stage string
	// Status is the HTTP status or the SOCKS5 reply code that was answered, or 0.
	Status int
	Err    error
	// Flow is the TCP connection that the attempt was made on, nil if none was opened.
	Flow *trace.Flow
}

// Error names the stage.
func (e *DialError) Error() string { return e.Stage + ": " + e.Err.Error() }

// HTTPStatus returns the HTTP status of a handshake that was refused, else 0.
func (e *DialError) HTTPStatus() int {
	if e.Stage == stageWebSocket || e.Stage == stageProxy && e.Status >= 100 {
		return e.Status
	}
	return 0
}

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// dialFunc opens a TCP connection, with TCP keepalive off.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialer opens WebSocket connections, directly or through a proxy.
type dialer struct {
	dial  dialFunc
	roots *x509.CertPool
	// proxy to go through, or nil.
	proxy *url.URL
	// header of the handshake beside what RFC 6455 asks for; may be nil.
	header http.Header
}

// open connects to a WebSocket URL. The error is a [*DialError].
func (d *dialer) open(ctx context.Context, target string) (*websocket.Conn, error) {
	// gorilla/websocket heeds the deadline of ctx but not its cancellation while
	// it waits for the answer to its request.
	var stop func() bool
	var flow *trace.Flow
	transport := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.transport(ctx, network, address)
		if err == nil {
			flow = flowOf(conn.LocalAddr(), conn.RemoteAddr())
			stop = context.AfterFunc(ctx, func() { interrupt(conn) })
		}
		return conn, err
	}
	w := websocket.Dialer{
		NetDialContext: transport,
		NetDialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := transport(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return d.encrypt(ctx, conn, address)
		},
		Subprotocols: []string{subprotocol},
	}
	ws, response, err := w.DialContext(ctx, target, d.header.Clone())
	if stop != nil && !stop() && err == nil {
		_ = ws.Close() // the cause is that ctx ended
		err = context.Cause(ctx)
	}
	if err == nil {
		return ws, nil
	}
	var staged *DialError
	if errors.As(err, &staged) {
		staged.Flow = cmp.Or(staged.Flow, flow)
		return nil, staged
	}
	staged = &DialError{Stage: stageWebSocket, Err: err, Flow: flow}
	if response != nil {
		staged.Status = response.StatusCode
		staged.Err = fmt.Errorf("the handshake was answered with %s: %w", response.Status, err)
		_ = response.Body.Close() // it is in memory
	}
	return nil, staged
}

// transport opens the connection that WebSocket or TLS is spoken on.
func (d *dialer) transport(ctx context.Context, network, address string) (net.Conn, error) {
	if d.proxy == nil {
		return d.tcp(ctx, network, address)
	}
	if d.proxy.Scheme == "socks5" {
		return d.socks(ctx, address)
	}
	return d.connect(ctx, address)
}

func (d *dialer) tcp(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, &DialError{Stage: stageTCP, Err: err}
	}
	return conn, nil
}

// encrypt speaks TLS on a connection, and closes it if that fails.
func (d *dialer) encrypt(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		_ = conn.Close() // the first error counts
		return nil, &DialError{Stage: stageTLS, Err: err}
	}
	secure := tls.Client(conn, &tls.Config{
		ServerName: host,
		RootCAs:    d.roots,
		NextProtos: []string{"http/1.1"}, // HTTP/2 has no Upgrade
		MinVersion: tls.VersionTLS12,
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the first error counts
		return nil, &DialError{Stage: stageTLS, Err: err}
	}
	return secure, nil
}

// interrupt makes reads and writes of a connection fail at once.
func interrupt(conn net.Conn) {
	_ = conn.SetDeadline(time.Unix(1, 0)) // a connection that is closed is interrupted, too
}

// statusText is an HTTP status as people write it.
func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return fmt.Sprintf("%d %s", status, text)
	}
	return fmt.Sprint(status)
}
