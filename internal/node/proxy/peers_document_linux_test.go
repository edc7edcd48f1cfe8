package proxy

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/peers.md anew")

// playedPeer is a program that wslab's proxy of a protocol is held against.
type playedPeer struct {
	name, pkg, protocol, settings string
	cases                         []string
	// differences by case: what the peer does, what wslab's proxy does, and why.
	differences map[string][3]string
}

// playedPeers are the tables of cases that the tests of this package play against both.
func playedPeers() []playedPeer {
	squid := playedPeer{
		name: "Squid", pkg: "squid", protocol: "http",
		settings:    "`preset: squid`; Squid's configuration gives it the same timeouts, users and ports. Cases of Upgrade that passes have `upgrade: pass` and `http_upgrade_request_protocols`.",
		differences: map[string][3]string{},
	}
	for _, c := range squidCases() {
		squid.cases = append(squid.cases, c.name)
	}
	for name, d := range squidDifferences() {
		squid.differences[name] = [3]string{d.squid, d.wslab, d.why}
	}
	dante := playedPeer{
		name: "Dante", pkg: "dante-server", protocol: "socks5",
		settings:    "methods, users and rules alike; answers in hexadecimal, as they came, and how the connection ended (`...` is not at all).",
		differences: map[string][3]string{},
	}
	for _, c := range socksCases() {
		dante.cases = append(dante.cases, c.name)
	}
	for name, d := range socksDifferences() {
		dante.differences[name] = [3]string{d.dante, d.wslab, d.why}
	}
	reverse := func(name, pkg, title, settings string) playedPeer {
		p := playedPeer{name: title, pkg: pkg, protocol: "reverse", settings: settings, differences: map[string][3]string{}}
		for _, c := range reverseCases() {
			if name != "haproxy" || !c.config.strip {
				p.cases = append(p.cases, c.name)
			}
		}
		for name, d := range reverseDifferences()[name] {
			p.differences[name] = [3]string{d.peer, d.wslab, d.why}
		}
		return p
	}
	return []playedPeer{
		squid, dante,
		reverse("nginx", "nginx-light", "nginx", "`preset: nginx` with a short `idle_timeout`; `upgrade: strip` where nginx lacks its Upgrade lines."),
		reverse("haproxy", "haproxy", "HAProxy", "`preset: haproxy` with a short `idle_timeout`."),
	}
}

// TestPeersDocument compares docs/peers.md with the tables.
func TestPeersDocument(t *testing.T) {
	var b strings.Builder
	peers := playedPeers()
	total, different := 0, 0
	for _, p := range peers {
		total += len(p.cases)
		different += len(p.differences)
	}
	fmt.Fprintf(&b, `# wslab's proxies beside Debian's

Made from the tables of the tests: `+"`go test ./internal/node/proxy -run PeersDocument -update`"+`.

%d cases are played against wslab's own proxies and against programs that Debian has, side by side: what a client writes, and
what it sees - status lines, headers, reply codes, whether and how the connection ends, after how long where a timeout is what
the case is about - and what the server behind sees. In %d both do the same. The rest is here, with what each does and why;
a test fails when either does anything else.
`, total, total-different)
	for _, p := range peers {
		fmt.Fprintf(&b, "\n## %s (Debian: %s) and `protocol: %s`\n\n%d cases, %d alike. Settings: %s\n", p.name, p.pkg, p.protocol, len(p.cases), len(p.cases)-len(p.differences), p.settings)
		var alike []string
		for _, name := range p.cases {
			if _, differs := p.differences[name]; !differs {
				alike = append(alike, name)
			}
		}
		fmt.Fprintf(&b, "\nAlike: %s.\n\n| Case | %s | wslab | Why |\n|---|---|---|---|\n", strings.Join(alike, "; "), p.name)
		for _, name := range p.cases {
			if d, differs := p.differences[name]; differs {
				fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, shownInTable(d[0]), shownInTable(d[1]), cellText(d[2]))
			}
		}
		for name := range p.differences {
			if !slices.Contains(p.cases, name) {
				t.Errorf("%s: a difference of no case: %s", p.name, name)
			}
		}
		if p.protocol == protocolHTTP {
			b.WriteString("\nFields that Squid sends and wslab's proxy does not, in every case:\n\n")
			for _, name := range sortedKeys(squidsOwn) {
				fmt.Fprintf(&b, "- `%s`: %s\n", name, squidsOwn[name])
			}
			b.WriteString("- `charset=\"UTF-8\"` in Proxy-Authenticate is wslab's alone: RFC 7617, section 2.1, lets a proxy say what it takes\n")
		}
	}
	const file = "../../../docs/peers.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is not what the tables say; write it anew with -update", file)
	}
}

// shownInTable is what came as code, its lines one under another.
func shownInTable(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, "`"+strings.ReplaceAll(line, "|", `\|`)+"`")
		}
	}
	return strings.Join(lines, "<br>")
}

func cellText(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
