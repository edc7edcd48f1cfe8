package handshake

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// rule looks for one thing that can be wrong.
type rule func(c *check)

// requestRules is the list of what a server asks of a request, in the order in which
// it answers: of several faults the first decides on the status.
func requestRules() []rule {
	return []rule{startLine, method, httpVersion, target, host, upgrade, connection, version, key, body, requestOrigin, protocols, extensions}
}

// responseRules is the list of what a client asks of a response (RFC 6455, section 4.1,
// the list after "the client MUST validate the server's response").
func responseRules() []rule {
	return []rule{statusLine, status, upgrade, connection, accept, answeredExtensions, answeredProtocol, switchingBody}
}

// check is a head under its rules.
type check struct {
	*Head
	// response says that the head is one, and of is the request that it answers, nil
	// where that is not known.
	response bool
	of       *Head
	// key of the request, "" where that is not known.
	key   string
	found []Problem
	// over says that what follows has no meaning: this is not what it is to be, or the
	// response is a refusal.
	over bool
}

// CheckRequest returns what is wrong with a request to open a WebSocket (RFC 6455,
// section 4.2.1), in the order in which a server would see it.
func CheckRequest(h *Head) []Problem {
	return (&check{Head: h}).run(requestRules())
}

// CheckResponse returns what is wrong with the answer to one. key is that of the
// request, and of the request itself; "" and nil are what is not known, and not checked.
func CheckResponse(h *Head, key string, of *Head) []Problem {
	c := &check{Head: h, response: true, key: key, of: of}
	if key == "" && of != nil {
		c.key = of.Value("Sec-WebSocket-Key")
	}
	return c.run(responseRules())
}

func (c *check) run(rules []rule) []Problem {
	c.found = slices.Clone(c.problems)
	for _, r := range rules {
		if !c.over {
			r(c)
		}
	}
	return c.found
}

// ByPlace puts problems in the order of the text.
func ByPlace(all []Problem) []Problem {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return all
}

// start reports a problem with the start line, from a part of it on.
func (c *check) start(id ProblemID, part string, args Args) {
	p := Problem{ID: id, Args: args, Line: c.Start.Number, Column: 1, Width: runes(part)}
	if i := strings.Index(c.Start.Text, part); i > 0 {
		p.Column = runes(c.Start.Text[:i]) + 1
	}
	c.found = append(c.found, p)
}

// missing reports a field that is not there, at the end of the head.
func (c *check) missing(id ProblemID, args Args) {
	c.found = append(c.found, Problem{ID: id, Args: args, Line: c.Start.Number, Column: 1})
}

// at reports a problem with a field.
func (c *check) at(f Field, id ProblemID, args Args) { c.noteAt(f, id, args, false) }

func (c *check) noteAt(f Field, id ProblemID, args Args, note bool) {
	if args == nil {
		args = Args{}
	}
	args["field"], args["value"] = f.Name, f.Value
	c.found = append(c.found, Problem{ID: id, Args: args, Line: f.Line, Column: f.Column, Width: runes(f.Value), Note: note})
}

// one returns the only field of a name; a second one is a problem.
func (c *check) one(name string, missing, twice ProblemID) (Field, bool) {
	fields := c.Named(name)
	if len(fields) == 0 {
		if missing != "" {
			c.missing(missing, Args{"field": name})
		}
		return Field{}, false
	}
	if len(fields) > 1 {
		c.at(fields[1], twice, nil)
	}
	return fields[0], true
}

func startLine(c *check) {
	parts := strings.Split(c.Start.Text, " ")
	switch {
	case strings.HasPrefix(c.Start.Text, "HTTP/"):
		c.start(isAResponse, c.Start.Text, nil)
		c.over = true
	case len(parts) != 3 || !isToken(parts[0]) || parts[1] == "" || !strings.HasPrefix(parts[2], "HTTP/"):
		c.start(badRequestLine, c.Start.Text, Args{"value": c.Start.Text})
	}
}

