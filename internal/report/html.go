package report

import (
	"bytes"
	"compress/flate"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/wslab/wslab/scenarios"
)

// maxPage is what a page may take, in bytes. Over it the timelines of what did as expected are left out.
const maxPage = 2_000_000

//go:embed page/page.html
var pageTemplate string

//go:embed page/page.css
var pageStyle string

//go:embed page/page.js
var pageScript string

// The data of a page that its script draws from. Texts are indexes of T.
type pageData struct {
	T []string   `json:"T"`
	P []pagePlay `json:"P"`
	// R are the rows of the matrix: for each the cells that it has, by client.
	R []pageRow `json:"R"`
}

type pagePlay struct {
	Way   [][2]string `json:"w"`
	End   int         `json:"d"`
	Steps [][4]int    `json:"s,omitempty"`
	Story story       `json:"y"`
	Round int         `json:"r,omitempty"`
	Note  int         `json:"n,omitempty"` // why it cannot be trusted
}

type pageRow struct {
	Title   int            `json:"t"`
	Summary int            `json:"s"`
	Entries [][]pageCell   `json:"e"` // of each client the rounds
	Client  []string       `json:"c"`
	Tally   map[string]int `json:"a,omitempty"`
	Why     int            `json:"u,omitempty"` // why it was not finished
}

type pageCell struct {
	Play     int    `json:"p"`
	Verdict  string `json:"v"`
	Expected int    `json:"x"` // what was expected and did not come
	Cause    int    `json:"c"`
	Figures  int    `json:"f"`
	Output   []int  `json:"o,omitempty"`
	Story    *story `json:"y,omitempty"`
}

// pageView is what the template writes.
type pageView struct {
	Title, Summary, Where, Language string
	Passed                          bool
	Clients                         []string
	Rows                            []pageViewRow
	Families, States                []string
	Unexpected                      []pageViewCell
	Missing, Notes                  []string
	Baseline                        string
	BaselineFailed                  bool
	Changes                         []string
	Unfinished                      []Unfinished
	Legend                          string
	LeftOut                         bool
	Style                           template.CSS
	Script                          template.JS
	Data                            template.HTML
}

type pageViewRow struct {
	Title, Family string
	Untrusted     bool
	Cells         []pageViewCell
}

type pageViewCell struct {
	There                            bool
	Row, Column                      int
	Play, Client, State, Mark, Class string
	Unexpected, Untrusted            bool
	Expectation, Tally, Cause        string
	Output                           []string
}

