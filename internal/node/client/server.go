package client

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
)

// Dial opens a connection to the server of a WebSocket URL, as a client does before it sends the handshake:
// through a forward proxy, if proxy is not empty, and over TLS with the given authorities where the URL is
// wss. The error is a [*DialError], or one of the URLs.
func Dial(ctx context.Context, target *url.URL, proxy string, roots *x509.CertPool) (net.Conn, error) {
	d := &dialer{dial: (&net.Dialer{KeepAlive: -1}).DialContext, roots: roots}
	if proxy != "" {
		var err error
		if d.proxy, err = url.Parse(proxy); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
	}
	port, secure := "80", target.Scheme == "wss"
	if secure {
		port = "443"
	}
	if target.Port() != "" {
		port = target.Port()
	}
	address := net.JoinHostPort(target.Hostname(), port)
	conn, err := d.transport(ctx, "tcp4", address)
	if err != nil || !secure {
		return conn, err
	}
	return d.encrypt(ctx, conn, address)
}
