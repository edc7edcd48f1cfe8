package report

import (
	"slices"
	"strings"
)

// overview writes all plays as one table of scenario and client: verdicts in
// words unless the terminal is too narrow for them, else their marks, else nothing.
func (t *table) overview(m *matrix) {
	words := t.grid(m, func(s State) string { return string(s) })
	if t.o.Width <= 0 || words.width() <= t.width {
		words.print(t)
		return
	}
	marks := t.grid(m, func(s State) string { shown, _ := mark(s); return shown })
	if marks.width() > t.width {
		return // the plays above say it all
	}
	marks.print(t)
	t.line(legend(m))
	t.line("")
}

// legend explains the marks: those of the verdicts, and of the other states those that are there.
func legend(m *matrix) string {
	var parts []string
	for i, s := range states() {
		there := slices.ContainsFunc(m.rows, func(r row) bool {
			return slices.ContainsFunc(r.entries, func(e entry) bool { return e.state() == s })
		})
		if i < 3 || there {
			shown, _ := mark(s)
			parts = append(parts, shown+" "+string(s))
		}
	}
	return strings.Join(append(parts, "! not as expected"), "  ")
}

// grid is a table of short texts. The first row and column are headings.
type grid struct {
	rows   [][]string
	styles [][]style
	widths []int
}

func (t *table) grid(m *matrix, text func(State) string) *grid {
	g := &grid{}
	g.add(append([]string{""}, m.clients...), slices.Repeat([]style{dim}, len(m.clients)+1))
	for i := range m.rows {
		r := &m.rows[i]
		texts, styles := []string{r.id.String()}, []style{bold}
		for _, name := range m.clients {
			e := r.find(name)
			if e == nil {
				texts, styles = append(texts, ""), append(styles, dim)
				continue
			}
			shown := text(e.state())
			_, s := mark(e.state())
			if !e.passed() {
				shown += " !"
			}
			texts, styles = append(texts, shown), append(styles, s)
		}
		g.add(texts, styles)
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