// writeHTML writes one page with everything in it: nothing is fetched. The matrix and what was not as expected are
// plain HTML; timelines are drawn by a script from compressed data.
func writeHTML(w io.Writer, d *Document, _ Options) error {
	page, err := renderPage(d, true)
	if err == nil && len(page) > maxPage {
		page, err = renderPage(d, false)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(page)
	return err
}

func renderPage(d *Document, whole bool) ([]byte, error) {
	m := d.matrix()
	data, err := pack(pageDataOf(d, m, whole))
	if err != nil {
		return nil, err
	}
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	v := view(d, m)
	v.Data, v.LeftOut = template.HTML(data), !whole // base64
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// pack compresses the data of a page and makes text of it.
func pack(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := z.Write(text); err != nil {
		return "", errors.Join(err, z.Close())
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

func pageDataOf(d *Document, m *matrix, whole bool) *pageData {
	data := &pageData{T: []string{""}}
	index := map[string]int{"": 0}
	text := func(s string) int {
		i, ok := index[s]
		if !ok {
			i = len(data.T)
			index[s], data.T = i, append(data.T, s)
		}
		return i
	}
	tellers := make([]*storyteller, len(d.Plays))
	for i := range d.Plays {
		p := &d.Plays[i]
		one := pagePlay{End: int(p.Duration * 100), Round: p.Round, Note: text(p.Untrusted), Way: [][2]string{}}
		for _, n := range p.Way {
			one.Way = append(one.Way, [2]string{n.Name, n.Kind})
		}
		for _, s := range p.Steps {
			one.Steps = append(one.Steps, [4]int{int(s.Start * 100), int(s.End * 100), text(s.Text), text(s.Missed)})
		}
		if p.Trace != nil {
			tellers[i] = newStoryteller(p, text)
			one.Story = tellers[i].tell("")
		}
		data.P = append(data.P, one)
	}
	for i := range m.rows {
		r := &m.rows[i]
		one := pageRow{Title: text(r.id.String()), Tally: make(map[string]int)}
		if len(r.plays) > 0 {
			one.Summary = text(r.plays[0].Summary)
		}
		if len(r.unfinished) > 0 {
			one.Why = text(r.unfinished[0].Why)
		}
		for k := range r.entries {
			e := &r.entries[k]
			one.Client = append(one.Client, e.client)
			if tally := e.tally(); tally != "" {
				one.Tally[e.client] = text(tally)
			}
			cells := []pageCell{}
			for _, c := range e.cells {
				cell := pageCell{Play: c.Play, Verdict: string(c.Verdict), Expected: text(c.expectation()), Cause: text(c.Cause), Figures: text(figures(c))}
				for _, l := range c.Output {
					cell.Output = append(cell.Output, text(l))
				}
				if t := tellers[c.Play]; t != nil && c.Session != "" && (whole || !c.Passed) {
					s := t.tell(c.Session)
					cell.Story = &s
				}
				cells = append(cells, cell)
			}
			one.Entries = append(one.Entries, cells)
		}
		data.R = append(data.R, one)
	}
	return data
}

// figures of a cell in a line.
func figures(c *Cell) string {
	text := fmt.Sprintf("%d of %d messages lost", c.Lost, c.Sent)
	if c.Duplicated > 0 {
		text += fmt.Sprintf(", %d came again", c.Duplicated)
	}
	text += fmt.Sprintf(" · connections: %d", c.Connections)
	for _, part := range []struct {
		name string
		s    *float64
	}{{"longest outage", c.Outage}, {"noticed after", c.Detect}, {"back after", c.Recover}} {
		if part.s != nil {
			text += fmt.Sprintf(" · %s %.1f s", part.name, *part.s)
		}
	}
	if c.KeepaliveBytes > 0 {
		text += fmt.Sprintf(" · %d bytes of keepalive", c.KeepaliveBytes)
	}
	return text
}

// view is the part of a page that needs no script.
func view(d *Document, m *matrix) *pageView {
	v := &pageView{
		Title: "wslab: passed", Summary: d.summary(), Where: d.where() + ", wslab " + d.Wslab, Language: string(d.Language), Passed: d.Passed, Clients: m.clients,
		Missing: d.Missing, Notes: d.Notes, Unfinished: d.Unfinished, Legend: legend(m), Style: template.CSS(pageStyle), Script: template.JS(pageScript),
	}
	switch {
	case !d.Passed:
		v.Title = "wslab: failed"
	case len(d.Unfinished) > 0:
		v.Title = "wslab: not finished"
	}
	if d.Baseline != nil {
		v.Baseline, v.Changes = d.Baseline.lines()
		v.BaselineFailed = !d.Baseline.Passed()
	}
	for i := range m.rows {
		r := &m.rows[i]
		row := pageViewRow{Title: r.id.String()}
		if len(r.plays) > 0 {
			row.Family = r.plays[0].Family
		}
		if row.Family != "" && !slices.Contains(v.Families, row.Family) {
			v.Families = append(v.Families, row.Family)
		}
		for column, client := range m.clients {
			e := r.find(client)
			if e == nil {
				row.Cells = append(row.Cells, pageViewCell{})
				continue
			}
			c := viewCell(r, e)
			c.Row, c.Column = i, column
			if !slices.Contains(v.States, c.State) {
				v.States = append(v.States, c.State)
			}
			row.Untrusted = row.Untrusted || c.Untrusted
			row.Cells = append(row.Cells, c)
			if c.Unexpected {
				v.Unexpected = append(v.Unexpected, c)
			}
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}

func viewCell(r *row, e *entry) pageViewCell {
	shown, _ := mark(e.state())
	c := pageViewCell{
		There: true, Play: r.id.String(), Client: e.client, State: string(e.state()), Mark: shown, Unexpected: !e.passed(), Untrusted: e.untrusted > 0, Tally: e.tally(),
		Class: string(e.state())[:1],
	}
	switch e.state() {
	case Flaky:
		c.Class = "k"
	case State(scenarios.Failed):
		c.Class = "f"
	}
	if c.Unexpected {
		c.Class += " x"
	}
	if s := e.shown(); s != nil {
		c.Expectation, c.Cause = s.expectation(), s.Cause
		for _, l := range s.Output {
			c.Output = append(c.Output, strings.TrimRight(l, "\n"))
		}
	}
	return c
}
