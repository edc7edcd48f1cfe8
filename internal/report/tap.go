package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// tapPoint is one line of TAP with its diagnostics.
type tapPoint struct {
	ok          bool
	description string
	skip        string // why, where it was skipped
	// diagnostics as YAML: key, value, key, value.
	diagnostics []any
}

// writeTAP writes a test point for each client of each play, with YAML diagnostics. What got worse than the
// baseline is a point of its own.
func writeTAP(w io.Writer, d *Document, _ Options) error {
	var points []tapPoint
	m := d.matrix()
	for i := range m.rows {
		r := &m.rows[i]
		for k := range r.entries {
			points = append(points, tapEntry(r, &r.entries[k]))
		}
	}
	for _, text := range d.Missing {
		points = append(points, tapPoint{description: "missing: " + text})
	}
	if d.Baseline != nil {
		points = append(points, tapBaseline(d.Baseline)...)
	}
	out := bufio.NewWriter(w)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) } // Flush returns the error
	line("TAP version 13")
	line("1..%d", len(points))
	line("# wslab %s, %s", oneLine(d.Wslab), oneLine(d.where()))
	for _, n := range d.Notes {
		line("# %s", oneLine(n))
	}
	for i, p := range points {
		word := "ok"
		if !p.ok {
			word = "not ok"
		}
		text := fmt.Sprintf("%s %d - %s", word, i+1, tapText(p.description))
		if p.skip != "" {
			text += " # SKIP " + tapText(p.skip)
		}
		line("%s", text)
		if len(p.diagnostics) == 0 {
			continue
		}
		line("  ---")
		for k := 0; k < len(p.diagnostics); k += 2 {
			line("  %s: %s", p.diagnostics[k], yamlValue(p.diagnostics[k+1]))
		}
		line("  ...")
	}
	line("# %s", oneLine(d.summary()))
	return out.Flush()
}

// tapText is a text in which nothing begins a directive.
func tapText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `#`, `\#`).Replace(oneLine(s))
}

// yamlValue is a value as YAML's flow style has it, which JSON is.
func yamlValue(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "null" // no value here fails
	}
	return strings.TrimSpace(b.String())
}

func tapEntry(r *row, e *entry) tapPoint {
	p := tapPoint{ok: e.passed(), description: r.id.String() + ": " + e.client}
	shown := e.shown()
	if shown == nil {
		p.skip = "not finished"
		if len(r.unfinished) > 0 {
			p.skip += ": " + r.unfinished[0].Why
		}
		p.diagnostics = []any{"verdict", e.state()}
		return p
	}
	p.diagnostics = []any{"verdict", e.state(), "expected", shown.Expected, "cause", shown.Cause, "lost", lost(e), "outage", outage(e)}
	add := func(key string, value string) {
		if value != "" {
			p.diagnostics = append(p.diagnostics, key, value)
		}
	}
	add("rounds", e.tally())
	add("message", shown.expectation())
	for _, play := range r.plays {
		if play.Untrusted != "" {
			add("untrusted", play.Untrusted)
			break // a key is there once
		}
	}
	if len(shown.Output) > 0 {
		p.diagnostics = append(p.diagnostics, "output", shown.Output)
	}
	return p
}

func tapBaseline(c *Comparison) []tapPoint {
	summary, _ := c.lines()
	points := []tapPoint{{ok: c.Passed(), description: "baseline", diagnostics: []any{"message", summary}}}
	if len(c.Notes) > 0 {
		points[0].diagnostics = append(points[0].diagnostics, "notes", c.Notes)
	}
	for _, list := range []struct {
		word    string
		changes []Change
		ok      bool
	}{{"worse", c.Worse, false}, {"vanished", c.Vanished, false}, {"better", c.Better, true}, {"new", c.New, true}} {
		for _, change := range list.changes {
			points = append(points, tapPoint{
				ok: list.ok, description: fmt.Sprintf("baseline, %s: %s, %s", list.word, change.Play, change.Client),
				diagnostics: []any{"message", change.What},
			})
		}
	}
	return points
}
