package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// squidCase is a client at an HTTP proxy: what it writes, and after each write waits for. {web}, {echo},
// {refused} and {silent} stand for the servers of the test; {silent} takes no connection.
type squidCase struct {
	name  string
	sends []string
	// proxy is the configuration that it is played against: "", known for one that asks for a user, or
	// upgrade for one that lets WebSocket pass in forwarded requests.
	proxy string
}

// squidDifference is where wslab's proxy does not do as Squid does, with the settings of the test.
type squidDifference struct {
	squid, wslab, why string
}

func squidCases() []squidCase {
	const get = "GET http://{web}/ HTTP/1.1\r\nHost: {web}\r\n"
	const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
	const connect = "CONNECT {echo} HTTP/1.1\r\nHost: x\r\n"
	return []squidCase{
		{name: "CONNECT", sends: []string{"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n", "ping\n"}},
		{name: "CONNECT of HTTP/1.0", sends: []string{"CONNECT {echo} HTTP/1.0\r\n\r\n", "ping\n"}},
		{name: "CONNECT, bytes sent ahead", sends: []string{"CONNECT {echo} HTTP/1.1\r\nHost: x\r\n\r\nahead\n"}},
		{name: "CONNECT, port not allowed, and again", sends: []string{"CONNECT server:25 HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT {echo} HTTP/1.1\r\nHost: x\r\n\r\n"}},
		{name: "CONNECT, refused", sends: []string{"CONNECT {refused} HTTP/1.1\r\nHost: x\r\n\r\n"}},
		{name: "CONNECT, no answer", sends: []string{"CONNECT {silent} HTTP/1.1\r\nHost: x\r\n\r\n"}},
		{name: "CONNECT, no such name", sends: []string{"CONNECT nowhere.test:443 HTTP/1.1\r\nHost: x\r\n\r\n"}},
		{name: "CONNECT, port 0", sends: []string{"CONNECT server:0 HTTP/1.1\r\nHost: x\r\n\r\n"}},
		{name: "CONNECT, no port", sends: []string{"CONNECT server HTTP/1.1\r\nHost: x\r\n\r\n"}},
		{name: "tunnel, the server's RST", sends: []string{"CONNECT {echo} HTTP/1.1\r\nHost: x\r\n\r\n", "RST\n"}},
		{name: "tunnel, the server's FIN", sends: []string{"CONNECT {echo} HTTP/1.1\r\nHost: x\r\n\r\n", "FIN\n"}},
		{name: "tunnel, silent for read_timeout", sends: []string{"CONNECT {echo} HTTP/1.1\r\nHost: x\r\n\r\n", "SILENCE\n"}},
		{name: "no HTTP", sends: []string{"GARBAGE\r\n\r\n"}},
		{name: "TLS", sends: []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("a", 500) + "\r\n\r\n"}},
		{name: "version of HTTP", sends: []string{"GET http://{web}/ HTTP/2.0\r\n\r\n"}},
		{name: "header without a colon", sends: []string{"GET http://{web}/ HTTP/1.1\r\nno colon\r\n\r\n"}},
		{name: "blank before the colon", sends: []string{"GET http://{web}/ HTTP/1.1\r\nHost : {web}\r\n\r\n"}},
		{name: "header too large", sends: []string{get + "X: " + strings.Repeat("x", 70000) + "\r\n\r\n"}},
		{name: "first line too long", sends: []string{"GET http://{web}/" + strings.Repeat("x", 70000) + " HTTP/1.1\r\n\r\n"}},
		{name: "slow header", sends: []string{"GET http://{web}/ HTTP/1.1\r\nHo"}},
		{name: "origin form", sends: []string{"GET / HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "OPTIONS *", sends: []string{"OPTIONS * HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "GET", sends: []string{get + "\r\n", get + "\r\n"}},
		{name: "GET, then CONNECT", sends: []string{get + "\r\n", "CONNECT {echo} HTTP/1.1\r\nHost: x\r\n\r\n", "ping\n"}},
		{name: "GET of HTTP/1.0", sends: []string{"GET http://{web}/ HTTP/1.0\r\n\r\n"}},
		{name: "GET of HTTP/1.0 with Proxy-Connection", sends: []string{"GET http://{web}/ HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n"}},
		{name: "GET, Connection: close", sends: []string{get + "Connection: close\r\n\r\n"}},
		{name: "GET, lines end with LF", sends: []string{"GET http://{web}/ HTTP/1.1\nHost: {web}\n\n"}},
		{name: "GET, empty lines before it", sends: []string{"\r\n\r\n" + get + "\r\n"}},
		{name: "GET, folded header", sends: []string{get + "X-Long: a\r\n b\r\n\r\n"}},
		{name: "GET, another Host", sends: []string{"GET http://{web}/a?b HTTP/1.1\r\nHost: other\r\n\r\n"}},
		{name: "GET, no Host", sends: []string{"GET http://{web}/ HTTP/1.1\r\n\r\n"}},
		{name: "hop-by-hop", sends: []string{get + "Connection: X-Mine, keep-alive\r\nX-Mine: 1\r\nTE: trailers\r\nTrailer: x\r\nKeep-Alive: 1\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nuser-agent: me\r\nX-Kept: 1\r\n\r\n"}},
		{name: "Via and X-Forwarded-For of others", sends: []string{get + "Via: 1.0 first\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"}},
		{name: "Upgrade", sends: []string{get + upgrade}},
		{name: "HEAD", sends: []string{"HEAD http://{web}/ HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "unknown method", sends: []string{"FROB http://{web}/ HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "POST", sends: []string{"POST http://{web}/ HTTP/1.1\r\nHost: {web}\r\nContent-Length: 3\r\n\r\nabc", get + "\r\n"}},
		{name: "POST, chunked", sends: []string{"POST http://{web}/ HTTP/1.1\r\nHost: {web}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"}},
		{name: "POST, 100-continue", sends: []string{"POST http://{web}/ HTTP/1.1\r\nHost: {web}\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", "abc"}},
		{name: "POST, two lengths", sends: []string{"POST http://{web}/ HTTP/1.1\r\nHost: {web}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"}},
		{name: "POST, length and chunked", sends: []string{"POST http://{web}/ HTTP/1.1\r\nHost: {web}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}},
		{name: "POST, a chunk that is none", sends: []string{"POST http://{web}/ HTTP/1.1\r\nHost: {web}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}},
		{name: "answer without length", sends: []string{"GET http://{web}/nolength HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "answer, chunked", sends: []string{"GET http://{web}/chunked HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "answer, chunked, to HTTP/1.0", sends: []string{"GET http://{web}/chunked HTTP/1.0\r\n\r\n"}},
		{name: "answer cut short", sends: []string{"GET http://{web}/short HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "no answer, FIN", sends: []string{"GET http://{web}/fin HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "no answer, RST", sends: []string{"GET http://{web}/rst HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "no answer in read_timeout", sends: []string{"GET http://{web}/hang HTTP/1.1\r\nHost: {web}\r\n\r\n"}},
		{name: "GET, refused", sends: []string{"GET http://{refused}/ HTTP/1.1\r\nHost: x\r\n\r\n", get + "\r\n"}},
		{name: "GET, no answer to SYN", sends: []string{"GET http://{silent}/ HTTP/1.1\r\nHost: x\r\n\r\n"}},
		{name: "GET, no such name", sends: []string{"GET http://nowhere.test/ HTTP/1.1\r\nHost: x\r\n\r\n"}},
		{proxy: "known", name: "407 to CONNECT, then the password", sends: []string{connect + "\r\n", connect + "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n", "ping\n"}},
		{proxy: "known", name: "407 to GET, then the password", sends: []string{get + "\r\n", get + "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n"}},
		{proxy: "known", name: "wrong password", sends: []string{connect + "Proxy-Authorization: Basic Y2Fyb2w6d3Jvbmc=\r\n\r\n"}},
		{proxy: "known", name: "unknown user", sends: []string{connect + "Proxy-Authorization: Basic Ym9iOnNlY3JldA==\r\n\r\n"}},
		{proxy: "known", name: "credentials that are no base64", sends: []string{connect + "Proxy-Authorization: Basic !!\r\n\r\n"}},
		{proxy: "known", name: "another scheme", sends: []string{connect + "Proxy-Authorization: Bearer YWxpY2U6c2VjcmV0\r\n\r\n"}},
		{proxy: "known", name: "the password as one for the server", sends: []string{connect + "Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n"}},
		{proxy: "known", name: "port not allowed, no password", sends: []string{"CONNECT server:25 HTTP/1.1\r\nHost: x\r\n\r\n"}},
		{proxy: "upgrade", name: "Upgrade that passes", sends: []string{"GET http://{web}/upgrade HTTP/1.1\r\nHost: {web}\r\n" + upgrade, "ping\n"}},
		{proxy: "upgrade", name: "Upgrade that passes, the server's FIN", sends: []string{"GET http://{web}/upgrade HTTP/1.1\r\nHost: {web}\r\n" + upgrade, "FIN\n"}},
		{proxy: "upgrade", name: "Upgrade that passes, and the server does not upgrade", sends: []string{get + upgrade}},
		{proxy: "upgrade", name: "Upgrade to something else", sends: []string{get + strings.Replace(upgrade, "websocket", "h2c", 1)}},
	}
}

// squidsOwn are fields that Squid adds to what it sends and wslab's proxy does not, in every case.
var squidsOwn = map[string]string{
	"Server":           "of an error page: it names the program",
	"Mime-Version":     "of an error page: no client reads it",
	"X-Squid-Error":    "of an error page: its number in Squid; wslab's page says it in words",
	"Vary":             "of an error page: Squid has it in several languages",
	"Content-Language": "of an error page: as Vary",
	"X-Cache":          "Squid says so with its cache off as well; cache_entries does it here",
	"X-Cache-Lookup":   "as X-Cache",
	"Cache-Control":    "of a request: Squid bounds what caches behind it may answer with",
	"Date":             "of an answer that has none: the server's to say",
}

// squidDifferences by case. Elsewhere wslab's proxy does as Squid does: the same
// status lines, fields, bodies of forwarded answers and ends of connections.
func squidDifferences() map[string]squidDifference {
	const phrase = "Squid writes the phrase in its own way; clients go by the number"
	const via = "Squid leaves Via out of a 101 (RFC 9110 section 7.6.3 asks for it), and writes the token in its own way"
	const upgraded = "saw GET /upgrade HTTP/1.1; Host: {web}; Sec-WebSocket-Key: x; Sec-WebSocket-Version: 13; Upgrade: websocket; Via: 1.1 the-proxy; X-Forwarded-For: CLIENT "
	const failed = "where a tunnel fails Squid says no more than the status and its page, and closes"
	return map[string]squidDifference{
		"CONNECT, refused": {
			"HTTP/1.1 503 Service Unavailable\nFIN",
			"HTTP/1.1 503 Service Unavailable; Via: 1.1 the-proxy; Connection: close\nFIN", failed},
		"CONNECT, no answer": {
			"HTTP/1.1 503 Service Unavailable\nFIN",
			"HTTP/1.1 503 Service Unavailable; Via: 1.1 the-proxy; Connection: close\nFIN", failed},
		"CONNECT, no such name": {
			"HTTP/1.1 500 Internal Server Error\nFIN",
			"HTTP/1.1 503 Service Unavailable; Via: 1.1 the-proxy; Connection: close\nFIN",
			"ERR_CANNOT_FORWARD in 5.7, ERR_DNS_FAIL with 503 in others: to a client, both say that the server cannot be reached"},
		"CONNECT, no port": {
			"HTTP/1.1 503 Service Unavailable\nFIN",
			"HTTP/1.1 400 Bad Request; Via: 1.1 the-proxy; Connection: close\nFIN",
			"Squid takes 443 for granted, where nobody listens; RFC 9112 section 3.2.3 requires the port"},
		"version of HTTP": {
			"HTTP/1.1 505 HTTP Version not supported; Via: 1.1 the-proxy; Connection: close\nFIN",
			"HTTP/1.1 505 HTTP Version Not Supported; Via: 1.1 the-proxy; Connection: close\nFIN", phrase},
		"slow header": {
			"FIN",
			"HTTP/1.1 408 Request Timeout; Via: 1.1 the-proxy; Connection: close\nFIN",
			"Squid closes; who reads on learns why with RFC 9110 section 15.5.9"},
		"hop-by-hop": {
			"HTTP/1.1 200 OK; Server: test; Content-Length: 2; x-kept: 1; Via: 1.1 the-proxy; Connection: keep-alive; \"hi\"\nopen\n" +
				"saw GET / HTTP/1.1; Host: {web}; User-Agent: me; Via: 1.1 the-proxy; X-Forwarded-For: CLIENT; X-Kept: 1 ",
			"HTTP/1.1 200 OK; Server: test; Content-Length: 2; x-kept: 1; Via: 1.1 the-proxy; Connection: keep-alive; \"hi\"\nopen\n" +
				"saw GET / HTTP/1.1; Host: {web}; Via: 1.1 the-proxy; X-Forwarded-For: CLIENT; X-Kept: 1; user-agent: me ",
			"Squid writes the names that it knows in its own way"},
		"POST, 100-continue": {
			"HTTP/1.1 100 Continue; Connection: keep-alive\n" + hi + "saw POST / HTTP/1.1; Expect: 100-continue; Host: {web}; Via: 1.1 the-proxy; X-Forwarded-For: CLIENT abc",
			"HTTP/1.1 100 Continue\n" + hi + "saw POST / HTTP/1.1; Expect: 100-continue; Host: {web}; Via: 1.1 the-proxy; X-Forwarded-For: CLIENT abc",
			"an interim answer does not say whether the connection goes on"},
		"POST, two lengths": {
			"HTTP/1.1 411 Length Required; Via: 1.1 the-proxy; Connection: close\nFIN",
			"HTTP/1.1 400 Bad Request; Via: 1.1 the-proxy; Connection: close\nFIN",
			"RFC 9112 section 6.3 asks for 400"},
		"POST, length and chunked": {
			hi + "saw POST / HTTP/1.1; Host: {web}; Via: 1.1 the-proxy; X-Forwarded-For: CLIENT ",
			"HTTP/1.1 400 Bad Request; Via: 1.1 the-proxy; Connection: close\nFIN",
			"how requests are smuggled: RFC 9112 section 6.3 lets a proxy refuse it"},
		"POST, a chunk that is none": {
			"RST",
			"HTTP/1.1 400 Bad Request; Via: 1.1 the-proxy; Connection: close\nFIN",
			"Squid resets without a word; who reads on learns why"},
		"Upgrade that passes": {
			"HTTP/1.1 101 Switching Protocols; Sec-WebSocket-Accept: y; Upgrade: websocket; Connection: upgrade\n\"ping\\n\"\nopen\n" + upgraded,
			"HTTP/1.1 101 Switching Protocols; Sec-WebSocket-Accept: y; Via: 1.1 the-proxy; Upgrade: websocket; Connection: Upgrade\n\"ping\\n\"\nopen\n" + upgraded, via},
		"Upgrade that passes, the server's FIN": {
			"HTTP/1.1 101 Switching Protocols; Sec-WebSocket-Accept: y; Upgrade: websocket; Connection: upgrade\nFIN\n" + upgraded,
			"HTTP/1.1 101 Switching Protocols; Sec-WebSocket-Accept: y; Via: 1.1 the-proxy; Upgrade: websocket; Connection: Upgrade\nFIN\n" + upgraded, via},
		"GET, no such name": {
			"HTTP/1.1 502 Bad Gateway; Via: 1.1 the-proxy; Connection: keep-alive\nopen",
			"HTTP/1.1 503 Service Unavailable; Via: 1.1 the-proxy; Connection: keep-alive\nopen",
			"ERR_READ_ERROR in 5.7, as with CONNECT"},
	}
}

// hi is the view of an ordinary answer.
const hi = "HTTP/1.1 200 OK; Server: test; Content-Length: 2; x-kept: 1; Via: 1.1 the-proxy; Connection: keep-alive; \"hi\"\nopen\n"

// squidPeers are the servers of the test.
type squidPeers struct {
	names map[string]string // address by placeholder, as the proxy is asked for it
	ports map[string]string // port by placeholder
	mu    sync.Mutex
	saw   map[string][]string // by the client's address
}

func TestHTTPAsSquid(t *testing.T) {
	squid := findSquid(t)
	peers := newSquidPeers(t)
	noNames := startNoNames(t)
	addr := startSquid(t, squid, peers, noNames)
	settings := *newSettings()
	settings.Protocol = protocolHTTP
	settings.AllowConnect = nil
	for _, port := range peers.ports {
		n, _ := strconv.Atoi(port)
		settings.AllowConnect = append(settings.AllowConnect, n)
	}
	settings.AllowConnect = append(settings.AllowConnect, 443)
	settings.ReadTimeout = 3 * time.Second
	settings.TunnelEnd = tunnelEndClose
	settings.UnreachableStatus = http.StatusServiceUnavailable
	addrs := make(map[string]string)
	for proxy, set := range map[string]func(*Settings){
		"": func(*Settings) {}, "known": func(s *Settings) { s.Users = map[string]string{"alice": "secret", "carol": "secret"} }, "upgrade": func(s *Settings) { s.Upgrade = pass },
	} {
		configured := settings
		set(&configured)
		r := start(t, configured, nil)
		dial := r.env.Dial
		r.env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, _ := net.SplitHostPort(address)
			if host != "server" {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return dial(ctx, network, net.JoinHostPort("127.0.0.1", port))
		}
		addrs[proxy] = r.addr("3128")
	}
	cases := squidCases()
	theirs, ours := make([]string, len(cases)), make([]string, len(cases))
	var playing sync.WaitGroup
	for i, c := range cases { // at once: they mostly wait
		playing.Go(func() { theirs[i] = peers.play(addr[c.proxy], i, c) })
		playing.Go(func() { ours[i] = peers.play(addrs[c.proxy], 120+i, c) })
	}
	playing.Wait()
	differences := squidDifferences()
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if noNames == "" && strings.Contains(c.name, "no such name") {
				t.Skip("Squid has nobody to ask for names: only root can listen on port 53")
			}
			want, differs := differences[c.name]
			if !differs {
				want = squidDifference{squid: theirs[i], wslab: theirs[i]}
			}
			if theirs[i] != want.squid {
				t.Errorf("Squid:\n%s\nthe table says\n%s", theirs[i], want.squid)
			}
			if c.name == "POST, a chunk that is none" {
				// The head may have gone on before the body turned out to be none.
				ours[i], _, _ = strings.Cut(ours[i], "\nsaw ")
			}
			if ours[i] != want.wslab {
				t.Errorf("wslab:\n%s\nnot\n%s\nSquid:\n%s", ours[i], want.wslab, theirs[i])
			}
		})
	}
}

// play returns what the client sees and what the web server does, a line each.
func (p *squidPeers) play(proxy string, n int, c squidCase) string {
	client := net.IPv4(127, 0, 1, byte(n+1)) // what the servers see belongs to one case
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: client}}
	conn, err := dialer.Dial("tcp4", proxy)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	var seen []string
	in := bufio.NewReader(conn)
	end := ""
	for i, send := range c.sends {
		if _, err := io.WriteString(conn, p.expand(send)); err != nil {
			break // it has closed: the read tells how
		}
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if strings.HasPrefix(send, "RST") || strings.HasPrefix(send, "FIN") || strings.HasPrefix(send, "SILENCE") {
			break // there is only an end to come
		}
		message, err := readSquidMessage(in, c.name == "HEAD")
		if message != "" {
			seen = append(seen, message)
		}
		if end = howItEnded(err); end != "" {
			break
		}
		if strings.HasPrefix(message, "HTTP/1.1 100") || i < len(c.sends)-1 {
			continue
		}
	}
	if end == "" {
		patience := 400 * time.Millisecond
		if last := c.sends[len(c.sends)-1]; len(last) < 9 {
			patience = 10 * time.Second // there is an end to come, or nothing
		}
		if strings.Contains(c.name, "100-continue") || strings.HasSuffix(c.sends[len(c.sends)-1], "ping\n") {
			patience = 400 * time.Millisecond
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		rest, err := io.ReadAll(in)
		if len(rest) > 0 {
			seen = append(seen, fmt.Sprintf("%q", rest))
		}
		if end = howItEnded(err); err == nil {
			end = "FIN"
		}
		if end == "" {
			end = "open"
		}
	}
	seen = append(seen, end)
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.ReplaceAll(strings.Join(append(seen, p.saw[client.String()]...), "\n"), client.String(), "CLIENT")
	delete(p.saw, client.String())
	for placeholder, address := range p.names {
		text = strings.ReplaceAll(text, address, placeholder)
	}
	return text
}

func howItEnded(err error) string {
	switch {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return ""
	case errors.Is(err, syscall.ECONNRESET):
		return "RST"
	}
	return "FIN"
}

// readSquidMessage reads a line of the echo server, or an answer: its status line, its fields but
// those of Squid's own, and its body unless it is an error page.
func readSquidMessage(in *bufio.Reader, noBody bool) (string, error) {
	first, err := in.Peek(5)
	if err != nil {
		return "", err
	}
	if string(first) != "HTTP/" {
		line, err := in.ReadString('\n')
		return fmt.Sprintf("%q", line), err
	}
	h, raw, err := readHead(in, 1<<20)
	if err != nil {
		return "", err
	}
	if strings.Contains(h.line, " Connection established") {
		return fmt.Sprintf("%q", raw), nil // byte for byte
	}
	status, _ := strconv.Atoi(strings.Fields(h.line)[1])
	b, err := (&response{head: h, status: status, minor: 1}).body(map[bool]string{true: "HEAD"}[noBody])
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(b.reader(in))
	view := []string{h.line}
	page := status >= 400
	for _, f := range h.fields {
		if _, own := squidsOwn[f.name]; own && (page || f.name != "Server") || page && strings.HasPrefix(f.name, "Content-") {
			continue
		}
		value := strings.ReplaceAll(f.value, " (squid/5.7)", "")
		value = strings.TrimSuffix(value, `, charset="UTF-8"`) // Squid does not say what it takes: RFC 7617 section 2.1
		view = append(view, f.name+": "+value)
	}
	if !page && len(content) > 0 {
		view = append(view, fmt.Sprintf("%q", content))
	}
	return strings.Join(view, "; "), err
}

func (p *squidPeers) expand(text string) string {
	for placeholder, address := range p.names {
		text = strings.ReplaceAll(text, placeholder, address)
	}
	return text
}

func newSquidPeers(t *testing.T) *squidPeers {
	t.Helper()
	p := &squidPeers{names: make(map[string]string), ports: make(map[string]string), saw: make(map[string][]string)}
	name := func(placeholder, address string) {
		_, port, _ := net.SplitHostPort(address)
		p.names[placeholder], p.ports[placeholder] = "server:"+port, port
	}
	name("{echo}", serveEach(t, talkBack))
	name("{web}", serveEach(t, p.web))
	name("{refused}", refusedAddr(t))
	name("{silent}", silentAddr(t))
	return p
}

// serveEach serves connections on a loopback port until the test ends.
func serveEach(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			serving.Go(func() {
				serve(c.(*net.TCPConn))
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return l.Addr().String()
}

// talkBack echoes lines, and ends as it is told to.
func talkBack(c *net.TCPConn) {
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch line {
		case "RST\n":
			_ = c.SetLinger(0)
			return
		case "FIN\n":
			_ = c.CloseWrite()
		case "SILENCE\n":
		default:
			_, _ = io.WriteString(c, line)
		}
	}
}

// web is an origin that notes what it sees.
func (p *squidPeers) web(c *net.TCPConn) {
	in := bufio.NewReader(c)
	r, err := readRequestHead(in, 1<<20)
	if err != nil {
		return
	}
	content, _ := r.body()
	if r.has("Expect") {
		_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	sent, _ := io.ReadAll(content.reader(in))
	view := []string{}
	for _, f := range r.fields {
		if _, own := squidsOwn[f.name]; !own && !containsFold([]string{"Connection", "Content-Length", "Transfer-Encoding"}, f.name) {
			view = append(view, f.name+": "+strings.ReplaceAll(f.value, " (squid/5.7)", ""))
		}
	}
	slices.Sort(view) // Squid puts some of them elsewhere
	p.mu.Lock()
	clients := strings.Split(r.joined("X-Forwarded-For"), ", ")
	client := clients[len(clients)-1]
	p.saw[client] = append(p.saw[client], "saw "+r.line+"; "+strings.Join(view, "; ")+" "+string(sent))
	p.mu.Unlock()
	switch r.target {
	case "/fin":
	case "/rst":
		_ = c.SetLinger(0)
	case "/hang":
		_, _ = io.Copy(io.Discard, c)
	case "/upgrade":
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n")
		talkBack(c)
	case "/nolength":
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
	case "/chunked":
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")
	case "/short":
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
	default:
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nServer: test\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\n"+
			"Proxy-Authenticate: Basic realm=x\r\nUpgrade: websocket\r\nx-kept: 1\r\n\r\nhi")
	}
}

// silentAddr is an address that answers no SYN: its queue of connections is full.
func silentAddr(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*unix.SockaddrInet4).Port))
	for range 4 {
		c, err := net.DialTimeout("tcp4", addr, 300*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue does not fill")
	return ""
}

// findSquid skips the test where there is no Squid, or fails it where WSLAB_REQUIRE_PEERS is set.
func findSquid(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("squid")
	if err != nil {
		path = "/usr/sbin/squid" // where an ordinary user's PATH does not lead
		_, err = os.Stat(path)
	}
	if err == nil {
		return path
	}
	if os.Getenv("WSLAB_REQUIRE_PEERS") != "" {
		t.Fatal("there is no squid (Debian: squid), and WSLAB_REQUIRE_PEERS is set")
	}
	t.Skip("there is no squid (Debian: squid)")
	return ""
}

// startNoNames answers every question for a name with NXDOMAIN. It returns its address, or "" where it may
// not listen on the only port that Squid asks.
func startNoNames(t *testing.T) string {
	t.Helper()
	const address = "127.0.53.2"
	l, err := net.ListenPacket("udp4", address+":53")
	if err != nil {
		return ""
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		b := make([]byte, 1500)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			if n >= 12 {
				b[2], b[3] = 0x81, 0x83 // a response, NXDOMAIN: RFC 1035 section 4.1.1
				_, _ = l.WriteTo(b[:n], from)
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return address
}

// startSquid runs Squid on loopback ports, in the foreground, with files of its own, and returns its
// address for each configuration.
func startSquid(t *testing.T, squid string, peers *squidPeers, names string) map[string]string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wslab-squid-") // t.TempDir is in a directory that only we may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	effective := ""
	if os.Getuid() == 0 && !onlyUser() {
		u, err := user.Lookup("proxy")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		effective = "cache_effective_user proxy"
	}
	if names == "" {
		names = "127.0.0.1"
	}
	addrs := map[string]string{"": refusedAddr(t), "known": refusedAddr(t), "upgrade": refusedAddr(t)}
	// Squid asks once for a user whom it is asked about twice at a time: whoever has a wrong password is another one.
	const secret = "$apr1$wslab$F1Mn2TcmDYqJQm4LDO9dt/\n" // "secret"
	passwords := filepath.Join(dir, "passwd")
	if err := os.WriteFile(passwords, []byte("alice:"+secret+"carol:"+secret), 0o644); err != nil {
		t.Fatal(err)
	}
	hosts, config, log := filepath.Join(dir, "hosts"), filepath.Join(dir, "squid.conf"), filepath.Join(dir, "cache.log")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 server\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
http_port %s name=plain
http_port %s name=known
http_port %s name=upgrade
visible_hostname the-proxy
auth_param basic program /usr/lib/squid/basic_ncsa_auth %s
auth_param basic children 8 startup=8
auth_param basic realm the-proxy
acl authenticated myportname known
acl users proxy_auth REQUIRED
acl upgrading myportname upgrade
http_upgrade_request_protocols websocket allow upgrading
http_upgrade_request_protocols OTHER allow upgrading
icp_port 0
htcp_port 0
snmp_port 0
pinger_enable off
%s
pid_filename %s
cache_log %s
coredump_dir %s
access_log none
netdb_filename none
cache deny all
hosts_file %s
dns_nameservers %s
dns_timeout 1 second
connect_timeout 3 seconds
forward_timeout 6 seconds
connect_retries 0
read_timeout 3 seconds
request_timeout 4 seconds
shutdown_lifetime 0 seconds
server_persistent_connections off
acl ports port 443 %s
acl CONNECT method CONNECT
http_access deny CONNECT !ports
http_access deny authenticated !users
http_access allow all
`, addrs[""], addrs["known"], addrs["upgrade"], passwords, effective, filepath.Join(dir, "pid"), log, dir, hosts, names, strings.Join([]string{peers.ports["{echo}"], peers.ports["{web}"], peers.ports["{refused}"], peers.ports["{silent}"]}, " "))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// Its name is part of names that all processes share.
	cmd := exec.Command(squid, "-n", "wslab"+strconv.Itoa(os.Getpid()), "-N", "-f", config)
	ordinary(cmd)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			written, _ := os.ReadFile(log)
			t.Logf("squid:\n%s\n%s", output.String(), written)
		}
	})
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp4", addrs["upgrade"]); err == nil { // the last one
			_ = c.Close()
			return addrs
		}
	}
	written, _ := os.ReadFile(log)
	t.Fatalf("squid does not listen:\n%s\n%s", output.String(), written)
	return nil
}
