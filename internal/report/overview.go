package report

import (
	"slices"
	"strings"

	"github.com/wslab/wslab/scenarios"
)

// overview writes all plays as one table of scenario and client: verdicts in
// words unless the terminal is too narrow for them, else their marks, else nothing.
func (t *table) overview(r Run) {
	clients := clientsOf(r)
	words := t.grid(r, clients, func(v scenarios.Verdict) string { return string(v) })
	if t.o.Width <= 0 || words.width() <= t.width {
		words.print(t)
		return
	}
	marks := t.grid(r, clients, func(v scenarios.Verdict) string { m, _ := mark(v); return m })
	if marks.width() > t.width {
		return // the plays above say it all
	}
	marks.print(t)
	t.line("● survived  ↻ recovered  ✗ failed  ! not as expected")
	t.line("")
}

// clientsOf lists the clients of all plays, in the order they first appear.
func clientsOf(r Run) []string {
	var names []string
	for _, p := range r.Results {
		for _, c := range p.Cells {
			if !slices.Contains(names, c.Client) {
				names = append(names, c.Client)
			}
		}
	}
	return names
}

// grid is a table of short texts. The first row and column are headings.
type grid struct {
	rows   [][]string
	styles [][]style
	widths []int
}

func (t *table) grid(r Run, clients []string, text func(scenarios.Verdict) string) *grid {
	g := &grid{}
	g.add(append([]string{""}, clients...), slices.Repeat([]style{dim}, len(clients)+1))
	for _, p := range r.Results {
		row, styles := []string{p.Scenario + ", " + p.Lab}, []style{bold}
		if p.Path != "direct" && p.Path != "" {
			row[0] += " through " + p.Path
		}
		for _, name := range clients {
			i := slices.IndexFunc(p.Cells, func(c scenarios.Cell) bool { return c.Client == name })
			if i < 0 {
				row, styles = append(row, ""), append(styles, dim)
				continue
			}
			shown := text(p.Cells[i].Verdict)
			_, s := mark(p.Cells[i].Verdict)
			if !p.Cells[i].Passed {
				shown += " !"
			}
			row, styles = append(row, shown), append(styles, s)
		}
		g.add(row, styles)
	}
	return g
}

func (g *grid) add(row []string, styles []style) {
	g.rows, g.styles = append(g.rows, row), append(g.styles, styles)
	for i, text := range row {
		if i == len(g.widths) {
			g.widths = append(g.widths, 0)
		}
		g.widths[i] = max(g.widths[i], displayWidth(text))
	}
}

func (g *grid) width() int {
	total := 0
	for _, w := range g.widths {
		total += w + len(gap)
	}
	return total
}

func (g *grid) print(t *table) {
	for i, row := range g.rows {
		var b strings.Builder
		for j, text := range row {
			b.WriteString(t.paint(g.styles[i][j], text) + strings.Repeat(" ", g.widths[j]-displayWidth(text)) + gap)
		}
		t.line(b.String())
	}
	t.line("")
}
