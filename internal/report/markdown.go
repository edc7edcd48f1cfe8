package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// maxMarkdown is a little under what GitHub takes as the summary of a step, 1 MiB.
const maxMarkdown = 1000 << 10

// writeMarkdown writes the matrix, what was not as expected with its causes, and every play to be opened. Where
// that would be more than GitHub shows, the plays that did as expected are left out, and that is said.
func writeMarkdown(w io.Writer, d *Document, _ Options) error {
	m := d.matrix()
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	result := "✅ Passed"
	switch {
	case !d.Passed:
		result = "❌ Failed"
	case len(d.Unfinished) > 0:
		result = "⚠️ Not finished"
	}
	line("## wslab: %s\n", result)
	line("%s (%s)\n", md(d.summary()), md(d.where()))
	for _, text := range d.Missing {
		line("- **Missing:** %s", md(text))
	}
	for _, n := range d.Notes {
		line("- Note: %s", md(n))
	}
	if d.Baseline != nil {
		summary, details := d.Baseline.lines()
		line("\n### Baseline\n\n%s\n", md(summary))
		for _, text := range details {
			line("- %s", md(text))
		}
	}
	if len(m.rows) > 0 {
		line("\n### Matrix\n")
		line("| | %s |", strings.Join(each(m.clients, md), " | "))
		line("|---|%s", strings.Repeat("---|", len(m.clients)))
		for i := range m.rows {
			r := &m.rows[i]
			texts := []string{md(r.id.String())}
			for _, client := range m.clients {
				texts = append(texts, mdState(r.find(client)))
			}
			line("| %s |", strings.Join(texts, " | "))
		}
		line("\n%s", md(legend(m)))
	}
	var unexpected, rest bytes.Buffer
	for i := range m.rows {
		r := &m.rows[i]
		mdPlay(&rest, r, func(*entry) bool { return true })
		if hasUnexpected(r) {
			mdPlay(&unexpected, r, func(e *entry) bool { return !e.passed() })
		}
	}
	if unexpected.Len() > 0 {
		line("\n### Not as expected")
		b.Write(unexpected.Bytes())
	}
	switch {
	case rest.Len() == 0:
	case b.Len()+rest.Len() > maxMarkdown:
		line("\nEvery play with its causes would be more than GitHub shows: they are in the other reports.")
	default:
		line("\n<details><summary>Every play with its causes</summary>")
		b.Write(rest.Bytes())
		line("\n</details>")
	}
	if len(d.Unfinished) > 0 {
		line("\n### Not finished\n")
		for _, u := range d.Unfinished {
			line("- %s: %s", md(u.id().String()), md(u.Why))
		}
	}
	line("")
	_, err := w.Write(b.Bytes())
	return err
}

func hasUnexpected(r *row) bool {
	for i := range r.entries {
		if !r.entries[i].passed() {
			return true
		}
	}
	return false
}

func mdPlay(b *bytes.Buffer, r *row, which func(*entry) bool) {
	fmt.Fprintf(b, "\n#### %s\n", md(r.id.String()))
	for _, p := range r.plays {
		if p.Untrusted != "" {
			fmt.Fprintf(b, "\n%sThe timing cannot be trusted: %s\n", roundText(p.Round), md(p.Untrusted))
		}
	}
	fmt.Fprintf(b, "\n| client | verdict | lost | outage | cause |\n|---|---|---|---|---|\n")
	for i := range r.entries {
		e := &r.entries[i]
		if !which(e) {
			continue
		}
		var causes []string
		if tally := e.tally(); tally != "" {
			causes = append(causes, md(tally))
		}
		for _, c := range e.examples() {
			if !c.Passed {
				causes = append(causes, "**"+md(c.expectation())+"**")
			}
			causes = append(causes, md(c.Cause))
			if !c.Passed {
				causes = append(causes, each(c.Output, mdCode)...)
			}
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", md(e.client), mdState(e), lost(e), outage(e), strings.Join(causes, "<br>"))
	}
}

// mdState is a state with its mark, and whether it was expected.
func mdState(e *entry) string {
	if e == nil {
		return ""
	}
	text := stateText(e.state())
	if !e.passed() {
		text += " !"
	}
	return text
}

func each(texts []string, f func(string) string) []string {
	all := make([]string, len(texts))
	for i, s := range texts {
		all[i] = f(s)
	}
	return all
}

// md is a text in which nothing is markup.
func md(s string) string {
	var b strings.Builder
	for _, r := range oneLine(s) {
		switch r {
		case '&':
			b.WriteString("&amp;")
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '@': // no name is told of a report
			b.WriteString("&#64;")
		case '\\', '`', '*', '_', '[', ']', '|', '#', '~':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// mdCode is a line as it stands.
func mdCode(s string) string {
	return "<code>" + md(s) + "</code>"
}
