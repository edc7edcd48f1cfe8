package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// head is the start line and the fields of an HTTP/1.1 message (RFC 9112 section 2.1).
// Names keep their case and fields their order: that is how a proxy passes them on.
type head struct {
	line   string
	fields []field
}

type field struct{ name, value string }

// What is wrong with a head that cannot be read.
var (
	errLineTooLong    = errors.New("the first line is too long")
	errHeaderTooLarge = errors.New("the header is too large")
)

// syntaxError says in what a message is none.
type syntaxError string

// Error returns what is wrong.
func (e syntaxError) Error() string { return string(e) }

func malformed(format string, args ...any) error { return syntaxError(fmt.Sprintf(format, args...)) }

// readHead reads a head of at most limit bytes, and returns it as it came as well. Empty
// lines before it are skipped (RFC 9112 section 2.2). An end of the input before the first
// byte of a head is io.EOF, one inside it io.ErrUnexpectedEOF.
func readHead(in *bufio.Reader, limit int) (h *head, raw []byte, err error) {
	for {
		start := len(raw)
		raw, err = appendLine(raw, in, limit)
		switch text := bytes.TrimRight(raw[start:], "\r\n"); {
		case errors.Is(err, errHeaderTooLarge) && h == nil:
			return nil, raw, errLineTooLong
		case err != nil:
			if h == nil && len(text) == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF
			}
			return nil, raw, err
		case h == nil && len(text) == 0:
			// an empty line before the first one
		case h == nil:
			h = &head{line: string(text)}
		case len(text) == 0:
			return h, raw, nil
		default:
			if err := h.parseField(string(text)); err != nil {
				return nil, raw, err
			}
		}
	}
}

// appendLine appends the next line to raw, its end included. It looks at what has come,
// however little, so that too much of it is noticed at once.
func appendLine(raw []byte, in *bufio.Reader, limit int) ([]byte, error) {
	for {
		if _, err := in.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return raw, err
		}
		part, _ := in.Peek(in.Buffered()) // no error: it is there
		end := bytes.IndexByte(part, '\n')
		if end >= 0 {
			part = part[:end+1]
		}
		raw = append(raw, part...)
		_, _ = in.Discard(len(part))
		if len(raw) > limit {
			return raw, errHeaderTooLarge
		}
		if end >= 0 {
			return raw, nil
		}
	}
}

// parseField adds a field line. One that begins with a blank goes on with the field before
// it (RFC 9112 section 5.2): the two are joined, as the RFC asks of a proxy that does not refuse.
func (h *head) parseField(line string) error {
	value := strings.Trim(line, " \t")
	if !httpguts.ValidHeaderFieldValue(value) {
		return malformed("a header field holds control characters")
	}
	if line[0] == ' ' || line[0] == '\t' {
		if len(h.fields) == 0 {
			return malformed("the first header field begins with a blank")
		}
		last := &h.fields[len(h.fields)-1]
		last.value = strings.Trim(last.value+" "+value, " ")
		return nil
	}
	name, value, ok := strings.Cut(line, ":")
	switch {
	case !ok:
		return malformed("the header line %.60q has no colon", line)
	case !httpguts.ValidHeaderFieldName(name): // a blank before the colon as well: RFC 9112 section 5.1
		return malformed("%.60q is no name of a header field", name)
	}
	h.fields = append(h.fields, field{name, strings.Trim(value, " \t")})
	return nil
}

// values of a field, in order.
func (h *head) values(name string) []string {
	var values []string
	for _, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// get returns the first value of a field, or "".
func (h *head) get(name string) string {
	if v := h.values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (h *head) has(name string) bool { return len(h.values(name)) > 0 }

// joined is all values of a field as one list (RFC 9110 section 5.3).
func (h *head) joined(name string) string { return strings.Join(h.values(name), ", ") }

// tokens of a field that is a list, in lower case.
func (h *head) tokens(name string) []string {
	var tokens []string
	for _, value := range h.values(name) {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.ToLower(strings.Trim(part, " \t")); part != "" {
				tokens = append(tokens, part)
			}
		}
	}
	return tokens
}

func (h *head) hasToken(name, token string) bool {
	for _, t := range h.tokens(name) {
		if t == token {
			return true
		}
	}
	return false
}

func (h *head) add(name, value string) { h.fields = append(h.fields, field{name, value}) }

func (h *head) del(names ...string) {
	kept := h.fields[:0:0]
	for _, f := range h.fields {
		if !containsFold(names, f.name) {
			kept = append(kept, f)
		}
	}
	h.fields = kept
}

// set gives a field one value, at its first place or at the end.
func (h *head) set(name, value string) {
	for i, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			rest := &head{fields: h.fields[i+1:]}
			rest.del(name)
			h.fields = append(append(h.fields[:i:i], field{f.name, value}), rest.fields...)
			return
		}
	}
	h.add(name, value)
}

