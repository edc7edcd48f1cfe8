package firewall

import (
	"strings"
	"testing"

	"github.com/wslab/wslab/internal/node/intercept"
)

var found = upgradeInspector{intercept.Decision{Verdict: intercept.Reset, Rule: "inspect.websocket: reset"}}

func TestInspect(t *testing.T) {
	const request = "GET /chat HTTP/1.1\r\nHost: server\r\n"
	for _, test := range []struct {
		name, sent string
		want       intercept.Verdict
	}{
		{"nothing", "", intercept.Undecided},
		{"TLS", "\x16\x03\x01\x02\x00\x01", intercept.Pass},
		{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", intercept.Pass},
		{"HTTP/2", "PRI * HTTP/2.0\r\n", intercept.Pass},
		{"half a method", "GE", intercept.Undecided},
		{"half a request line", "GET /cha", intercept.Undecided},
		{"endless method", strings.Repeat("A", 40), intercept.Pass},
		{"binary", "\x00\x01", intercept.Pass},
		{"space first", " GET / HTTP/1.1\r\n", intercept.Pass},
		{"half a header", request, intercept.Undecided},
		{"plain", request + "\r\n", intercept.Pass},
		{"upgrade", request + "Upgrade: websocket\r\n", intercept.Reset},
		{"half an upgrade", request + "Upgrade: websock", intercept.Undecided},
		{"case", "get /chat http/1.1\r\n", intercept.Pass},
		{"case of the header", request + "uPGRADE:\tWebSocket \r\n\r\n", intercept.Reset},
		{"bare newlines", "GET / HTTP/1.1\nUpgrade: websocket\n\n", intercept.Reset},
		{"list", request + "Upgrade: h2c, websocket/13\r\n", intercept.Reset},
		{"folded", request + "Upgrade:\r\n websocket\r\n", intercept.Reset},
		{"folded elsewhere", request + "Via:\r\n websocket\r\n", intercept.Undecided},
		{"another protocol", request + "Upgrade: h2c\r\n\r\n", intercept.Pass},
		{"in the body", request + "\r\nUpgrade: websocket\r\n", intercept.Pass},
		{"endless header", request + strings.Repeat("X: y\r\n", inspectLimit), intercept.Pass},
		{"proxy", "GET http://server/chat HTTP/1.1\r\nUpgrade: websocket\r\n", intercept.Reset},
	} {
		if got := found.Inspect([]byte(test.sent)).Verdict; got != test.want {
			t.Errorf("%s: verdict %v, not %v", test.name, got, test.want)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\n\r\n"), 5)
	f.Add([]byte("\x16\x03\x01"), 1)
	f.Add([]byte("GET / HTTP/1.1\nUpgrade:\n websocket\n"), 30)
	f.Fuzz(func(t *testing.T, sent []byte, at int) {
		whole := found.Inspect(sent)
		if at < 0 || at > len(sent) {
			return
		}
		// However it is split, a decision once made holds.
		if part := found.Inspect(sent[:at]); part.Verdict != intercept.Undecided && part != whole {
			t.Errorf("after %d bytes %v, after all %v", at, part, whole)
		}
	})
}

func TestParseService(t *testing.T) {
	for text, want := range map[string]service{
		"tcp/443":       {"tcp", 443, 443},
		"udp/53":        {"udp", 53, 53},
		"icmp":          {protocol: "icmp"},
		"tcp/8000-8100": {"tcp", 8000, 8100},
	} {
		if got, err := parseService(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "tcp", "tcp/", "tcp/0", "tcp/65536", "tcp/90-80", "sctp/80", "icmp/8", "tcp/https", "tcp/80-", "80"} {
		if got, err := parseService(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
