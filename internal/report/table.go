package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/wslab/wslab/scenarios"
)

// Widths of the table in columns.
const (
	defaultWidth = 100 // where the terminal's is unknown
	maxText      = 76  // of a line of a cause: longer lines are hard to read
	minText      = 32  // of a line of a cause, whatever the terminal
)

// writeTable writes every play with its clients, and then an overview of all.
func writeTable(w io.Writer, d *Document, o Options) error {
	t := &table{out: bufio.NewWriter(w), o: o, width: o.Width}
	if t.width <= 0 {
		t.width = defaultWidth
	}
	m := d.matrix()
	for i := range m.rows {
		t.play(&m.rows[i])
	}
	if len(m.rows) > 1 {
		t.overview(m)
	}
	t.rest(d)
	t.summary(d, m)
	return t.out.Flush()
}

type table struct {
	out   *bufio.Writer // keeps the first error for Flush
	o     Options
	width int
}

func (t *table) line(text string) {
	_, _ = t.out.WriteString(strings.TrimRight(text, " ") + "\n") // Flush returns the error
}

// style is how a piece of text stands out, as an escape sequence.
type style string

const (
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

func (t *table) paint(s style, text string) string {
	if !t.o.Color || text == "" || s == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// mark of a state, with the style of both.
func mark(s State) (string, style) {
	switch s {
	case State(scenarios.Survived):
		return "●", green
	case State(scenarios.Recovered):
		return "↻", yellow
	case Flaky:
		return "≈", yellow
	case NotFinished:
		return "…", dim
	}
	return "✗", red
}

// stateText is a state with its mark: "● survived".
func stateText(s State) string {
	m, _ := mark(s)
	return m + " " + string(s)
}

// play writes one play: a title, and a line for each client.
func (t *table) play(r *row) {
	t.line(t.paint(bold, r.id.scenario) + " on " + r.id.lab + ", " + from(r.id.from) + way(r.id.path))
	var above []string
	if len(r.plays) > 0 {
		above = append(above, r.plays[0].Summary)
	}
	if r.id.with != "" {
		above = append(above, "with "+r.id.with)
	}
	for _, p := range r.plays {
		if p.Untrusted != "" {
			above = append(above, roundText(p.Round)+"The timing cannot be trusted: "+p.Untrusted)
		}
	}
	for _, u := range r.unfinished {
		above = append(above, "Not finished: "+u.Why)
	}
	for _, text := range above {
		for _, l := range wrap(text, t.width) {
			t.line(t.paint(dim, l))
		}
	}
	t.line("")
	columns := columnsOf(r)
	t.line("  " + t.paint(dim, columns.row("CLIENT", "VERDICT", "LOST", "OUTAGE", "CAUSE")))
	for i := range r.entries {
		t.client(&r.entries[i], columns)
	}
	t.line("")
}

// roundText names the round of a repeated play.
func roundText(round int) string {
	if round == 0 {
		return ""
	}
	return fmt.Sprintf("Round %d: ", round)
}

// from names the client node, where a scenario plays several.
func from(node string) string {
	if node == "" {
		return ""
	}
	return "from " + node + ", "
}

func way(path string) string {
	if path == "direct" || path == "" {
		return "direct"
	}
	return "through " + path
}

// client writes a row; the cause stands in the last column, or below when the
// terminal is too narrow for that.
func (t *table) client(e *entry, columns columns) {
	_, s := mark(e.state())
	lead := "  "
	if !e.passed() {
		lead = t.paint(red, "! ")
	}
	row := columns.row(e.client, stateText(e.state()), lost(e), outage(e), "")
	row = strings.Replace(row, stateText(e.state()), t.paint(s, stateText(e.state())), 1)
	indent := 2 + columns.width()
	if t.width-indent < minText {
		t.line(lead + row)
		indent = 4
		row, lead = "", strings.Repeat(" ", indent)
	}
	room := max(minText, min(maxText, t.width-indent))
	var lines []string
	if text := e.tally(); text != "" {
		lines = append(lines, wrap(text, room)...)
	}
	for _, c := range e.examples() {
		if !c.Passed {
			for _, l := range wrap(c.expectation(), room) {
				lines = append(lines, t.paint(red, l))
			}
		}
		lines = append(lines, wrap(c.Cause, room)...)
		if !c.Passed {
			for _, l := range c.Output {
				lines = append(lines, t.paint(dim, "| "+oneLine(l)))
			}
		}
	}
	for i, l := range lines {
		if i == 0 {
			t.line(lead + row + l)
			continue
		}
		t.line(strings.Repeat(" ", indent) + l)
	}
	if len(lines) == 0 {
		t.line(lead + row)
	}
}

// lost is how many messages were; of several rounds the least and the most.
func lost(e *entry) string {
	least, most := -1, -1
	for _, c := range e.cells {
		if least < 0 || c.Lost < least {
			least = c.Lost
		}
		most = max(most, c.Lost)
	}
	switch {
	case least < 0:
		return "-"
	case least < most:
		return fmt.Sprintf("%d-%d", least, most)
	}
	return strconv.Itoa(least)
}

// outage is the longest; of several rounds that of the one that was shortest and of the one that was longest.
func outage(e *entry) string {
	var all []float64
	for _, c := range e.cells {
		if c.Outage != nil {
			all = append(all, *c.Outage)
		}
	}
	if len(all) == 0 {
		return "-"
	}
	least, most := fmt.Sprintf("%.1f", slices.Min(all)), fmt.Sprintf("%.1f s", slices.Max(all))
	if least+" s" != most {
		return least + "-" + most
	}
	return most
}

// columns are the widths of a play's columns.
type columns struct{ client, verdict, lost, outage int }

func columnsOf(r *row) columns {
	w := columns{len("CLIENT"), len("VERDICT"), len("LOST"), len("OUTAGE")}
	for i := range r.entries {
		e := &r.entries[i]
		w.client = max(w.client, displayWidth(e.client))
		w.verdict = max(w.verdict, displayWidth(stateText(e.state())))
		w.lost = max(w.lost, displayWidth(lost(e)))
		w.outage = max(w.outage, displayWidth(outage(e)))
	}
	return w
}

const gap = "  "

// width of all columns but the cause, gaps included.
func (w columns) width() int { return w.client + w.verdict + w.lost + w.outage + 4*len(gap) }

func (w columns) row(client, verdict, lost, outage, cause string) string {
	return padRight(client, w.client) + gap + padRight(verdict, w.verdict) + gap +
		padLeft(lost, w.lost) + gap + padLeft(outage, w.outage) + gap + cause
}

// rest writes what is about the whole run.
func (t *table) rest(d *Document) {
	before := len(d.Notes) + len(d.Missing)
	text := func(s style, text string) {
		for i, l := range wrap(text, t.width) {
			if i > 0 {
				l = "  " + l
			}
			t.line(t.paint(s, l))
		}
	}
	for _, m := range d.Missing {
		text(red, "missing: "+m)
	}
	for _, n := range d.Notes {
		text(dim, "note: "+n)
	}
	if d.Baseline != nil {
		before++
		summary, details := d.Baseline.lines()
		s := green
		if !d.Baseline.Passed() {
			s = red
		}
		text(s, summary)
		for _, l := range details {
			text("", "  "+l)
		}
	}
	if before > 0 {
		t.line("")
	}
}

// summary says in one line whether all did as expected.
func (t *table) summary(d *Document, m *matrix) {
	s := green
	if m.counts().unexpected > 0 {
		s = red
	}
	t.line(t.paint(s, d.summary()) + " (" + d.where() + ")")
}
