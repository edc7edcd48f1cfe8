package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wslab/wslab/internal/node/relay"
)

// route is where a request goes.
type route struct {
	// authority is the Host of the request, address what is dialled, path the target that
	// the server gets.
	authority, address, path string
}

// url is the whole of it, which a cache goes by.
func (r route) url(scheme string) string {
	return scheme + "://" + strings.ToLower(r.authority) + r.path
}

// route works out where a request goes: by its target in absolute form (RFC 9112 section 3.2.2),
// and inside of TLS where the tunnel goes.
func (h *httpClient) route(r *request) (route, *refusal) {
	if h.inside != nil && (strings.HasPrefix(r.target, "/") || r.target == "*") {
		authority := r.get("Host")
		if authority == "" {
			authority = h.inside.name
		}
		return route{authority: authority, address: h.inside.target, path: r.target}, nil
	}
	u, err := url.Parse(r.target)
	switch {
	case err != nil:
		return route{}, refuse(http.StatusBadRequest, "%.80q is no URL", r.target)
	case r.target == "*":
		return route{}, refuse(http.StatusNotImplemented, "%s * is not forwarded", r.method)
	case u.Scheme == "" || u.Host == "":
		return route{}, refuse(http.StatusBadRequest, "a proxy is asked with the whole URL, or with CONNECT, not for %.80q", r.target)
	case !strings.EqualFold(u.Scheme, "http") && !(h.inside != nil && strings.EqualFold(u.Scheme, "https")):
		no := refuse(http.StatusNotImplemented, "%s is not forwarded; a client asks with CONNECT", u.Scheme)
		no.keep = true
		return route{}, no
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	target, err := parseTarget(net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return route{}, refuse(http.StatusBadRequest, "%.80q: %v", r.target, err)
	}
	to := route{authority: u.Host, address: target, path: u.EscapedPath()}
	if h.inside != nil {
		to.address = h.inside.target
	}
	switch {
	case to.path == "" && r.method == http.MethodOptions:
		to.path = "*"
	case to.path == "":
		to.path = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		to.path += "?" + u.RawQuery
	}
	return to, nil
}

// scheme that requests are forwarded with.
func (h *httpClient) scheme() string {
	if h.inside != nil {
		return "https"
	}
	return "http"
}

// forward sends a request on and its answer back, or answers from the cache. It reports whether
// the connection goes on.
func (h *httpClient) forward(ctx context.Context, c net.Conn, in *bufio.Reader, r *request) bool {
	to, no := h.route(r)
	if no != nil {
		return h.refuse(c, in, r, no)
	}
	content, err := r.body()
	switch {
	case errors.Is(err, errCoding):
		return h.refuse(c, in, r, refuse(http.StatusNotImplemented, "%v", err))
	case err != nil:
		return h.refuse(c, in, r, refuse(http.StatusBadRequest, "%v", err))
	}
	at := lookup{miss: "bypass"}
	if h.cache != nil {
		at = h.cache.look(r, to.url(h.scheme()))
		if at.hit != nil {
			return h.fromCache(c, in, r, at)
		}
		if at.only {
			no := refuse(http.StatusGatewayTimeout, "%s is not in the cache, and the client wants nothing else (only-if-cached)", to.path)
			no.keep = true
			return h.refuse(c, in, r, no)
		}
	}
	server, no := h.server(to)
	if no != nil {
		no.keep = true
		return h.refuse(c, in, r, no)
	}
	x := &exchange{httpClient: h, client: c, in: in, request: r, content: content, route: to, server: server, cached: at}
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(h.gone, func() { _ = server.Close() })
	defer stop()
	x.upgrade = r.upgrades()
	return x.run(ctx, stop)
}

// server opens the connection to where a request goes, or takes the one that is open already.
func (h *httpClient) server(to route) (net.Conn, *refusal) {
	if h.inside != nil {
		return h.inside.connection(h)
	}
	server, no := h.reach(h.gone, to.address)
	if no == nil {
		h.pair.Opened(relay.Opened(server))
	}
	return server, no
}

// exchange is a request that is forwarded, and its answer.
type exchange struct {
	*httpClient
	client  net.Conn
	in      *bufio.Reader
	request *request
	content body
	route   route
	server  net.Conn
	cached  lookup
	// upgrade: the client asks for another protocol.
	upgrade bool
	// stripped: the proxy has taken it out.
	stripped bool
	// sent is closed when the sending of the request's body is over; whole says, then, that all
	// of it was sent, and broken why it could not be read.
	sent   chan struct{}
	whole  bool
	broken error
	// answered: the head of an answer has come.
	answered atomic.Bool
}

// passesUpgrade says whether the proxy sends Upgrade on.
func (h *httpClient) passesUpgrade() bool {
	if h.inside != nil {
		return h.settings.UpgradeInside == pass
	}
	return h.settings.Upgrade == pass
}

// run does the exchange. keepServer takes the server's connection out of the care of the
// client's presence.
func (x *exchange) run(ctx context.Context, keepServer func() bool) bool {
	asked := x.request.joined("Upgrade")
	if x.upgrade && !x.passesUpgrade() {
		x.upgrade, x.stripped = false, true
	}
	if _, err := x.server.Write(x.outgoing(asked).bytes()); err != nil {
		return x.failed(err)
	}
	x.sendBody()
	defer x.abandonBody()
	from := bufio.NewReader(&patient{Conn: x.server, patience: x.env.Wall(x.settings.ReadTimeout)})
	for {
		answer, err := readResponseHead(from, maxRequestHeader)
		if err != nil {
			x.abandonBody()
			if x.broken != nil {
				return x.refuse(x.client, x.in, x.request, refuse(http.StatusBadRequest, "the body of the request cannot be read: %v", x.broken))
			}
			return x.failed(err)
		}
		x.answered.Store(answer.status >= 200)
		switch {
		case answer.status == http.StatusSwitchingProtocols && x.upgrade && keepServer():
			x.abandonBody()
			x.switchTo(ctx, answer, from)
			return false
		case answer.status == http.StatusSwitchingProtocols:
			x.abandonBody()
			return x.failed(malformed("101 without having been asked"))
		case answer.status < 200:
			if x.request.minor > 0 && !x.inform(answer) {
				return false
			}
		default:
			return x.deliver(answer, from)
		}
	}
}

// outgoing is the request as the server gets it.
func (x *exchange) outgoing(upgrade string) *head {
	r := x.request
	out := r.clone()
	out.line = r.method + " " + x.route.path + " HTTP/1.1"
	out.stripConnection()
	if out.has("Host") {
		out.set("Host", x.route.authority) // RFC 9112 section 3.2.2: the target counts
	} else {
		out.fields = append([]field{{"Host", x.route.authority}}, out.fields...)
	}
	if x.content.chunked {
		out.add("Transfer-Encoding", "chunked")
	}
	if x.settings.AddVia {
		out.appendTo("Via", x.via(r.minor))
	}
	if x.settings.AddForwardedFor {
		out.appendTo("X-Forwarded-For", x.clientAddress())
	}
	x.settings.RequestHeaders.apply(out)
	if x.upgrade {
		out.add("Upgrade", upgrade)
		out.add("Connection", "Upgrade")
	} else {
		out.add("Connection", "close")
	}
	return out
}

// via is what the proxy says about itself and who it had the message from (RFC 9110 section 7.6.3).
func (h *httpClient) via(minor int) string {
	return "1." + strconv.Itoa(minor) + " " + h.env.Spec.Name
}

func (h *httpClient) clientAddress() string {
	if h.flow.Src == (netip.AddrPort{}) {
		return "unknown" // in-memory connections have no address
	}
	return h.flow.Src.Addr().String()
}

// sendBody sends the body of the request while the answer is waited for: a server may answer before it
// has all of it, and says 100 before it gets any.
func (x *exchange) sendBody() {
	x.sent = make(chan struct{})
	if x.content.none() {
		x.whole = true
		close(x.sent)
		return
	}
	go func() {
		defer close(x.sent)
		from := &noting{from: x.content.reader(x.in)}
		x.whole = copyBody(x.server, from, x.content.chunked) == nil
		if from.err != nil && !errors.Is(from.err, os.ErrDeadlineExceeded) && !x.answered.Load() {
			x.broken = from.err
			_ = x.server.Close() // it would wait for the rest for ever, and the client for its answer
		}
	}()
}

// noting keeps the error that reading ends with, other than io.EOF.
type noting struct {
	from io.Reader
	err  error
}

// Read reads on.
func (n *noting) Read(b []byte) (int, error) {
	count, err := n.from.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return count, err
}

// abandonBody interrupts the sending of the request's body, and waits for its end.
func (x *exchange) abandonBody() {
	if !x.sending(0) {
		return
	}
	_ = x.client.SetReadDeadline(time.Unix(1, 0)) // it ends, or is about to
	_ = x.server.SetWriteDeadline(time.Unix(1, 0))
	<-x.sent
}

// sending says whether the request's body is still being sent after a time.
func (x *exchange) sending(patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-x.sent:
		return false
	default:
	}
	select {
	case <-x.sent:
		return false
	case <-timer.C:
		return true
	}
}

