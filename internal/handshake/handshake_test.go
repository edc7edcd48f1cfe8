package handshake

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files anew")

// sampleKey and sampleAccept are of RFC 6455, section 1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

func TestCalculate(t *testing.T) {
	want := Calculation{
		Key: sampleKey, Bytes: "7468652073616d706c65206e6f6e6365",
		Joined: sampleKey + GUID,
		SHA1:   "b37a4f2cc0624f1690f64606cf385945b2bec4ea", Accept: sampleAccept,
	}
	if got := Calculate(sampleKey); got != want {
		t.Errorf("%+v", got)
	}
	if got := Calculate("no base64"); got.Bytes != "" || got.Accept == "" {
		t.Errorf("%+v", got)
	}
	if err := CheckKey(NewKey()); err != nil {
		t.Errorf("a new key %v", err)
	}
}

func TestCheckKey(t *testing.T) {
	for key, want := range map[string]string{
		sampleKey:                      "<nil>",
		"":                             "is empty",
		"dGhlIHNhbXBsZSBub25jZQ":       "is not base64",
		"dGhlIHNhbXBsZSBub25jZR==":     "is not base64", // bits that are not there
		"dGhlIHNhbXBsZSBub25j":         "stands for 15 bytes",
		"dGhlIHNhbXBsZSBub25jZTE=":     "stands for 17 bytes",
		"dGhlIHNhbXBsZSBub25jZQ==\x00": "is not base64",
	} {
		if got := fmt.Sprint(CheckKey(key)); got != want {
			t.Errorf("%q %s, want %s", key, got, want)
		}
	}
}

const validRequest = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
	"Sec-WebSocket-Key: " + sampleKey + "\r\nOrigin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Version: 13\r\n\r\n"

const validResponse = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: " + sampleAccept + "\r\nSec-WebSocket-Protocol: chat\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12\r\n\r\n"

// TestValid has nothing wrong with the examples of RFC 6455, section 1.2.
func TestValid(t *testing.T) {
	request := Parse([]byte(validRequest))
	if got := CheckRequest(request); len(got) > 0 {
		t.Errorf("request: %+v", got)
	}
	if got := CheckResponse(Parse([]byte(validResponse)), "", request); len(got) > 0 {
		t.Errorf("response: %+v", got)
	}
}

