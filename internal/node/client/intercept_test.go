package client

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wslab/wslab/internal/node/proxy"
	"github.com/wslab/wslab/internal/trace"
)

// withProxy starts a proxy node of the lab, which the client's path leads through.
func (l *lab) withProxy(settings map[string]any) {
	l.t.Helper()
	kind := proxy.Kind()
	raw, err := json.Marshal(kind.Settings())
	if err != nil {
		l.t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		l.t.Fatal(err)
	}
	for key, value := range settings {
		all[key] = value
	}
	l.node(kind, "corp", 1, all)
	l.name("corp:3128", l.address("corp:3128"))
}

// What the client tells of a proxy that opens TLS, asks for NTLM or has a portal: the stage and the
// status are those that a verdict's cause is looked up by.
func TestThroughProxiesThatInterfere(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings map[string]any
		// stage and status of the failure, or the first digit of it; no stage is a connection.
		stage  string
		status int
		says   string
		// by is the setting that refused, as the proxy records it.
		by string
	}{
		{"http", map[string]any{"protocol": "http"}, "", 0, "", ""},
		{"intercepted", map[string]any{"protocol": "intercept"}, "", 0, "", ""},
		{"intercepted, exempt", map[string]any{"protocol": "intercept", "trusted": false, "exempt": []string{"server"}}, "", 0, "", ""},
		{"intercepted, not trusted", map[string]any{"protocol": "intercept", "trusted": false}, "tls", 0, "unknown authority", ""},
		{"intercepted without Upgrade", map[string]any{"protocol": "intercept", "upgrade_inside": "strip"}, "websocket", 4, "the handshake was answered with 4", ""},
		{"NTLM", map[string]any{"protocol": "http", "auth": "ntlm", "users": map[string]string{"alice": "secret"}}, "proxy", 407, "407", "auth"},
		{"captive portal", map[string]any{"protocol": "http", "captive": "redirect"}, "proxy", 511, "511", "captive"},
		{"captive portal's certificate", map[string]any{"protocol": "http", "captive": "redirect", "captive_connect": "certificate"}, "tls", 0, "corp", "captive"},
		{"port", map[string]any{"protocol": "http", "allow_connect": []int{8443}}, "proxy", 403, "403", "allow_connect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, 1, Path{Name: "corp", URL: "wss://server/", Proxy: "http://alice:secret@corp:3128"})
			l.withProxy(c.settings)
			l.call("session.start", map[string]any{"id": "s", "strategy": map[string]any{}}, nil)
			if c.stage == "" {
				l.await("s", trace.Open)
				l.call("session.stop", map[string]any{"ids": []string{"s"}}, nil)
				return
			}
			e := l.await("s", trace.DialFailed)
			if e.Stage != c.stage || e.Status != c.status && e.Status/100 != c.status || !strings.Contains(e.Err, c.says) {
				t.Errorf("event %v", e)
			}
			if c.by != "" {
				l.awaitMatch("", "relay.refused", func(e trace.Event) bool { return e.Type == trace.RelayRefused && e.By == c.by })
			}
		})
	}
}
