package client

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// connect opens a tunnel through an HTTP proxy (RFC 9110, section 9.3.6).
func (d *dialer) connect(ctx context.Context, address string) (net.Conn, error) {
	conn, err := d.tcp(ctx, "tcp", d.proxy.Host)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { interrupt(conn) })
	status, err := askForTunnel(conn, address, d.proxy.User)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close() // the first error counts
		return nil, &DialError{
			Stage: stageProxy, Status: status, Err: fmt.Errorf("proxy %s: %w", d.proxy.Host, err),
			Flow: flowOf(conn.LocalAddr(), conn.RemoteAddr()),
		}
	}
	return conn, nil
}

// askForTunnel sends a CONNECT request and reads the answer, byte by byte so that
// nothing of what follows it is taken from the tunnel. It returns the status if there was one.
func askForTunnel(conn io.ReadWriter, address string, user *url.Userinfo) (status int, err error) {
	request := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: address},
		Host:   address,
		Header: make(http.Header),
	}
	if user != nil {
		password, _ := user.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := request.Write(conn); err != nil {
		return 0, fmt.Errorf("CONNECT: %w", err)
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(oneByOne{conn}, 1), request)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("closed the connection without an answer")
	}
	if err != nil {
		return 0, fmt.Errorf("CONNECT: %w", err)
	}
	// The body is left alone: closing it would wait for its end, and what a refusal
	// says beside its status is for people with browsers.
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return response.StatusCode, fmt.Errorf("CONNECT %s was answered with %s", address, statusText(response.StatusCode))
	}
	return response.StatusCode, nil
}

// oneByOne reads one byte at a time.
type oneByOne struct{ io.Reader }

func (r oneByOne) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }
