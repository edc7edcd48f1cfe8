package firewall

import (
	"errors"
	"strings"
)

// inspectLimit is how much of a header, or of a ClientHello, is held back and looked at.
const inspectLimit = 64 << 10

// stream follows what a client sends, and says what to do about what it finds. It is
// fed by one goroutine.
type stream struct {
	treat func(f finding, name string) treatment
	// step looks at what comes next. It returns how much of it may go, and false if
	// more is needed before the next step.
	step func(*stream, []byte) (int, bool)
	// left of a body or of a chunk.
	left int64
	// requests that were seen.
	requests int
	// names says that server names of TLS are asked for.
	names bool
	// unsure says that what comes may well be something else than HTTP, so that only
	// what can become a request that matters is held back.
	unsure bool

	// found is what is to be done, once that is known; over says that there is nothing
	// more to be found.
	found *treatment
	over  bool
}

// newStream follows a stream from its beginning, or from somewhere in the middle.
func newStream(whole, names bool, treat func(finding, string) treatment) *stream {
	return &stream{treat: treat, step: (*stream).begin, names: names, unsure: !whole}
}

// feed looks at what was sent and not let go yet. It returns how much of it may go; all
// of it may once the stream is over.
func (s *stream) feed(held []byte) int {
	gone := 0
	for !s.over && s.found == nil && gone < len(held) {
		n, again := s.step(s, held[gone:])
		gone += n
		if !again {
			break
		}
	}
	if !s.over && s.found == nil && len(held)-gone >= inspectLimit {
		s.over = true // nobody has such a header
	}
	return gone
}

func (s *stream) end() (int, bool) {
	s.over = true
	return 0, false
}

// find asks what is to be done about a finding, and says whether that is anything. A
// name of TLS is passed for good by an entry that says so.
func (s *stream) find(f finding, name string) bool {
	t := s.treat(f, name)
	if t.action == "" || t.action == Pass {
		return false
	}
	s.found = &t
	return true
}

// begin tells TLS from HTTP.
func (s *stream) begin(b []byte) (int, bool) {
	s.step = (*stream).request
	if b[0] == recordHandshake {
		if !s.names {
			return s.end()
		}
		s.step = (*stream).hello
	}
	return 0, true
}

// hello waits for the ClientHello.
func (s *stream) hello(b []byte) (int, bool) {
	name, err := serverName(b)
	switch {
	case errors.Is(err, errMore):
		return 0, false
	case err != nil || !s.find(tlsServerName, name):
		return s.end()
	}
	return 0, false
}

// request waits for a request.
func (s *stream) request(b []byte) (int, bool) {
	line, rest, complete := cutLine(b)
	if s.requests > 0 { // an empty line may stand before a request (RFC 9112, section 2.2)
		switch {
		case complete && len(line) == 0:
			return len(b) - len(rest), true
		case string(b) == "\r":
			return 0, false
		}
	}
	var q request
	if !q.parseLine(line, complete) || s.unsure && !complete && !matters(q.method) {
		return s.end()
	}
	if !complete {
		return 0, false
	}
	if s.find(plainHTTP, "") || q.method == "CONNECT" && s.find(connect, "") {
		return 0, false
	}
	rest, complete = q.parseHeader(rest)
	if q.webSocket && s.find(webSocket, "") {
		return 0, false
	}
	if !complete {
		if !q.webSocket {
			return 0, false
		}
		return s.end() // it passes: frames follow
	}
	s.requests++
	s.unsure = q.upgrade || q.method == "CONNECT"
	switch {
	case q.method == "CONNECT":
		s.step = (*stream).begin // what is in the tunnel
	case q.endless:
		return s.end()
	case q.chunked:
		s.step = (*stream).chunk
	case q.length > 0:
		s.left, s.step = q.length, (*stream).body
	}
	return len(b) - len(rest), true
}

// matters says whether the beginning of a method can be that of a request which
// is looked for: an upgrade is asked for with GET (RFC 6455, section 4.1).
func matters(method string) bool {
	return strings.HasPrefix("GET", method) || strings.HasPrefix("CONNECT", method)
}

// body lets the body of a request go.
func (s *stream) body(b []byte) (int, bool) {
	n := min(int64(len(b)), s.left)
	if s.left -= n; s.left == 0 {
		s.step = (*stream).request
	}
	return int(n), true
}

// chunk waits for the line before a chunk.
func (s *stream) chunk(b []byte) (int, bool) {
	line, rest, complete := cutLine(b)
	if !complete {
		return 0, false
	}
	size, ok := parseChunkSize(line)
	if !ok {
		return s.end()
	}
	if s.left, s.step = size, (*stream).chunkData; size == 0 {
		s.step = (*stream).trailer
	}
	return len(b) - len(rest), true
}

// chunkData lets a chunk go, and the end of line behind it.
func (s *stream) chunkData(b []byte) (int, bool) {
	if s.left > 0 {
		n := min(int64(len(b)), s.left)
		s.left -= n
		return int(n), true
	}
	line, rest, complete := cutLine(b)
	switch {
	case !complete && len(b) < 2:
		return 0, false
	case !complete || len(line) > 0:
		return s.end()
	}
	s.step = (*stream).chunk
	return len(b) - len(rest), true
}

// trailer lets the lines behind the last chunk go.
func (s *stream) trailer(b []byte) (int, bool) {
	line, rest, complete := cutLine(b)
	if !complete {
		return 0, false
	}
	if len(line) == 0 {
		s.step = (*stream).request
	}
	return len(b) - len(rest), true
}