// appendTo adds an element to a field that is a list, as one field at the end.
func (h *head) appendTo(name, element string) {
	if before := h.joined(name); before != "" {
		element = before + ", " + element
	}
	h.del(name)
	h.add(name, element)
}

func (h *head) clone() *head {
	return &head{line: h.line, fields: append([]field(nil), h.fields...)}
}

// bytes of the head with the empty line behind it.
func (h *head) bytes() []byte {
	b := append([]byte(h.line), "\r\n"...)
	for _, f := range h.fields {
		b = append(append(append(append(b, f.name...), ": "...), f.value...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

func containsFold(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// connectionFields are about one connection only (RFC 9110 section 7.6.1).
var connectionFields = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info",
}

// stripConnection removes what is about one connection only, and all that Connection names.
func (h *head) stripConnection() {
	named := append(h.tokens("Connection"), h.tokens("Proxy-Connection")...)
	h.del(append(named, connectionFields...)...)
}

// upgrades says whether the message asks for another protocol, or agrees to one (RFC 9110
// section 7.8).
func (h *head) upgrades() bool { return h.has("Upgrade") && h.hasToken("Connection", "upgrade") }

// request is the head of a request.
type request struct {
	*head
	method, target string
	// minor version of HTTP/1.
	minor int
	// raw is the head as it came.
	raw []byte
}

// errVersion says that a request is of another major version of HTTP.
var errVersion = errors.New("only HTTP/1 is spoken here")

// readRequestHead reads a request up to its body.
func readRequestHead(in *bufio.Reader, limit int) (*request, error) {
	h, raw, err := readHead(in, limit)
	if err != nil {
		if h == nil && bytes.HasPrefix(bytes.TrimLeft(raw, "\r\n"), []byte("PRI * HTTP/2.0")) {
			err = errVersion
		}
		return nil, err
	}
	r := &request{head: h, raw: raw}
	parts := strings.Split(h.line, " ")
	if len(parts) != 3 {
		return nil, malformed("the first line is not METHOD TARGET HTTP/1.1")
	}
	r.method, r.target = parts[0], parts[1]
	if !httpguts.ValidHeaderFieldName(r.method) { // a token as well
		return nil, malformed("%.60q is no method", r.method)
	}
	if r.target == "" || strings.ContainsFunc(r.target, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return nil, malformed("%.60q is no target of a request", r.target)
	}
	if r.minor, err = parseVersion(parts[2]); err != nil {
		return nil, err
	}
	return r, nil
}

// parseVersion reads HTTP-version (RFC 9112 section 2.3).
func parseVersion(text string) (minor int, err error) {
	digits, ok := strings.CutPrefix(text, "HTTP/")
	if !ok || len(digits) != 3 || digits[1] != '.' || !isDigit(digits[0]) || !isDigit(digits[2]) {
		return 0, malformed("%.60q is no version of HTTP", text)
	}
	if digits[0] != '1' {
		return 0, errVersion
	}
	return int(digits[2] - '0'), nil
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// keepsAlive says whether the sender goes on with the connection (RFC 9112 section 9.3).
// Old clients of proxies write Proxy-Connection.
func (r *request) keepsAlive() bool {
	said := func(token string) bool {
		return r.hasToken("Connection", token) || r.hasToken("Proxy-Connection", token)
	}
	if said("close") {
		return false
	}
	return r.minor >= 1 || said("keep-alive")
}

// response is the head of a response.
type response struct {
	*head
	status int
	minor  int
}

// readResponseHead reads a response up to its body.
func readResponseHead(in *bufio.Reader, limit int) (*response, error) {
	h, _, err := readHead(in, limit)
	if err != nil {
		return nil, err
	}
	version, rest, _ := strings.Cut(h.line, " ")
	code, _, _ := strings.Cut(rest, " ")
	r := &response{head: h}
	if r.minor, err = parseVersion(version); err != nil {
		return nil, malformed("%.60q is no status line", h.line)
	}
	if r.status, err = strconv.Atoi(code); err != nil || len(code) != 3 || r.status < 100 {
		return nil, malformed("%.60q is no status line", h.line)
	}
	return r, nil
}
