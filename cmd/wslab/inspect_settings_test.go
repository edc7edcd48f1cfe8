package main

import (
	"encoding/json"
	"testing"

	"github.com/wslab/wslab/topology"
)

// TestSettingsText shows what is not the default, as a lab file would have it.
func TestSettingsText(t *testing.T) {
	for _, c := range []struct{ kind, settings, want string }{
		{"nat", `{"idle_timeout":60000000000,"on_expiry":"drop","ports":"keep","forward":null}`, "idle_timeout: 1m"},
		{"server", `{"http_port":80,"https_port":443,"origins":["https://app.example"]}`, "origins: [https://app.example]"},
		{"proxy", `{"protocol":"http","users":{"bob":"b","alice":"a"},"request_headers":{"set":{"X":"y"}}}`, "protocol: http, users: { alice: a, bob: b }, request_headers: { set: { X: y } }"},
		{"firewall", `{"rules":[{"name":"web","proto":"tcp","port":["443"],"action":"accept"}]}`, "rules: [{ name: web, proto: tcp, port: [443], action: accept }]"},
		{"client", `{"paths":[{"name":"direct"}]}`, `paths: [{"name":"direct"}]`},
		{"nat", `{}`, "-"},
		{"robot", `{"x":1}`, `{"x":1}`},
	} {
		if got := settingsText(topology.NodeSpec{Kind: c.kind, Settings: json.RawMessage(c.settings)}); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.kind, c.settings, got, c.want)
		}
	}
}