// TestRefusalWithAPage says nothing of the page.
func TestRefusalWithAPage(t *testing.T) {
	all := CheckResponse(Parse([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")), "", nil)
	if len(all) != 1 || all[0].ID != status403 {
		t.Errorf("%+v", all)
	}
}

// TestEveryProblem has one thing wrong at a time; the golden file holds all that is
// said of it. Every problem of the catalogue has to come up.
func TestEveryProblem(t *testing.T) {
	replace := func(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }
	requests := map[string]string{
		"empty":                "",
		"a response":           validResponse,
		"no request line":      replace(validRequest, "GET /chat HTTP/1.1", "GET  /chat HTTP/1.1"),
		"POST":                 replace(validRequest, "GET", "POST"),
		"HTTP/1.0":             replace(validRequest, "HTTP/1.1", "HTTP/1.0"),
		"fragment":             replace(validRequest, "/chat", "/chat#top"),
		"ws URL":               replace(validRequest, "/chat", "ws://server/chat"),
		"no path":              replace(validRequest, "/chat", "chat"),
		"no Host":              replace(validRequest, "Host", "Toast"),
		"two Hosts":            replace(validRequest, "Upgrade: websocket", "Host: other\r\nUpgrade: websocket"),
		"bad Host":             replace(validRequest, "Host: ", "Host: http://"),
		"no Upgrade":           replace(validRequest, "Upgrade: websocket\r\n", ""),
		"other Upgrade":        replace(validRequest, "Upgrade: websocket", "Upgrade: websockets"),
		"no Connection":        replace(validRequest, "Connection: keep-alive, Upgrade\r\n", ""),
		"Connection: close":    replace(validRequest, "keep-alive, Upgrade", "close"),
		"no version":           replace(validRequest, "Sec-WebSocket-Version: 13\r\n", ""),
		"version 8":            replace(validRequest, "Version: 13", "Version: 8"),
		"two versions":         replace(validRequest, "Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8"),
		"no key":               replace(validRequest, "Sec-WebSocket-Key: "+sampleKey+"\r\n", ""),
		"two keys":             replace(validRequest, "Origin", "Sec-WebSocket-Key: "+sampleKey+"\r\nOrigin"),
		"key that is none":     replace(validRequest, sampleKey, "grüße"),
		"short key":            replace(validRequest, sampleKey, "c2hvcnQ="),
		"body":                 replace(validRequest, "Origin", "Content-Length: 3\r\nOrigin"),
		"no Origin":            replace(validRequest, "Origin: http://example.com\r\n", ""),
		"two Origins":          replace(validRequest, "Origin: ", "Origin: null\r\nOrigin: "),
		"Origin with a path":   replace(validRequest, "http://example.com", "http://example.com/chat"),
		"protocol twice":       replace(validRequest, "superchat", "chat"),
		"protocol that isn't":  replace(validRequest, "superchat", "super chat"),
		"extension that isn't": replace(validRequest, "permessage-deflate;", "permessage-deflate client"),
		"declined offer":       replace(validRequest, "client_max_window_bits", "server_max_window_bits=7"),
		"long":                 replace(validRequest, "Origin", "X: "+strings.Repeat("x", MaxHead)+"\r\nOrigin"),
		"LF alone":             replace(validRequest, "\r\n", "\n"),
		"no empty line":        strings.TrimSuffix(validRequest, "\r\n"),
		"data behind":          validRequest + "\x81\x05hello",
		"folded":               replace(validRequest, "keep-alive, ", "keep-alive,\r\n "),
		"no colon":             replace(validRequest, "Host: server", "Host server"),
		"space before colon":   replace(validRequest, "Host:", "Host :"),
		"bad name":             replace(validRequest, "Host:", "Host name:"),
		"control character":    replace(validRequest, "superchat", "super\x00chat"),
	}
	responses := map[string]string{
		"a request":             validRequest,
		"no HTTP":               "SSH-2.0-OpenSSH_9.6\r\n\r\n",
		"200":                   "HTTP/1.1 200 OK\r\n\r\n",
		"302":                   "HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n",
		"400":                   "HTTP/1.1 400 Bad Request\r\n\r\n",
		"401":                   "HTTP/1.1 401 Unauthorized\r\n\r\n",
		"403":                   "HTTP/1.1 403 Forbidden\r\n\r\n",
		"404":                   "HTTP/1.1 404 Not Found\r\n\r\n",
		"405":                   "HTTP/1.1 405 Method Not Allowed\r\n\r\n",
		"407":                   "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
		"418":                   "HTTP/1.1 418 I'm a teapot\r\n\r\n",
		"426":                   "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
		"502":                   "HTTP/1.1 502 Bad Gateway\r\n\r\n",
		"no Accept":             replace(validResponse, "Sec-WebSocket-Accept: "+sampleAccept+"\r\n", ""),
		"two Accepts":           replace(validResponse, "Sec-WebSocket-Protocol", "Sec-WebSocket-Accept: "+sampleAccept+"\r\nSec-WebSocket-Protocol"),
		"other Accept":          replace(validResponse, sampleAccept, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
		"the key for Accept":    replace(validResponse, sampleAccept, sampleKey),
		"extension not offered": replace(validResponse, "permessage-deflate; client_max_window_bits=12", "x-webkit-deflate-frame"),
		"extension twice":       replace(validResponse, "client_max_window_bits=12", "client_max_window_bits=12, permessage-deflate"),
		"wrong parameter":       replace(validResponse, "client_max_window_bits=12", "client_max_window_bits"),
		"two protocols":         replace(validResponse, "Protocol: chat", "Protocol: chat\r\nSec-WebSocket-Protocol: superchat"),
		"list of protocols":     replace(validResponse, "Protocol: chat", "Protocol: chat, superchat"),
		"protocol not offered":  replace(validResponse, "Protocol: chat", "Protocol: numbered-echo.wslab"),
		"Content-Length":        replace(validResponse, "Upgrade: websocket", "Upgrade: websocket\r\nContent-Length: 0"),
	}
	seen := make(map[ProblemID]bool)
	var out strings.Builder
	say := func(kind, name string, all []Problem) {
		fmt.Fprintf(&out, "%s: %s\n", kind, name)
		for _, p := range ByPlace(all) {
			seen[p.ID] = true
			mark := ""
			if p.Note {
				mark = "note: "
			}
			fmt.Fprintf(&out, "  %d:%d+%d %s%s (%s)\n      = %s\n      %s\n      = %s\n", p.Line, p.Column, p.Width, mark, p.Text("en"), p.Section(), p.Hint("en"), p.Text(Japanese), p.Hint(Japanese))
			for _, text := range []string{p.Text("en"), p.Hint("en"), p.Text(Japanese), p.Hint(Japanese)} {
				if strings.ContainsAny(text, "{}") || text == "" {
					t.Errorf("%s: an argument is missing: %q", p.ID, text)
				}
			}
		}
		if len(all) == 0 {
			t.Errorf("%s %s: nothing is wrong", kind, name)
		}
	}
	for _, name := range sorted(requests) {
		all := CheckRequest(Parse([]byte(requests[name])))
		if name == "LF alone" {
			if len(all) > 0 {
				t.Errorf("LF alone: %+v", all)
			}
			continue
		}
		say("request", name, all)
	}
	request := Parse([]byte(validRequest))
	for _, name := range sorted(responses) {
		say("response", name, CheckResponse(Parse([]byte(responses[name])), "", request))
	}
	say("response", "without its request", CheckResponse(Parse([]byte(validResponse)), "", nil))
	for id := range catalogue {
		if !seen[id] {
			t.Errorf("no case for %s", id)
		}
	}
	golden(t, "problems.golden", out.String())
}

func sorted(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; write it anew with -update and read the difference", file)
	}
}

// TestFromRequest judges what net/http has read by the same rules.
func TestFromRequest(t *testing.T) {
	r, err := http.NewRequest("GET", "http://server/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RequestURI = "/"
	if h := FromRequest(r); h.AsksForWebSocket() {
		t.Error("a plain request asks for a WebSocket")
	}
	r.Header = http.Header{"Upgrade": {"WebSocket"}, "Connection": {"keep-alive", "upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {sampleKey}}
	h := FromRequest(r)
	if !h.AsksForWebSocket() {
		t.Error("not seen for what it is")
	}
	if got := CheckRequest(h); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	r.Header.Add("Sec-WebSocket-Version", "8")
	r.Host = ""
	var ids []string
	for _, p := range CheckRequest(FromRequest(r)) {
		ids = append(ids, fmt.Sprint(p.ID, " ", p.Status()))
	}
	if got := strings.Join(ids, ", "); got != "no-host 400, two-versions 400" {
		t.Error(got)
	}
}

func TestAcceptDeflate(t *testing.T) {
	const plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for offer, want := range map[string]string{
		"permessage-deflate":                                                                     plain + " 15",
		"permessage-deflate; client_max_window_bits":                                             plain + " 15",
		"permessage-deflate; client_max_window_bits=10":                                          plain + " 15",
		"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12":               plain + "; server_max_window_bits=12 12",
		"permessage-deflate; server_max_window_bits=\"9\"":                                       plain + "; server_max_window_bits=9 9",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover":             plain + " 15",
		"permessage-deflate; server_max_window_bits=7, permessage-deflate":                       plain + " 15",
		"permessage-deflate; server_max_window_bits":                                             "declined",
		"permessage-deflate; server_max_window_bits=09":                                          "declined",
		"permessage-deflate; client_max_window_bits=16":                                          "declined",
		"permessage-deflate; server_no_context_takeover=1":                                       "declined",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover":             "declined",
		"permessage-deflate; x":                                                                  "declined",
		"x-webkit-deflate-frame":                                                                 "declined",
		"foo, bar; baz=2, permessage-deflate; client_max_window_bits; server_max_window_bits=15": plain + "; server_max_window_bits=15 15",
	} {
		offers, err := Extensions([]string{offer})
		if err != nil {
			t.Errorf("%s: %v", offer, err)
		}
		got := "declined"
		if d, ok := AcceptDeflate(offers); ok {
			got = fmt.Sprint(d.Answer, " ", d.Window)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", offer, got, want)
		}
	}
	for _, wrong := range []string{"", ",", "a;", "a; =1", "a; b=", `a; b="c d"`, `a; b="c`, "a b", "a,,b"} {
		if all, err := Extensions([]string{wrong}); err == nil {
			t.Errorf("%q was read as %+v", wrong, all)
		}
	}
}

func TestChooseProtocol(t *testing.T) {
	if got := ChooseProtocol([]string{"b", "a"}, []string{"a", "b"}); got != "b" {
		t.Errorf("%q is not what the server prefers", got)
	}
	if got := ChooseProtocol([]string{"chat"}, []string{"Chat"}); got != "" {
		t.Errorf("%q: names are compared as they are", got)
	}
}

// FuzzCheck: whatever the text is, it is judged without a panic and within bounds, and
// every place that is named is in it.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(validRequest), []byte(validResponse), sampleKey)
	f.Add([]byte("GET / HTTP/1.1\nHost : x\n folded\n:\n\x00"), []byte("HTTP/1.1 426\r\n\r\n"), "")
	f.Add([]byte("HTTP/1.1"), []byte("GET"), "=")
	f.Add([]byte("GET / HTTP/1.1\r\nSec-WebSocket-Extensions: a;b=\"\\"), []byte("HTTP/1.1 101\r\nSec-WebSocket-Extensions: permessage-deflate;client_max_window_bits=\xff\r\n\r\n"), sampleKey)
	f.Fuzz(func(t *testing.T, request, response []byte, key string) {
		of := Parse(request)
		inside(t, request, CheckRequest(of))
		inside(t, response, CheckResponse(Parse(response), key, of))
		inside(t, response, CheckResponse(Parse(response), key, nil))
		_ = Calculate(key)
	})
}

func inside(t *testing.T, text []byte, all []Problem) {
	lines := strings.Split(string(text), "\n")
	if len(all) > 4*maxFields {
		t.Fatalf("%d problems", len(all))
	}
	for _, p := range all {
		if p.Line < 1 || p.Line > len(lines)+1 || p.Column < 1 {
			t.Fatalf("%s at %d:%d of %d lines", p.ID, p.Line, p.Column, len(lines))
		}
		if p.Line <= len(lines) && p.Column > runes(lines[p.Line-1])+1 {
			t.Fatalf("%s at column %d of %q", p.ID, p.Column, lines[p.Line-1])
		}
		if p.Text("en") == "" || p.Text(Japanese) == "" || p.Hint("en") == "" || p.Hint(Japanese) == "" || p.Section() == "" {
			t.Fatalf("nothing is said of %s", p.ID)
		}
	}
}