// failed answers for a server that did not.
func (x *exchange) failed(err error) bool {
	if x.gone.Err() != nil {
		return false // nobody is listening
	}
	no := refuse(http.StatusBadGateway, "the connection to %s ended without an answer: %v", x.route.address, err)
	switch {
	case errors.As(err, new(syntaxError)), errors.Is(err, errLineTooLong), errors.Is(err, errHeaderTooLarge), errors.Is(err, errVersion):
		no = refuse(http.StatusBadGateway, "the answer of %s is no HTTP: %v", x.route.address, err)
	case timedOut(err):
		no = refuse(http.StatusGatewayTimeout, "%s did not answer in time", x.route.address)
		no.by = "read_timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		no = refuse(http.StatusBadGateway, "%s closed the connection without an answer", x.route.address)
	}
	no.keep = x.content.none() // else nobody knows where the next request begins
	return x.refuse(x.client, x.in, x.request, no)
}

// inform passes an interim answer on. It reports whether the client is still there.
func (x *exchange) inform(answer *response) bool {
	answer.stripConnection()
	_, err := x.client.Write(answer.bytes())
	return err == nil
}

// switchTo passes a 101 on, and then bytes.
func (x *exchange) switchTo(ctx context.Context, answer *response, from *bufio.Reader) {
	protocol := answer.joined("Upgrade")
	answer.stripConnection()
	if x.settings.AddVia {
		answer.appendTo("Via", x.via(answer.minor))
	}
	x.settings.ResponseHeaders.apply(answer.head)
	answer.add("Upgrade", protocol)
	answer.add("Connection", "Upgrade")
	_ = x.client.SetReadDeadline(time.Time{})
	_ = x.server.SetReadDeadline(time.Time{})
	if _, err := x.client.Write(answer.bytes()); err != nil {
		return // the client has gone
	}
	x.tunnel(ctx, &prefixed{Conn: x.client, prefix: buffered(x.in)}, &prefixed{Conn: x.server, prefix: buffered(from)})
}

