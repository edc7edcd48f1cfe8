package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/net/proxy"
)

// socksNoMethod stands for a proxy that takes none of the methods offered (RFC 1928, section 3).
const socksNoMethod = 0xff

// socksStatus returns the reply code (RFC 1928, section 6) that an error of
// golang.org/x/net stands for, or 0. The package has no other way to tell them apart.
func socksStatus(text string) int {
	replies := []string{
		1: "general SOCKS server failure",
		2: "connection not allowed by ruleset",
		3: "network unreachable",
		4: "host unreachable",
		5: "connection refused",
		6: "TTL expired",
		7: "command not supported",
		8: "address type not supported",

		socksNoMethod: "no acceptable authentication methods",
	}
	return max(0, slices.Index(replies, text))
}

// socks opens a connection through a SOCKS5 proxy, which resolves the name.
func (d *dialer) socks(ctx context.Context, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if user := d.proxy.User; user != nil {
		password, _ := user.Password()
		auth = &proxy.Auth{User: user.Username(), Password: password}
	}
	to := &toProxy{dialer: d}
	through, err := proxy.SOCKS5("tcp", d.proxy.Host, auth, to)
	if err != nil {
		return nil, &DialError{Stage: stageProxy, Err: err}
	}
	_, err = through.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	var staged *DialError
	switch {
	case errors.As(err, &staged):
		return nil, staged
	case err != nil:
		return nil, socksError(d.proxy.Host, address, err)
	}
	// The wrapper that was returned only remembers an address: without it the TCP
	// connection can be got at.
	return to.conn, nil
}

func socksError(host, address string, err error) *DialError {
	// The error names addresses and the command around what the proxy said.
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	text := strings.TrimPrefix(err.Error(), "unknown error ")
	return &DialError{Stage: stageProxy, Status: socksStatus(text), Err: fmt.Errorf("proxy %s: SOCKS5 CONNECT %s: %s", host, address, text)}
}

// toProxy opens the connection to the proxy and keeps it.
type toProxy struct {
	dialer *dialer
	conn   net.Conn
}

func (t *toProxy) Dial(network, address string) (net.Conn, error) {
	return t.DialContext(context.Background(), network, address)
}

func (t *toProxy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := t.dialer.tcp(ctx, network, address)
	t.conn = conn
	return conn, err
}
