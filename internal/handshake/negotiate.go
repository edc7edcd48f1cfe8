package handshake

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// reason is why something cannot be read or agreed on, in both languages.
type reason struct{ en, ja string }

// Error is the English text.
func (r reason) Error() string { return r.en }

func reasonf(en, ja string, args ...any) error {
	return reason{fmt.Sprintf(en, args...), fmt.Sprintf(ja, args...)}
}

// why are the arguments of a problem that an error is the reason of.
func why(err error) Args {
	if r, ok := err.(reason); ok {
		return Args{"why": r.en, "whyJa": r.ja}
	}
	return Args{"why": err.Error(), "whyJa": err.Error()}
}

// Protocols reads the subprotocols of a request in the client's order: tokens, each
// once (RFC 6455, section 4.1, item 10).
func Protocols(values []string) ([]string, error) {
	var all []string
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			name := strings.Trim(item, " \t")
			switch {
			case name == "":
				return nil, reasonf("an empty name in the list", "リストに空の名前がある")
			case !isToken(name):
				return nil, reasonf("%q is no token", "%q はトークンではない", name)
			case slices.Contains(all, name):
				return nil, reasonf("%q is there twice", "%q が 2 回ある", name)
			}
			all = append(all, name)
		}
	}
	return all, nil
}

// ChooseProtocol returns the first of the server's subprotocols that the client has
// offered, "" if they have none in common. Names are compared as they are.
func ChooseProtocol(server, client []string) string {
	for _, name := range server {
		if slices.Contains(client, name) {
			return name
		}
	}
	return ""
}

// Extension is an extension with its parameters (RFC 6455, section 9.1).
type Extension struct {
	Name   string  `json:"name"`
	Params []Param `json:"params,omitempty"`
}

// Param is a parameter of an extension; Value is "" where it has none.
type Param struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// String writes the extension as it stands in a header.
func (e Extension) String() string {
	var b strings.Builder
	b.WriteString(e.Name)
	for _, p := range e.Params {
		b.WriteString("; " + p.Name)
		if p.Value != "" {
			b.WriteString("=" + p.Value)
		}
	}
	return b.String()
}

// maxExtensions bounds how many extensions, and parameters of each, are read.
const maxExtensions = 100

// Extensions reads the values of Sec-WebSocket-Extensions (RFC 6455, section 9.1).
func Extensions(values []string) ([]Extension, error) {
	var all []Extension
	for _, value := range values {
		s := scanner{value}
		for {
			e, err := s.extension()
			if err != nil {
				return nil, err
			}
			if all = append(all, e); len(all) > maxExtensions {
				return nil, reasonf("too many extensions", "拡張が多すぎる")
			}
			if s.end() {
				break
			}
			if !s.take(',') {
				return nil, reasonf("%q stands where a comma or a semicolon is due", "コンマかセミコロンがあるべきところに %q がある", s.rest)
			}
		}
	}
	return all, nil
}

// scanner reads a header's value.
type scanner struct{ rest string }

func (s *scanner) space()    { s.rest = strings.TrimLeft(s.rest, " \t") }
func (s *scanner) end() bool { s.space(); return s.rest == "" }

func (s *scanner) take(c byte) bool {
	s.space()
	if s.rest != "" && s.rest[0] == c {
		s.rest = s.rest[1:]
		return true
	}
	return false
}

func (s *scanner) token() string {
	s.space()
	n := strings.IndexFunc(s.rest, func(r rune) bool { return !isTokenChar(r) })
	if n < 0 {
		n = len(s.rest)
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token
}

func (s *scanner) extension() (Extension, error) {
	e := Extension{Name: s.token()}
	if e.Name == "" {
		return e, reasonf("the name of an extension is missing", "拡張の名前がない")
	}
	for s.take(';') {
		p := Param{Name: s.token()}
		if p.Name == "" {
			return e, reasonf("%s has a parameter without a name", "%s に名前のないパラメーターがある", e.Name)
		}
		if s.take('=') {
			value, ok := s.value()
			if !ok {
				return e, reasonf("the value of %s is no token", "%s の値がトークンではない", p.Name)
			}
			p.Value = value
		}
		if e.Params = append(e.Params, p); len(e.Params) > maxExtensions {
			return e, reasonf("too many parameters", "パラメーターが多すぎる")
		}
	}
	return e, nil
}

// value reads a token, or a quoted string that is one once it is unquoted.
func (s *scanner) value() (string, bool) {
	if !s.take('"') {
		value := s.token()
		return value, value != ""
	}
	var b strings.Builder
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '"':
			s.rest = s.rest[i+1:]
			return b.String(), isToken(b.String())
		case '\\':
			i++
		}
		if i < len(s.rest) {
			b.WriteByte(s.rest[i])
		}
	}
	return "", false
}