// deliver passes an answer on. It reports whether the client's connection goes on.
func (x *exchange) deliver(answer *response, from *bufio.Reader) bool {
	content, err := answer.body(x.request.method)
	if err != nil {
		return x.failed(malformed("%v", err))
	}
	if x.stripped {
		x.pair.Stripped(answer.status)
	}
	answer.stripConnection()
	var storing *recording
	if x.cache != nil {
		storing = x.cache.record(x.cached, x.request, answer, content)
		defer storing.done()
	}
	keep, chunk := x.request.keepsAlive(), false
	if content.chunked || content.toEnd {
		answer.del("Content-Length")
		chunk = x.request.minor > 0
		keep = keep && chunk
	}
	if chunk {
		answer.add("Transfer-Encoding", "chunked")
	}
	out := x.answer(answer.head, answer.minor, x.cached.miss)
	// The rest of a body that the server did not want is not waited for: where it has
	// read all, what sends it is about to learn so.
	keep = keep && !x.sending(lingerTimeout/10) && x.whole
	if _, err := x.client.Write(withConnection(out, keep)); err != nil {
		return false
	}
	if content.none() {
		storing.complete()
		return keep
	}
	source := content.reader(from)
	if storing != nil {
		source = io.TeeReader(source, storing)
	}
	if err := copyBody(x.client, source, chunk); err != nil {
		return false // one of them has gone: the length tells the client
	}
	storing.complete()
	return keep
}

// answer is an answer as the client gets it, but for its connection; did says what the
// cache did.
func (h *httpClient) answer(from *head, minor int, did string) *head {
	out := from.clone()
	if h.cache != nil {
		h.cacheHeader(out, did)
	}
	if h.settings.AddVia {
		out.appendTo("Via", h.via(minor))
	}
	h.settings.ResponseHeaders.apply(out)
	return out
}

// withConnection ends a head with whether the connection goes on.
func withConnection(h *head, keep bool) []byte {
	if keep {
		h.add("Connection", "keep-alive")
	} else {
		h.add("Connection", "close")
	}
	return h.bytes()
}

// patient is a connection that bears silence for so long only; 0 is for ever.
type patient struct {
	net.Conn
	patience time.Duration
}

// Read fails after the silence.
func (c *patient) Read(b []byte) (int, error) {
	if c.patience > 0 {
		_ = c.SetReadDeadline(time.Now().Add(c.patience)) // it is closed: the read says so
	}
	return c.Conn.Read(b)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