// parts of a request line that is one.
func (c *check) parts() (method, target, proto string, ok bool) {
	parts := strings.Split(c.Start.Text, " ")
	if len(parts) != 3 || strings.HasPrefix(parts[0], "HTTP/") {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

func method(c *check) {
	if m, _, _, ok := c.parts(); ok && m != "GET" {
		c.start(notGet, m, Args{"value": m})
	}
}

func httpVersion(c *check) {
	_, _, proto, ok := c.parts()
	if !ok || proto == "HTTP/1.1" {
		return
	}
	c.start(oldHTTP, proto, Args{"value": proto})
}

func target(c *check) {
	_, t, _, ok := c.parts()
	switch {
	case !ok:
	case strings.Contains(t, "#"):
		c.start(fragment, t, Args{"value": t})
	case strings.HasPrefix(t, "ws://"), strings.HasPrefix(t, "wss://"):
		c.start(wsTarget, t, Args{"value": t})
	case !strings.HasPrefix(t, "/") && !strings.HasPrefix(t, "http://") && !strings.HasPrefix(t, "https://"):
		c.start(badTarget, t, Args{"value": t})
	}
}

func host(c *check) {
	f, ok := c.one("Host", noHost, twoHosts)
	if ok && (f.Value == "" || strings.ContainsAny(f.Value, "/ ,@")) {
		c.at(f, badHost, nil)
	}
}

func upgrade(c *check) {
	c.token("Upgrade", "websocket", noUpgrade, badUpgrade)
}

func connection(c *check) {
	c.token("Connection", "Upgrade", noConnection, badConnection)
}

// token reports a list that lacks a token, or that is not there at all.
func (c *check) token(name, token string, missing, lacking ProblemID) {
	fields := c.Named(name)
	switch {
	case len(fields) == 0:
		c.missing(missing, nil)
	case !c.hasToken(name, token):
		c.at(fields[0], lacking, nil)
	}
}

func version(c *check) {
	f, ok := c.one("Sec-WebSocket-Version", noVersion, twoVersions)
	if ok && f.Value != "13" {
		c.at(f, wrongVersion, nil)
	}
}

func key(c *check) {
	f, ok := c.one("Sec-WebSocket-Key", noKey, twoKeys)
	if !ok {
		return
	}
	if p, wrong := KeyProblem(f.Value); wrong {
		c.at(f, p.ID, p.Args)
	}
}

// KeyProblem is what is wrong with a key, if anything is, without a place.
func KeyProblem(key string) (Problem, bool) {
	err := CheckKey(key)
	if err == nil {
		return Problem{}, false
	}
	args := Args{"field": "Sec-WebSocket-Key", "value": key}
	size, short := strings.CutPrefix(err.Error(), "stands for ")
	if !short {
		return Problem{ID: keyNotBase64, Args: args}, true
	}
	args["size"] = strings.TrimSuffix(size, " bytes")
	return Problem{ID: keySize, Args: args}, true
}

func body(c *check) {
	for _, name := range []string{"Content-Length", "Transfer-Encoding"} {
		for _, f := range c.Named(name) {
			if f.Value != "0" {
				c.at(f, requestBody, nil)
			}
		}
	}
}

func requestOrigin(c *check) {
	f, ok := c.one("Origin", "", twoOrigins)
	if !ok {
		if c.parsed {
			c.found = append(c.found, Problem{ID: noOrigin, Line: c.Start.Number, Column: 1, Note: true})
		}
		return
	}
	scheme, rest, found := strings.Cut(f.Value, "://")
	if f.Value != "null" && (!found || scheme == "" || rest == "" || strings.ContainsAny(rest, "/?# ,")) {
		c.at(f, badOrigin, nil)
	}
}

func protocols(c *check) {
	fields := c.Named("Sec-WebSocket-Protocol")
	if len(fields) == 0 {
		return
	}
	if _, err := Protocols(c.values("Sec-WebSocket-Protocol")); err != nil {
		c.at(fields[0], badProtocols, why(err))
	}
}

func extensions(c *check) {
	fields := c.Named("Sec-WebSocket-Extensions")
	if len(fields) == 0 {
		return
	}
	all, err := Extensions(c.values("Sec-WebSocket-Extensions"))
	if err != nil {
		c.at(fields[0], badExtensions, why(err))
		return
	}
	for _, e := range all {
		if !strings.EqualFold(e.Name, PerMessageDeflate) {
			continue
		}
		if err := checkDeflate(e, false); err != nil {
			c.noteAt(fields[0], declinedOffer, why(err), true) // a server declines the offer and goes on
		}
	}
}

func statusLine(c *check) {
	parts := strings.SplitN(c.Start.Text, " ", 3)
	code, err := 0, error(nil)
	if len(parts) > 1 {
		code, err = strconv.Atoi(parts[1])
	}
	if len(parts) < 2 || parts[0] != "HTTP/1.1" && parts[0] != "HTTP/1.0" || err != nil || code < 100 || code > 999 || code == 101 && parts[0] != "HTTP/1.1" {
		c.start(badStatusLine, c.Start.Text, Args{"value": c.Start.Text})
		c.over = true
	}
}

// status explains the answers that are none of a handshake, and what they have to
// bring with them.
func status(c *check) {
	parts := strings.SplitN(c.Start.Text, " ", 3)
	code := parts[1]
	if code == "101" {
		return
	}
	c.over = true
	// A page follows what is no 101, as with any answer of HTTP.
	c.found = slices.DeleteFunc(c.found, func(p Problem) bool { return p.ID == dataAfterHead })
	id, explained := map[string]ProblemID{
		"200": status200, "301": statusRedirect, "302": statusRedirect, "303": statusRedirect, "307": statusRedirect, "308": statusRedirect,
		"400": status400, "401": status401, "403": status403, "404": status404, "405": status405, "407": status407,
		"426": status426, "429": status5xx, "500": status5xx, "502": status5xx, "503": status5xx, "504": status5xx,
	}[code]
	if !explained {
		id = statusOther
	}
	c.start(id, code, Args{"value": strings.Join(parts[1:], " ")})
	for _, needs := range []struct{ code, field string }{
		{"401", "WWW-Authenticate"}, {"405", "Allow"}, {"407", "Proxy-Authenticate"}, {"426", "Upgrade"},
	} {
		if needs.code == code && len(c.Named(needs.field)) == 0 {
			c.missing(refusalLacks, Args{"status": code, "field": needs.field})
		}
	}
}

func accept(c *check) {
	f, ok := c.one("Sec-WebSocket-Accept", noAccept, twoAccepts)
	switch {
	case !ok:
	case c.key == "":
		c.noteAt(f, acceptUnchecked, nil, true)
	case f.Value != Accept(c.key):
		args := Args{"key": c.key, "want": Accept(c.key)}
		id := wrongAccept
		if f.Value == c.key {
			id = acceptIsKey
		}
		c.at(f, id, args)
	}
}

func answeredExtensions(c *check) {
	fields := c.Named("Sec-WebSocket-Extensions")
	if len(fields) == 0 {
		return
	}
	answers, err := Extensions(c.values("Sec-WebSocket-Extensions"))
	if err != nil {
		c.at(fields[0], badExtensions, why(err))
		return
	}
	var offers []Extension
	if c.of != nil {
		if offers, err = Extensions(c.of.values("Sec-WebSocket-Extensions")); err != nil {
			return // the request's fault
		}
	}
	var seen []string
	for _, a := range answers {
		name := strings.ToLower(a.Name)
		deflate := name == PerMessageDeflate
		offered := slices.ContainsFunc(offers, func(o Extension) bool { return strings.EqualFold(o.Name, name) })
		switch {
		case slices.Contains(seen, name):
			c.at(fields[0], extensionTwice, Args{"name": a.Name})
		case c.of != nil && !offered:
			c.at(fields[0], extensionNotOffered, Args{"name": a.Name})
		case deflate && c.of == nil:
			if err := checkDeflate(a, true); err != nil {
				c.at(fields[0], badAnswer, why(err))
			}
		case deflate:
			if err := answersDeflate(a, offers); err != nil {
				c.at(fields[0], badAnswer, why(err))
			}
		}
		seen = append(seen, name)
	}
}

func answeredProtocol(c *check) {
	f, ok := c.one("Sec-WebSocket-Protocol", "", twoProtocols)
	if !ok {
		return
	}
	if !isToken(f.Value) {
		c.at(f, protocolList, nil)
		return
	}
	if c.of == nil {
		return
	}
	if offered, err := Protocols(c.of.values("Sec-WebSocket-Protocol")); err == nil && !slices.Contains(offered, f.Value) {
		c.at(f, protocolNotOffered, nil)
	}
}

func switchingBody(c *check) {
	for _, name := range []string{"Content-Length", "Transfer-Encoding"} {
		for _, f := range c.Named(name) {
			c.at(f, switchingHasBody, nil)
		}
	}
}
