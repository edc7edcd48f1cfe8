package clients

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/wslab/wslab/internal/node/client"
)

// ForwardVerb is the hidden command that [Port] runs at the client node and that has to call [Forward].
const ForwardVerb = "client-port"

// forwarding says where what comes in goes.
type forwarding struct {
	// URL of the contract; Proxy to go through, or empty.
	URL   string `json:"url"`
	Proxy string `json:"proxy,omitempty"`
}

// Wall times of a connection through the port, before it is open.
const (
	headTimeout = 30 * time.Second // for the request of whoever connects
	dialTimeout = 60 * time.Second // to the server: a lab at speed 1 may take that long
)

// Forward serves the port: its standard output is the listening socket, which belongs to the host, while
// the process is in the network of the client node. Each connection begins with a request of HTTP in the clear, so that
// a browser can use ws://localhost:PORT/. It goes on to the server of the contract with its path and query,
// the session added, over TLS where the contract's URL is wss: TLS is between the client node
// and the server, as if the client spoke it. After the request both directions are copied byte by
// byte; the end of one is the end of the other, a RST a RST. It returns when the socket is closed or ctx ends.
func Forward(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s is not for people: use run --client-port", ForwardVerb)
	}
	var to forwarding
	if err := json.Unmarshal([]byte(args[0]), &to); err != nil {
		return err
	}
	target, err := url.Parse(to.URL)
	if err != nil {
		return err
	}
	roots, err := roots(os.Getenv("WSLAB_CA_FILE"))
	if err != nil {
		return err
	}
	file := os.Stdout
	l, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("the listening socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	f := &forwarder{target: target, proxy: to.Proxy, roots: roots}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		all.Go(func() {
			if err := f.serve(ctx, conn); err != nil {
				_, _ = fmt.Fprintln(os.Stderr, err)
			}
		})
	}
}

// roots reads the lab's authority; nil for none.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool, nil
}

// forwarder connects the port with the server.
type forwarder struct {
	target *url.URL
	proxy  string
	roots  *x509.CertPool
}

// serve carries one connection. It closes it.
func (f *forwarder) serve(ctx context.Context, near net.Conn) error {
	defer func() { _ = near.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = near.Close() })
	defer stop()
	_ = near.(*net.TCPConn).SetKeepAlive(false) // what is kept alive is what the test is about
	_ = near.SetReadDeadline(time.Now().Add(headTimeout))
	reader := bufio.NewReader(near)
	request, err := http.ReadRequest(reader)
	if errors.Is(err, io.EOF) {
		return nil // browsers connect in advance
	}
	if err != nil {
		_, _ = io.WriteString(near, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		return fmt.Errorf("what came is no request of HTTP: %w", err)
	}
	_ = near.SetReadDeadline(time.Time{})
	f.address(request)
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	far, err := client.Dial(dialing, f.target, f.proxy, f.roots)
	cancel()
	if err != nil {
		_, _ = fmt.Fprintf(near, "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s\n", len(err.Error())+1, err)
		return fmt.Errorf("no connection to the server: %w", err)
	}
	defer func() { _ = far.Close() }()
	if err := request.Write(far); err != nil {
		return err
	}
	f.copy(near, reader, far)
	return nil
}

// address makes a request one for the server: with its name, and the session in the query.
func (f *forwarder) address(r *http.Request) {
	query := r.URL.Query()
	for name, values := range f.target.Query() {
		query[name] = values
	}
	if r.URL.Path == "" || r.URL.Path == "/" {
		r.URL.Path = f.target.Path
	}
	r.URL.RawQuery = query.Encode()
	r.URL.Scheme, r.URL.Host, r.Host = "http", f.target.Host, f.target.Host
	if r.Header.Get("Upgrade") == "" {
		r.Close = true // the next request would not be seen
	}
}

// copy carries bytes both ways until one way ends.
func (f *forwarder) copy(near net.Conn, buffered io.Reader, far net.Conn) {
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(far, buffered)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(near, far)
		ended <- err
	}()
	if err := <-ended; errors.Is(err, syscall.ECONNRESET) {
		reset(near)
		reset(far)
	}
	_ = near.Close()
	_ = far.Close()
	_ = <-ended
}

// reset lets a connection end with a RST.
func reset(conn net.Conn) {
	if under, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = under.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be closed already
	}
}
