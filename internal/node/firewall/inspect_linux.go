package firewall

import (
	"bytes"
	"strings"

	"github.com/wslab/wslab/internal/node/intercept"
)

// inspectLimit is how much of a request is looked at.
const inspectLimit = 64 << 10

// upgradeInspector finds the opening handshake of a WebSocket (RFC 6455, section 4.1)
// in the first request of a cleartext stream.
type upgradeInspector struct {
	// found is the decision about such a stream.
	found intercept.Decision
}

var pass = intercept.Decision{Verdict: intercept.Pass}

// Inspect decides as soon as what was sent cannot become an HTTP/1 request, when
// the header asks for the upgrade, and when the header is complete. A decision holds
// whatever follows.
func (u upgradeInspector) Inspect(sent []byte) intercept.Decision {
	tooLong := len(sent) >= inspectLimit
	sent = sent[:min(len(sent), inspectLimit)]
	line, rest, complete := cutLine(sent)
	if !requestLine(line, complete) {
		return pass
	}
	for header := ""; complete; {
		if line, rest, complete = cutLine(rest); !complete {
			break
		}
		if len(line) == 0 {
			return pass
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
		if header == "upgrade" && asksForWebSocket(value) {
			return u.found
		}
	}
	if tooLong {
		return pass
	}
	return intercept.Decision{}
}

// cutLine cuts the first line off, without its end.
func cutLine(b []byte) (line, rest []byte, complete bool) {
	line, rest, complete = bytes.Cut(b, []byte("\n"))
	if complete {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line, rest, complete
}

// requestLine says whether a line is, or, unless it is complete, can become, the
// request line of HTTP/1 (RFC 9112, section 3).
func requestLine(line []byte, complete bool) bool {
	const longestMethod = 32
	method, rest, spaced := bytes.Cut(line, []byte(" "))
	if len(method) > longestMethod || bytes.ContainsFunc(method, func(r rune) bool { return !isToken(r) }) {
		return false
	}
	if !complete {
		return !spaced || len(method) > 0
	}
	i := bytes.LastIndexByte(rest, ' ')
	return len(method) > 0 && i > 0 && bytes.HasPrefix(rest[i+1:], []byte("HTTP/1."))
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
