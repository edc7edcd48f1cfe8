package preset

import (
	"fmt"
	"strings"
)

// Markdown returns the catalogue as a document for users: which preset for which
// situation, what each does, and where that is from.
func Markdown(all []Preset) string {
	var b strings.Builder
	b.WriteString(introduction)
	b.WriteString("\n## Which preset for which situation\n\n| Situation | Preset | Of a |\n|---|---|---|\n")
	for _, p := range all {
		fmt.Fprintf(&b, "| %s | [`%s`](#%s) | %s |\n", cell(p.Use), p.Name, p.Name, p.What())
	}
	b.WriteString("\n## What they do\n\n| Preset | Silence | Lifetime | Then | What counts as activity | TCP keepalive | Ping | Confidence |\n|---|---|---|---|---|---|---|---|\n")
	for _, p := range all {
		c := p.Claims
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s |\n",
			p.Name, c.TimeoutText(), c.LifetimeText(), c.OnExpiry, c.Activity, helps(c, c.KeptByTCP()), helps(c, c.KeptByPing()), p.Confidence)
	}
	b.WriteString("\nThen:\n\n")
	for _, v := range []string{Drop, Reset, Recover, FIN} {
		fmt.Fprintf(&b, "- **%s**: %s\n", v, OnExpiry(v))
	}
	b.WriteString("\nActivity:\n\n")
	for _, v := range []string{Packets, Data, Messages, None} {
		fmt.Fprintf(&b, "- **%s**: %s\n", v, Activity(v))
	}
	b.WriteString("\nConfidence, as sure as the least sure of its sources:\n\n")
	for _, v := range confidences() {
		fmt.Fprintf(&b, "- **%s**: %s\n", v, Confidence(v))
	}
	b.WriteString("\n## Each with its sources\n")
	for _, p := range all {
		writeEntry(&b, p)
	}
	return b.String()
}

const introduction = `# Presets

Made from the catalogue: ` + "`go test ./cmd/wslab -run Reference -update`" + `.

A proxy, firewall or NAT of a lab can be a preset: what a named middlebox is known to do to a quiet connection.

` + "```yaml" + `
nodes:
  alice:  { kind: client, on: [home] }
  nat:    { kind: nat, on: [home, internet], preset: aws-nat-gateway }
  server: { kind: server, on: [internet] }
` + "```" + `

Any key can be overridden beside it: ` + "`preset: nginx, idle_timeout: 5m`" + `. ` + "`wslab presets`" + ` lists them, ` + "`wslab presets NAME`" + `
shows one, ` + "`wslab inspect`" + ` says which settings of a running node are its preset's. A NAT and a firewall count silence in whole
seconds of real time, so ` + "`--speed`" + ` can be as large as the preset has seconds, and no larger. A reverse proxy needs its ` + "`upstream`" + `
beside the preset, a firewall what may pass: ` + "`allow`" + ` or ` + "`rules`" + `.

A keepalive has to be well under the silence of everything on the way; a maximum lifetime no keepalive can help against:
the client has to reconnect. TCP keepalive ends where the client's TCP connection ends, at the first proxy.
`

// helps says in a word whether a means of keepalive helps.
func helps(c Claims, kept bool) string {
	switch {
	case c.Timeout == 0 || !kept:
		return "no"
	case c.MaxLifetime > 0:
		return "until the lifetime"
	}
	return "yes"
}

func writeEntry(b *strings.Builder, p Preset) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n", p.Name, p.Summary)
	fmt.Fprintf(b, "`%s: %s`\n\n", p.Kind, p.Settings)
	if p.Claims.Range != "" {
		fmt.Fprintf(b, "- Silence: %s (%s)\n", p.Claims.TimeoutText(), p.Claims.Range)
	}
	if push := p.Claims.Push(); push != p.Claims.OnExpiry {
		fmt.Fprintf(b, "- At expiry, where the client sends first: %s\n- Where the server does: %s\n", p.Claims.OnExpiry, push)
	}
	for _, s := range p.Sources {
		where := s.Where
		if strings.HasPrefix(where, "https://") {
			url, section, _ := strings.Cut(where, " ")
			where = strings.TrimSpace("<" + url + "> " + section)
		}
		fmt.Fprintf(b, "- %s (%s): %s\n", where, s.Confidence, s.Says)
	}
	if p.Note != "" {
		fmt.Fprintf(b, "\n%s\n", p.Note)
	}
}

// cell keeps a text inside its cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
