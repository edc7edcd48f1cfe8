package strategies

import (
	"fmt"
	"strings"

	"github.com/wslab/wslab/strategy"
)

// Markdown returns the page about the strategies for users: what each sends, when it would
// notice a black hole, how it comes back, and where that is from.
func Markdown(all []strategy.Named) string {
	var b strings.Builder
	b.WriteString(introduction)
	b.WriteString("\n| Strategy | When quiet | Black hole, client | Black hole, server | Reconnect | From |\n|---|---|---|---|---|---|\n")
	for _, n := range all {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s | %s | %s |\n", n.Name, anchor(n.Name), n.WhenQuiet(),
			n.Detection(), n.ServerDetection(), n.Reconnects(), from(n))
	}
	b.WriteString("\n## Each with its settings\n")
	for _, n := range all {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", n.Name, n.Summary)
		if settings := SettingsOf(n.Strategy); len(settings) > 0 {
			b.WriteString("\n```yaml\n")
			for _, s := range settings {
				b.WriteString(s.String() + "\n")
			}
			b.WriteString("```\n")
		}
		if n.Version != "" {
			fmt.Fprintf(&b, "\n%s:\n\n", n.Version)
		} else if len(n.Sources) > 0 {
			b.WriteString("\nAfter:\n\n")
		}
		for _, source := range n.Sources {
			b.WriteString("- " + link(source) + "\n")
		}
		if n.Note != "" {
			b.WriteString("\n" + n.Note + "\n")
		}
	}
	return b.String()
}

const introduction = `# Strategies

Made from the list of strategies: ` + "`go test ./cmd/wslab -run Reference -update`" + `.

A strategy says how a client keeps a connection and gets it back. Those of libraries do what the library does unless told
otherwise; where a setting has no default, the summary says which value was taken. Expectations of a scenario name them, and a
lab or a scenario file can define its own under ` + "`strategies:`" + ` with the same keys. ` + "`wslab strategies`" + ` lists them, ` + "`wslab strategies NAME`" + ` shows one.

Black hole: how long it takes until one is noticed while nobody speaks, from the best case (it opens just before a probe is due)
to the worst (just after one was answered), round trips left out. The figures are calculated from the settings and
measured in black holes under virtual time (` + "`go test ./strategy -run Detection`" + `).

The server's part (` + "`keepalive: { server: ... }`" + `) is done by a lab's server for each session that wants it: the client says so in the query of its
URL, ` + "`?session=NAME&keepalive=ping&interval=25s&timeout=20s&silence=1m`" + `. With ` + "`keepalive=heartbeat`" + ` the server sends
` + "`{\"type\":\"beat\",\"ts\":T}`" + ` and is answered with ` + "`{\"type\":\"beat-ack\",\"ts\":T}`" + `.

The windows of libraries are those that their defaults lead to; none was found to be another one in virtual time, nor in a lab
(scenario ` + "`quiet-black-hole`" + `, ` + "`go test ./cmd/wslab -run Detection`" + `).

` + "`wslab strategies --compare --speed 10`" + ` plays every built-in scenario with all of them. ` + "`wslab strategies --herd`" + ` says how many clients of each
come back together.

## Adaptive

` + "`adaptive`" + ` has no fixed figures.

- A ping is sent when nothing was heard for as long as the path is known to bear: 25 s at first. What was borne three times in a row
  grows by a quarter; a connection that does not outlive a silence, while a new one opens at once, sets a bound, and the time stays under it.
- What the program has sent and nobody answers is asked about after one and a half seconds, unless nobody ever answers. Any frame is an answer, and a part of a
  long one. While the program itself stands still nobody is blamed; after a sleep of the machine a ping goes at once.
- A connection that does not answer within three seconds (longer where answers are slow) is in doubt: another one is opened beside it.
  The first to be heard of is kept. So a short patience costs no false alarms.
- The first try is at once after a clean end (1001, 1012, a bare FIN or a RST), for a connection in doubt, and when the machine has lost the
  address of the connection. After a refusal the waits are those of a backoff with jitter; while nobody answers they are short, and
  attempts are made beside each other.
- Where pings do not hold a connection, because somebody on the way counts data alone, heartbeats take their place.

## Sessions that resume

` + "`resume: {}`" + ` in a strategy of one's own, or ` + "`+resume`" + ` behind the name of any (` + "`phoenix+resume`" + `): both ends keep what the other has not
acknowledged, and send it again over the next connection, from the first message on that the other has not seen. Beyond 1000 messages or 1 MiB
the client takes no more, and the server pushes no more, until something is acknowledged: nothing is dropped in silence. A server that was
restarted has forgotten the session; it gets again what it had not acknowledged, and may get it twice.

## All of them
`

// anchor is the name of a heading in a link.
func anchor(name string) string { return strings.ReplaceAll(name, ".", "") }

func from(n strategy.Named) string {
	if n.Version == "" {
		return "wslab"
	}
	return n.Version
}

// link makes the address of a source one.
func link(source string) string {
	if !strings.HasPrefix(source, "https://") {
		return source
	}
	url, section, _ := strings.Cut(source, " ")
	return strings.TrimSpace("<" + url + "> " + section)
}
