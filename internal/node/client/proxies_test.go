package client

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// listenLoopback serves each connection until the test ends.
func listenLoopback(t *testing.T, serve func(net.Conn)) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// splice carries bytes both ways until one side ends.
func splice(client net.Conn, fromClient io.Reader, server net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, fromClient)
		_ = server.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	both.Wait()
}

// connectProxy is an HTTP proxy that knows alice:secret and the server; it answers
// a CONNECT to port 444 with 403 and to port 445 with 502.
func (l *lab) connectProxy() string {
	return listenLoopback(l.t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		status, server := 200, net.Conn(nil)
		switch {
		case r.Method != http.MethodConnect:
			status = 405
		case r.Header.Get("Proxy-Authorization") != "Basic YWxpY2U6c2VjcmV0":
			status = 407
		case strings.HasSuffix(r.Host, ":444"):
			status = 403
		default:
			if server, err = net.Dial("tcp4", l.address(r.Host)); err != nil {
				status = 502
			}
		}
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\n\r\n", status, http.StatusText(status))
		if server != nil {
			splice(conn, in, server)
		}
	})
}

// socksProxy is a SOCKS5 proxy that knows alice:secret. It answers every request with the
// reply, and connects if that is 0. asked is called with the name that it was asked for.
func (l *lab) socksProxy(reply byte, asked func(name string)) string {
	return listenLoopback(l.t, func(conn net.Conn) {
		read := func(n byte) []byte {
			b := make([]byte, n)
			if _, err := io.ReadFull(conn, b); err != nil {
				return make([]byte, n)
			}
			return b
		}
		write := func(b ...byte) { _, _ = conn.Write(b) }
		if methods := read(read(2)[1]); !strings.Contains(string(methods), "\x02") {
			write(5, 0xff)
			return
		}
		write(5, 2)
		user := string(read(read(2)[1]))
		if password := string(read(read(1)[0])); user != "alice" || password != "secret" {
			write(1, 1)
			return
		}
		write(1, 0)
		request := read(4)
		name := string(read(read(1)[0]))
		port := read(2)
		asked(fmt.Sprintf("%d %s", request[3], name))
		if reply != 0 {
			write(5, reply, 0, 1, 0, 0, 0, 0, 0, 0)
			return
		}
		server, err := net.Dial("tcp4", l.address(fmt.Sprintf("%s:%d", name, int(port[0])<<8|int(port[1]))))
		if err != nil {
			write(5, 5, 0, 1, 0, 0, 0, 0, 0, 0)
			return
		}
		write(5, 0, 0, 1, 0, 0, 0, 0, 0, 0)
		splice(conn, conn, server)
	})
}
