package handshake

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// MaxHead is how many bytes a head may have; what is longer is cut off, and a problem.
const MaxHead = 64 << 10

// Head is the head of a request or of a response: a start line and header fields.
type Head struct {
	// Start is the first line.
	Start Line
	// Fields in their order.
	Fields []Field
	// problems of the text itself, found when it was parsed.
	problems []Problem
	// parsed from text, with places.
	parsed bool
}

// Line is a line of text with its number, counted from 1; 0 where there is no text.
type Line struct {
	Text   string
	Number int
}

// Field is a header field.
type Field struct {
	Name, Value string
	// Line is the number of its line, Column that of the first character of its value,
	// both counted from 1; 0 where there is no text.
	Line, Column int
}

// Parse reads a head from text, as a person may have copied it: lines may end with LF
// alone and the empty line at the end may be missing, which is noted. It never fails: what
// is wrong is among the problems that a check of the head returns.
func Parse(text []byte) *Head {
	h := &Head{parsed: true}
	if len(text) > MaxHead {
		text = text[:MaxHead]
		h.problem(Problem{ID: headTooLong, Line: bytes.Count(text, []byte("\n")) + 1, Column: 1, Args: Args{"limit": "65536"}})
	}
	number, ended := 0, false
	for len(text) > 0 && !ended {
		raw, rest, whole := bytes.Cut(text, []byte("\n"))
		number++
		text = rest
		line := strings.TrimSuffix(string(raw), "\r")
		switch {
		case number == 1:
			h.Start = Line{line, 1}
		case line == "" && (whole || len(raw) > 0):
			ended = true
		default:
			h.field(line, number)
		}
	}
	if h.Start.Number == 0 {
		h.Start.Number = 1
	}
	if !ended {
		h.problem(Problem{ID: headNotEnded, Note: true, Line: max(number, 1), Column: 1})
	}
	if ended && len(bytes.TrimSpace(text)) > 0 {
		h.problem(Problem{ID: dataAfterHead, Note: true, Line: number + 1, Column: 1})
	}
	return h
}

// maxFields bounds how many fields are looked at.
const maxFields = 1000

// field reads one line of the head.
func (h *Head) field(line string, number int) {
	if len(h.Fields) >= maxFields {
		return
	}
	if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
		h.problem(Problem{ID: foldedLine, Line: number, Column: 1})
		return
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		h.problem(Problem{ID: noColon, Line: number, Column: 1, Width: runes(line), Args: Args{"value": line}})
		return
	}
	bare := strings.TrimRight(name, " \t")
	switch {
	case bare != name && isToken(bare):
		h.problem(Problem{ID: spaceBeforeColon, Line: number, Column: runes(bare) + 1, Args: Args{"field": bare}})
	case !isToken(name):
		h.problem(Problem{ID: badName, Line: number, Column: 1, Width: runes(name), Args: Args{"value": name}})
	}
	trimmed := strings.Trim(value, " \t")
	column := runes(name) + 2
	if trimmed != "" {
		column += runes(value[:strings.Index(value, trimmed)])
	}
	if i := strings.IndexFunc(trimmed, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); i >= 0 {
		h.problem(Problem{ID: badByte, Line: number, Column: column + runes(trimmed[:i]), Args: Args{"field": bare}})
	}
	h.Fields = append(h.Fields, Field{Name: bare, Value: trimmed, Line: number, Column: column})
}

func (h *Head) problem(p Problem) { h.problems = append(h.problems, p) }

// runes counts characters.
func runes(s string) int { return len([]rune(s)) }

// FromRequest is the head of a request that a server has read. What net/http does not
// keep (the order of fields of different names) is made up.
func FromRequest(r *http.Request) *Head {
	h := &Head{Start: Line{Text: r.Method + " " + r.RequestURI + " " + r.Proto}}
	if r.Host != "" {
		h.Fields = append(h.Fields, Field{Name: "Host", Value: r.Host})
	}
	var names []string
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			h.Fields = append(h.Fields, Field{Name: name, Value: value})
		}
	}
	return h
}

// Named returns the fields of a name, which is compared without regard to case.
func (h *Head) Named(name string) []Field {
	var found []Field
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, name) {
			found = append(found, f)
		}
	}
	return found
}

// Value returns the value of the first field of a name, "" if there is none.
func (h *Head) Value(name string) string {
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// values returns those of all fields of a name.
func (h *Head) values(name string) []string {
	var all []string
	for _, f := range h.Named(name) {
		all = append(all, f.Value)
	}
	return all
}

// hasToken says whether a token is in the list that the fields of a name make
// (RFC 9110, section 5.6.1), without regard to case.
func (h *Head) hasToken(name, token string) bool {
	for _, value := range h.values(name) {
		for item := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// IsResponse says whether the text begins as a response does.
func (h *Head) IsResponse() bool { return strings.HasPrefix(h.Start.Text, "HTTP/") }

// AsksForWebSocket says whether a request means to open a WebSocket, rightly or not:
// it has Upgrade: websocket, or a field that only such a request has.
func (h *Head) AsksForWebSocket() bool {
	return h.hasToken("Upgrade", "websocket") ||
		slices.ContainsFunc([]string{"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Key1"}, func(name string) bool {
			return len(h.Named(name)) > 0
		})
}

// isToken says whether a text is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !isTokenChar(r) }) < 0
}

func isTokenChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
