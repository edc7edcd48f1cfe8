package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/wslab/wslab/internal/node/relay"
)

// maxHeader is how long the header of a request may be.
const maxHeader = 16 << 10

// errHeaderTooLarge says that a client sent more than maxHeader.
var errHeaderTooLarge = fmt.Errorf("the request header is longer than %d bytes", maxHeader)

// refusal is an answer other than "connected".
type refusal struct {
	status int
	// reason is for the client and the trace.
	reason string
	header http.Header
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...), header: make(http.Header)}
}

// serveHTTP serves a client of the HTTP proxy: one CONNECT (RFC 9110 section 9.3.6), then bytes.
func (p *proxy) serveHTTP(ctx context.Context, c net.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(p.handshake)) // a connection without deadlines is not served worse
	header := &headerReader{from: c, left: maxHeader}
	reader := bufio.NewReader(header)
	request, target, no := readConnect(reader, header)
	if no == nil {
		no = p.authorize(request)
	}
	if no == nil {
		no = p.permit(request, target)
	}
	if no != nil {
		p.refuseHTTP(c, no)
		return
	}
	server, err := p.dial(ctx, target)
	if err != nil {
		if ctx.Err() != nil {
			return // the node is going down
		}
		status := http.StatusBadGateway
		if timedOut(err) {
			status = http.StatusGatewayTimeout
		}
		p.refuseHTTP(c, refuse(status, "cannot reach %s: %v", target, err))
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = server.Close() // the client has gone
		return
	}
	client := &prefixed{Conn: c, prefix: buffered(reader)}
	p.relay.Pipe(ctx, client, server, relay.Accepted(c), relay.Opened(server))
}

// buffered is what a reader has read ahead: a client may send on without
// waiting for the answer to its CONNECT.
func buffered(r *bufio.Reader) io.Reader {
	ahead, _ := r.Peek(r.Buffered()) // no error: it is there
	return bytes.NewReader(ahead)
}

// readConnect reads a request. The target is that of a CONNECT, checked; of other methods it is empty.
func readConnect(reader *bufio.Reader, header *headerReader) (*http.Request, string, *refusal) {
	request, err := http.ReadRequest(reader)
	if err != nil && header.err != nil && !errors.Is(header.err, io.EOF) {
		err = header.err // net/http takes a line that is cut off for a whole one, and a wrong one
	}
	switch {
	case errors.Is(err, errHeaderTooLarge):
		return nil, "", refuse(http.StatusRequestHeaderFieldsTooLarge, "%v", errHeaderTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, "", refuse(http.StatusRequestTimeout, "the request did not come in time")
	case errors.Is(err, io.EOF), errors.As(err, new(*net.OpError)):
		return nil, "", refuse(0, "the client left without a request")
	case err != nil:
		return nil, "", refuse(http.StatusBadRequest, "this is no HTTP request: %v", err)
	case request.Method != http.MethodConnect:
		return request, "", nil
	}
	target, err := parseTarget(request.RequestURI)
	if err != nil {
		return nil, "", refuse(http.StatusBadRequest, "CONNECT %q: %v", request.RequestURI, err)
	}
	return request, target, nil
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

// authorize asks for a name and a password if the proxy knows users.
func (p *proxy) authorize(request *http.Request) *refusal {
	if len(p.settings.Users) == 0 {
		return nil
	}
	basic := http.Request{Header: http.Header{"Authorization": request.Header["Proxy-Authorization"]}}
	name, password, ok := basic.BasicAuth()
	var no *refusal
	switch {
	case ok && p.knows(name, password):
		return nil
	case ok:
		no = refuse(http.StatusProxyAuthRequired, "wrong name or password for user %q", name)
	case request.Header.Get("Proxy-Authorization") != "":
		no = refuse(http.StatusProxyAuthRequired, "only Basic authentication is understood")
	default:
		no = refuse(http.StatusProxyAuthRequired, "no credentials were sent")
	}
	no.header.Set("Proxy-Authenticate", `Basic realm="`+p.env.Spec.Name+`", charset="UTF-8"`)
	return no
}

// knows says whether the password is that of the user.
func (p *proxy) knows(name, password string) bool {
	want, ok := p.settings.Users[name]
	w, g := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(w[:], g[:]) == 1 && ok
}

// permit says no to other methods, and to ports that are not on the list.
func (p *proxy) permit(request *http.Request, target string) *refusal {
	if request.Method != http.MethodConnect {
		no := refuse(http.StatusMethodNotAllowed,
			"this proxy makes tunnels (CONNECT) only and does not forward %s requests; a WebSocket client asks it with CONNECT", request.Method)
		no.header.Set("Allow", http.MethodConnect)
		return no
	}
	_, text, _ := net.SplitHostPort(target) // it has been checked
	port, _ := strconv.Atoi(text)
	if !slices.Contains(p.settings.AllowConnect, port) {
		return refuse(http.StatusForbidden, "CONNECT to port %d is not allowed", port)
	}
	return nil
}

// refuseHTTP answers and closes.
func (p *proxy) refuseHTTP(c net.Conn, no *refusal) {
	if no.status == 0 {
		return // nobody is listening
	}
	p.refused(c, no.status, no.reason)
	body := no.reason + "\n"
	no.header.Set("Content-Type", "text/plain; charset=utf-8")
	no.header.Set("Via", "1.1 "+p.env.Spec.Name)
	response := http.Response{
		StatusCode: no.status, ProtoMajor: 1, ProtoMinor: 1,
		Header:        no.header,
		Body:          io.NopCloser(bytes.NewBufferString(body)),
		ContentLength: int64(len(body)),
		Close:         true,
	}
	_ = c.SetWriteDeadline(time.Now().Add(lingerTimeout))
	if response.Write(c) == nil {
		linger(c)
	}
}

// headerReader reads no more than is left.
type headerReader struct {
	from io.Reader
	left int
	// err is what reading ended with.
	err error
}

// Read returns errHeaderTooLarge when nothing is left.
func (r *headerReader) Read(b []byte) (int, error) {
	if r.left <= 0 {
		r.err = errHeaderTooLarge
		return 0, r.err
	}
	n, err := r.from.Read(b[:min(len(b), r.left)])
	r.left -= n
	r.err = err
	return n, err
}
