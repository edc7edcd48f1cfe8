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
func writeTable(w io.Writer, r Run, o Options) error {
	t := &table{out: bufio.NewWriter(w), o: o, width: o.Width}
	if t.width <= 0 {
		t.width = defaultWidth
	}
	for _, p := range r.Results {
		t.play(p)
	}
	if len(r.Results) > 1 {
		t.overview(r)
	}
	t.summary(r)
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
	if !t.o.Color || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// mark of a verdict, with the style of both.
func mark(v scenarios.Verdict) (string, style) {
	switch v {
	case scenarios.Survived:
		return "●", green
	case scenarios.Recovered:
		return "↻", yellow
	}
	return "✗", red
}

// verdictText is a verdict with its mark: "● survived".
func verdictText(v scenarios.Verdict) string {
	m, _ := mark(v)
	return m + " " + string(v)
}

// play writes one play: a title, and a row for each client.
func (t *table) play(p *scenarios.Result) {
	t.line(t.paint(bold, p.Scenario) + " on " + p.Lab + ", " + way(p.Path))
	for _, l := range wrap(p.Summary, t.width) {
		t.line(t.paint(dim, l))
	}
	t.line("")
	columns := columnsOf(p)
	t.line("  " + t.paint(dim, columns.row("CLIENT", "VERDICT", "LOST", "OUTAGE", "CAUSE")))
	for i := range p.Cells {
		t.client(&p.Cells[i], columns)
	}
	t.line("")
}

func way(path string) string {
	if path == "direct" || path == "" {
		return "direct"
	}
	return "through " + path
}

// client writes a row; the cause stands in the last column, or below when the
// terminal is too narrow for that.
func (t *table) client(c *scenarios.Cell, columns columns) {
	_, s := mark(c.Verdict)
	lead := "  "
	if !c.Passed {
		lead = t.paint(red, "! ")
	}
	row := columns.row(c.Client, verdictText(c.Verdict), lost(c), outage(c), "")
	row = strings.Replace(row, verdictText(c.Verdict), t.paint(s, verdictText(c.Verdict)), 1)
	indent := 2 + columns.width()
	if t.width-indent < minText {
		t.line(lead + row)
		indent = 4
		row, lead = "", strings.Repeat(" ", indent)
	}
	room := max(minText, min(maxText, t.width-indent))
	var lines []string
	if !c.Passed {
		for _, l := range wrap(t.expectation(c), room) {
			lines = append(lines, t.paint(red, l))
		}
	}
	lines = append(lines, wrap(c.Cause.Text(t.o.Language), room)...)
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

// expectation says what was expected instead.
func (t *table) expectation(c *scenarios.Cell) string {
	text := "expected " + c.Expected.String()
	if slices.Contains(c.Expected, c.Verdict) {
		text += ", but: " + c.Unmet.Text(t.o.Language)
	}
	return text
}

func lost(c *scenarios.Cell) string {
	return strconv.Itoa(c.Lost)
}

func outage(c *scenarios.Cell) string {
	if c.Outage == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f s", c.Outage.Seconds())
}

// columns are the widths of a play's columns.
type columns struct{ client, verdict, lost, outage int }

func columnsOf(p *scenarios.Result) columns {
	w := columns{len("CLIENT"), len("VERDICT"), len("LOST"), len("OUTAGE")}
	for i := range p.Cells {
		c := &p.Cells[i]
		w.client = max(w.client, displayWidth(c.Client))
		w.verdict = max(w.verdict, displayWidth(verdictText(c.Verdict)))
		w.lost = max(w.lost, displayWidth(lost(c)))
		w.outage = max(w.outage, displayWidth(outage(c)))
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

// summary says in one line whether all did as expected.
func (t *table) summary(r Run) {
	total, passed := 0, 0
	for _, p := range r.Results {
		for _, c := range p.Cells {
			total++
			if c.Passed {
				passed++
			}
		}
	}
	where := fmt.Sprintf("engine %s, speed %g", r.Engine, r.Speed)
	if passed == total {
		t.line(t.paint(green, fmt.Sprintf("%d of %d as expected", passed, total)) + " (" + where + ")")
		return
	}
	t.line(t.paint(red, fmt.Sprintf("%d of %d not as expected", total-passed, total)) + " (" + where + ")")
}
