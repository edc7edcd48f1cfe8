package proxy

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
)

// body is how a message's body is delimited (RFC 9112 section 6.3).
type body struct {
	// length in bytes, where it is neither chunked nor ends with the connection.
	length         int64
	chunked, toEnd bool
}

// errCoding says that a body has a transfer coding that nobody uses.
var errCoding = errors.New("a transfer coding other than chunked is not understood")

// requestBody says how the body of a request is delimited.
func (r *request) body() (body, error) {
	b, err := r.delimited()
	if err == nil && b.chunked && r.minor == 0 {
		return body{}, malformed("a request of HTTP/1.0 has no transfer coding")
	}
	b.toEnd = false // a request without a length has no body
	return b, err
}

// body says how the body of the answer to a request is delimited.
func (r *response) body(method string) (body, error) {
	if method == http.MethodHead || r.status < 200 || r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		return body{}, nil
	}
	return r.delimited()
}

// delimited reads Transfer-Encoding and Content-Length. Both at once, or two different lengths, are how
// requests are smuggled past a proxy: RFC 9112 section 6.3 lets a proxy refuse them.
func (h *head) delimited() (body, error) {
	codings, lengths := h.tokens("Transfer-Encoding"), h.values("Content-Length")
	switch {
	case len(codings) > 0 && len(lengths) > 0:
		return body{}, malformed("Transfer-Encoding and Content-Length contradict each other")
	case len(codings) == 1 && codings[0] == "chunked":
		return body{chunked: true}, nil
	case len(codings) > 0:
		return body{}, errCoding
	case len(lengths) == 0:
		return body{toEnd: true}, nil
	}
	for _, l := range lengths[1:] {
		if l != lengths[0] {
			return body{}, malformed("there are two values of Content-Length")
		}
	}
	n, err := strconv.ParseUint(lengths[0], 10, 63)
	if err != nil || strings.HasPrefix(lengths[0], "+") {
		return body{}, malformed("%.60q is no Content-Length", lengths[0])
	}
	return body{length: int64(n)}, nil
}

// none says whether there is no body at all.
func (b body) none() bool { return !b.chunked && !b.toEnd && b.length == 0 }

// reader reads the body from what follows the head. A body that ends too soon ends with
// io.ErrUnexpectedEOF.
func (b body) reader(in *bufio.Reader) io.Reader {
	switch {
	case b.chunked:
		return &chunked{in: in, data: httputil.NewChunkedReader(in)}
	case b.toEnd:
		return in
	}
	return &exactly{from: in, left: b.length}
}

// chunked reads a chunked body and the trailer section behind it, which it drops: RFC 9110 section 6.5.1
// lets a proxy do so.
type chunked struct {
	in   *bufio.Reader
	data io.Reader
	err  error
}

// Read returns io.EOF behind the trailer section.
func (c *chunked) Read(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.data.Read(b)
	if errors.Is(err, io.EOF) {
		err = c.skipTrailer()
	}
	c.err = err
	return n, err
}

func (c *chunked) skipTrailer() error {
	var raw []byte
	for {
		start := len(raw)
		var err error
		if raw, err = appendLine(raw, c.in, maxRequestHeader); err != nil {
			return err
		}
		if strings.Trim(string(raw[start:]), "\r\n") == "" {
			return io.EOF
		}
	}
}

// exactly reads that many bytes.
type exactly struct {
	from io.Reader
	left int64
}

// Read returns io.ErrUnexpectedEOF where there are fewer.
func (e *exactly) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.from.Read(b[:min(int64(len(b)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// copyBody writes a body, piece by piece as it comes, chunked or as it is.
func copyBody(to io.Writer, from io.Reader, chunk bool) error {
	out := bufio.NewWriter(to)
	write := io.Writer(out)
	var chunks io.WriteCloser
	if chunk {
		chunks = httputil.NewChunkedWriter(out)
		write = chunks
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := write.Write(buffer[:n]); err != nil {
				return err
			}
			if err := out.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if !chunk {
		return nil
	}
	if err := chunks.Close(); err != nil {
		return err
	}
	if _, err := out.WriteString("\r\n"); err != nil {
		return err
	}
	return out.Flush()
}
