package firewall

import (
	"bytes"
	"strconv"
	"strings"
)

// request is what is looked at in the header of a request of HTTP/1.
type request struct {
	method string
	// webSocket says that it asks for an upgrade to WebSocket (RFC 6455, section 4.1),
	// upgrade that it asks for one to anything.
	webSocket, upgrade bool
	// What its body is delimited by (RFC 9112, section 6.3).
	length  int64
	chunked bool
	// endless says that it cannot be told where its body ends.
	endless bool
}

// parseLine reads a request line and says whether it is, or, unless it is complete, can
// become, one of HTTP/1 (RFC 9112, section 3).
func (q *request) parseLine(line []byte, complete bool) bool {
	const longestMethod = 32
	method, rest, spaced := bytes.Cut(line, []byte(" "))
	if len(method) > longestMethod || bytes.ContainsFunc(method, func(r rune) bool { return !isToken(r) }) {
		return false
	}
	q.method = string(method)
	if !complete {
		return !spaced || len(method) > 0
	}
	i := bytes.LastIndexByte(rest, ' ')
	return len(method) > 0 && i > 0 && bytes.HasPrefix(rest[i+1:], []byte("HTTP/1."))
}

// parseHeader reads header lines up to the empty one. It returns what follows that, and
// whether it was there.
func (q *request) parseHeader(b []byte) (rest []byte, complete bool) {
	lengths := make(map[string]bool)
	codings := ""
	for header := ""; ; {
		var line []byte
		if line, b, complete = cutLine(b); !complete {
			return nil, false
		}
		if len(line) == 0 {
			break
		}
		name, value, named := bytes.Cut(line, []byte(":"))
		switch folded := line[0] == ' ' || line[0] == '\t'; {
		case folded: // obs-fold (RFC 9112, section 5.2)
			value = line
		case named:
			header = strings.ToLower(string(bytes.TrimSpace(name)))
		default:
			header = ""
		}
		switch header {
		case "upgrade":
			q.upgrade = true
			q.webSocket = q.webSocket || asksForWebSocket(value)
			if q.webSocket {
				return nil, false // enough is known
			}
		case "content-length":
			lengths[string(bytes.TrimSpace(value))] = true
		case "transfer-encoding":
			codings += "," + string(value)
		}
	}
	q.delimit(lengths, codings)
	return b, true
}

// delimit finds out where the body ends. Of two ways to tell, or two lengths, none holds
// here, whatever a server would make of them.
func (q *request) delimit(lengths map[string]bool, codings string) {
	if codings != "" {
		last := codings[strings.LastIndexByte(codings, ',')+1:]
		q.chunked = strings.EqualFold(strings.TrimSpace(last), "chunked")
		q.endless = !q.chunked || len(lengths) > 0
		return
	}
	for text := range lengths {
		n, err := strconv.ParseUint(text, 10, 62)
		q.length = int64(n)
		q.endless = err != nil || len(lengths) > 1
	}
}

// parseChunkSize reads the line before a chunk (RFC 9112, section 7.1).
func parseChunkSize(line []byte) (int64, bool) {
	text, _, _ := bytes.Cut(line, []byte(";"))
	n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 16, 62)
	return int64(n), err == nil
}

// cutLine cuts the first line off, without its end.
func cutLine(b []byte) (line, rest []byte, complete bool) {
	line, rest, complete = bytes.Cut(b, []byte("\n"))
	if complete {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line, rest, complete
}

// isToken says whether a method may hold that character (tchar of RFC 9110, section 5.6.2).
func isToken(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// asksForWebSocket says whether a list of protocols holds "websocket", whatever its version.
func asksForWebSocket(value []byte) bool {
	for protocol := range bytes.SplitSeq(value, []byte(",")) {
		name, _, _ := bytes.Cut(protocol, []byte("/"))
		if strings.EqualFold(string(bytes.TrimSpace(name)), "websocket") {
			return true
		}
	}
	return false
}