// PerMessageDeflate is the name of the extension of RFC 7692.
const PerMessageDeflate = "permessage-deflate"

// The parameters of permessage-deflate (RFC 7692, section 7.1).
const (
	serverNoContext = "server_no_context_takeover"
	clientNoContext = "client_no_context_takeover"
	serverWindow    = "server_max_window_bits"
	clientWindow    = "client_max_window_bits"
)

// largestWindow is the LZ77 window that a peer has to reckon with if nothing else was
// agreed on: 2 to the power of 15 bytes.
const largestWindow = 15

// Deflate is what a server has agreed to.
type Deflate struct {
	// Answer is the value of Sec-WebSocket-Extensions in the response.
	Answer string
	// Window is the power of two that the server's window has to keep to.
	Window int
}

// AcceptDeflate answers a client's offers as a server that takes no context over,
// in either direction: the first offer of permessage-deflate whose parameters are all
// known and valid is accepted, others are declined, as RFC 7692, section 7.1, has it. A
// client_max_window_bits is a hint that the server does not need.
func AcceptDeflate(offers []Extension) (Deflate, bool) {
	for _, offer := range offers {
		if !strings.EqualFold(offer.Name, PerMessageDeflate) || checkDeflate(offer, false) != nil {
			continue
		}
		answer := Extension{Name: PerMessageDeflate, Params: []Param{{Name: serverNoContext}, {Name: clientNoContext}}}
		d := Deflate{Window: largestWindow}
		for _, p := range offer.Params {
			if p.Name == serverWindow {
				answer.Params = append(answer.Params, p)
				d.Window, _ = strconv.Atoi(p.Value) // it was checked
			}
		}
		d.Answer = answer.String()
		return d, true
	}
	return Deflate{}, false
}

// checkDeflate says what is wrong with the parameters of an offer, or of an answer
// to one.
func checkDeflate(e Extension, answer bool) error {
	var seen []string
	for _, p := range e.Params {
		if slices.Contains(seen, p.Name) {
			return reasonf("%s is there twice", "%s が 2 回ある", p.Name)
		}
		seen = append(seen, p.Name)
		switch p.Name {
		case serverNoContext, clientNoContext:
			if p.Value != "" {
				return reasonf("%s takes no value", "%s は値を取らない", p.Name)
			}
		case serverWindow, clientWindow:
			if p.Value == "" && p.Name == clientWindow && !answer {
				continue
			}
			if n, err := strconv.Atoi(p.Value); err != nil || n < 8 || n > largestWindow || strconv.Itoa(n) != p.Value {
				return reasonf("%s is %q, it has to be 8 to 15", "%s が %q である。8 から 15 でなければならない", p.Name, p.Value)
			}
		default:
			return reasonf("there is no parameter %s", "%s というパラメーターはない", p.Name)
		}
	}
	return nil
}

// answersDeflate says why an answer does not fit the offers of permessage-deflate.
func answersDeflate(answer Extension, offers []Extension) error {
	if err := checkDeflate(answer, true); err != nil {
		return err
	}
	value := func(e Extension, name string) (string, bool) {
		i := slices.IndexFunc(e.Params, func(p Param) bool { return p.Name == name })
		if i < 0 {
			return "", false
		}
		return e.Params[i].Value, true
	}
	var unfit error
	for _, offer := range offers {
		if !strings.EqualFold(offer.Name, PerMessageDeflate) {
			continue
		}
		unfit = nil
		if _, asked := value(offer, serverNoContext); asked {
			if _, given := value(answer, serverNoContext); !given {
				unfit = reasonf("%s was asked for and is not in the answer", "求めた %s が応答にない", serverNoContext)
			}
		}
		if asked, ok := value(offer, serverWindow); ok {
			given, there := value(answer, serverWindow)
			most, _ := strconv.Atoi(asked)
			if bits, _ := strconv.Atoi(given); !there || bits > most {
				unfit = reasonf("%s=%s was asked for, the answer has to keep to it", "求めた %s=%s を応答が守っていない", serverWindow, asked)
			}
		}
		if _, given := value(answer, clientWindow); given {
			if _, asked := value(offer, clientWindow); !asked {
				unfit = reasonf("%s is in the answer and was not in the offer", "応答の %s は提案になかった", clientWindow)
			}
		}
		if unfit == nil {
			return nil
		}
	}
	return unfit
}
