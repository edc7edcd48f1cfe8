package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wslab/wslab/scenarios"
)

// State is what a cell shows: a verdict, or that there is not the one verdict.
type State string

// The states beside the verdicts.
const (
	// Flaky: the rounds of a repeated play came out differently.
	Flaky State = "flaky"
	// NotFinished: the play did not come to an end.
	NotFinished State = "unfinished"
)

// states are all of them, in the order of legends.
func states() []State {
	return []State{State(scenarios.Survived), State(scenarios.Recovered), State(scenarios.Failed), Flaky, NotFinished}
}

// matrix is a document as plays by clients: what overviews show. Rounds of a play are one row.
type matrix struct {
	clients []string
	rows    []row
}

// row is a play, or the rounds of one that is repeated.
type row struct {
	id playID
	// plays are the rounds; none where it was not finished.
	plays []*Play
	// unfinished are the rounds that did not come to an end.
	unfinished []*Unfinished
	// entries in the order of the play's clients.
	entries []entry
}

// entry is one client in one row.
type entry struct {
	client string
	// cells of the rounds.
	cells []*Cell
	// untrusted counts the rounds whose timing cannot be trusted.
	untrusted int
	// unfinished counts the rounds that did not come to an end.
	unfinished int
}

// playID tells plays apart. Rounds of one play have the same.
type playID struct {
	scenario, lab, path, from, with string
	// again counts plays that are alike in all of that, from 0: those of a file that is played twice.
	again int
}

func (p *Play) id() playID {
	return playID{scenario: p.Scenario, lab: p.Lab, path: p.Path, from: p.From, with: strings.Join(p.With, "; ")}
}

func (u *Unfinished) id() playID {
	return playID{scenario: u.Scenario, lab: u.Lab, path: u.Path, from: u.From, with: strings.Join(u.With, "; ")}
}

// String is the play for a person: "nat-idle, corporate through http-proxy".
func (id playID) String() string {
	text := id.scenario + ", " + id.lab
	if id.from != "" {
		text += " from " + id.from
	}
	if id.path != "direct" && id.path != "" {
		text += " through " + id.path
	}
	if id.with != "" {
		text += " with " + id.with
	}
	if id.again > 0 {
		text += fmt.Sprintf(" (again, %d)", id.again+1)
	}
	return text
}

// ids returns the identity of each play.
func (d *Document) ids() []playID {
	type round struct {
		id    playID
		round int
	}
	again := make(map[round]int)
	ids := make([]playID, len(d.Plays))
	for i := range d.Plays {
		key := round{d.Plays[i].id(), d.Plays[i].Round}
		ids[i] = key.id
		ids[i].again = again[key]
		again[key]++
	}
	return ids
}

// matrix arranges the document.
func (d *Document) matrix() *matrix {
	m := &matrix{}
	at := make(map[playID]int)
	rowOf := make([]int, len(d.Plays))
	for i, id := range d.ids() {
		if _, ok := at[id]; !ok {
			at[id] = len(m.rows)
			m.rows = append(m.rows, row{id: id})
		}
		rowOf[i] = at[id]
		r := &m.rows[at[id]]
		r.plays = append(r.plays, &d.Plays[i])
	}
	for i := range d.Cells {
		c := &d.Cells[i]
		e := m.rows[rowOf[c.Play]].entry(c.Client)
		e.cells = append(e.cells, c)
		if d.Plays[c.Play].Untrusted != "" {
			e.untrusted++
		}
	}
	for i := range d.Unfinished {
		u := &d.Unfinished[i]
		r := m.rowFor(u)
		r.unfinished = append(r.unfinished, u)
		for _, client := range u.Clients {
			r.entry(client).unfinished++
		}
	}
	for i := range m.rows {
		for _, e := range m.rows[i].entries {
			if !slices.Contains(m.clients, e.client) {
				m.clients = append(m.clients, e.client)
			}
		}
	}
	return m
}

// Clients are the names of the clients of all plays, in the order in which they come first.
func (d *Document) Clients() []string { return d.matrix().clients }

// rowFor returns the row of a play that did not come to an end: that of its other rounds, else a new one.
func (m *matrix) rowFor(u *Unfinished) *row {
	id := u.id()
	for i := range m.rows {
		r := &m.rows[i]
		same := r.id
		same.again = 0
		if id.path == "" {
			same.path = "" // it was not known yet which one is the first
		}
		if same == id && (len(r.plays) == 0 || r.plays[0].Round > 0) {
			return r
		}
	}
	m.rows = append(m.rows, row{id: id})
	return &m.rows[len(m.rows)-1]
}

// entry returns that of a client, a new one if need be.
func (r *row) entry(client string) *entry {
	i := slices.IndexFunc(r.entries, func(e entry) bool { return e.client == client })
	if i < 0 {
		i = len(r.entries)
		r.entries = append(r.entries, entry{client: client})
	}
	return &r.entries[i]
}

// find returns the entry of a client, or nil.
func (r *row) find(client string) *entry {
	for i := range r.entries {
		if r.entries[i].client == client {
			return &r.entries[i]
		}
	}
	return nil
}

// state of the entry.
func (e *entry) state() State {
	if len(e.cells) == 0 {
		return NotFinished
	}
	if len(e.verdicts()) > 1 {
		return Flaky
	}
	return State(e.cells[0].Verdict)
}

// passed says whether all rounds that were finished came out as expected.
func (e *entry) passed() bool {
	return !slices.ContainsFunc(e.cells, func(c *Cell) bool { return !c.Passed })
}

// verdicts are those that came out, best first.
func (e *entry) verdicts() []scenarios.Verdict {
	var all []scenarios.Verdict
	for _, v := range []scenarios.Verdict{scenarios.Survived, scenarios.Recovered, scenarios.Failed} {
		if e.count(v) > 0 {
			all = append(all, v)
		}
	}
	return all
}

func (e *entry) count(v scenarios.Verdict) int {
	n := 0
	for _, c := range e.cells {
		if c.Verdict == v {
			n++
		}
	}
	return n
}

// repeated says whether there are several rounds.
func (e *entry) repeated() bool { return len(e.cells)+e.unfinished > 1 }

// tally says how often each verdict came out: "survived 3 of 5, failed 2 of 5"; empty where
// there was one round.
func (e *entry) tally() string {
	if !e.repeated() {
		return ""
	}
	of := len(e.cells) + e.unfinished
	var parts []string
	for _, v := range e.verdicts() {
		parts = append(parts, fmt.Sprintf("%s %d of %d", v, e.count(v), of))
	}
	if e.unfinished > 0 {
		parts = append(parts, fmt.Sprintf("unfinished %d of %d", e.unfinished, of))
	}
	return strings.Join(parts, ", ")
}

// shown is the cell that stands for all rounds: the first that was not as expected, else the
// first of the worst verdict. It is nil where none was finished.
func (e *entry) shown() *Cell {
	if len(e.cells) == 0 {
		return nil
	}
	for _, c := range e.cells {
		if !c.Passed {
			return c
		}
	}
	verdicts := e.verdicts()
	worst := verdicts[len(verdicts)-1]
	return e.cells[slices.IndexFunc(e.cells, func(c *Cell) bool { return c.Verdict == worst })]
}

// examples are a cell for each verdict that came out, the one that stands for all first.
func (e *entry) examples() []*Cell {
	var all []*Cell
	if first := e.shown(); first != nil {
		all = append(all, first)
	}
	for _, v := range e.verdicts() {
		if !slices.ContainsFunc(all, func(c *Cell) bool { return c.Verdict == v }) {
			all = append(all, e.cells[slices.IndexFunc(e.cells, func(c *Cell) bool { return c.Verdict == v })])
		}
	}
	return all
}

// Repeated is one client over the rounds of a play.
type Repeated struct {
	Scenario   string   `json:"scenario" jsonschema:"description=Name of the scenario."`
	Lab        string   `json:"lab" jsonschema:"description=Name of the lab."`
	Path       string   `json:"path" jsonschema:"description=The way to the server."`
	From       string   `json:"from,omitempty" jsonschema:"description=The client node\\, where the scenario names it."`
	With       []string `json:"with,omitempty" jsonschema:"description=What was changed at nodes."`
	Client     string   `json:"client" jsonschema:"description=Name of the client."`
	State      State    `json:"state" jsonschema:"enum=survived,enum=recovered,enum=failed,enum=flaky,enum=unfinished,description=The verdict of all rounds; flaky where it was not always the same."`
	Passed     bool     `json:"passed" jsonschema:"description=Whether all rounds came out as expected."`
	Survived   int      `json:"survived" jsonschema:"minimum=0,description=How often."`
	Recovered  int      `json:"recovered" jsonschema:"minimum=0,description=How often."`
	Failed     int      `json:"failed" jsonschema:"minimum=0,description=How often."`
	Unfinished int      `json:"unfinished" jsonschema:"minimum=0,description=Rounds that did not come to an end."`
	Untrusted  int      `json:"untrusted" jsonschema:"minimum=0,description=Rounds whose timing cannot be trusted."`
}

// repeated adds up the rounds of repeated plays.
func (d *Document) repeated() []Repeated {
	var all []Repeated
	for _, r := range d.matrix().rows {
		for i := range r.entries {
			e := &r.entries[i]
			if len(r.plays) == 0 || r.plays[0].Round == 0 {
				continue
			}
			all = append(all, Repeated{
				Scenario: r.id.scenario, Lab: r.id.lab, Path: r.id.path, From: r.id.from, With: r.plays[0].With, Client: e.client,
				State: e.state(), Passed: e.passed(), Survived: e.count(scenarios.Survived), Recovered: e.count(scenarios.Recovered),
				Failed: e.count(scenarios.Failed), Unfinished: e.unfinished, Untrusted: e.untrusted,
			})
		}
	}
	return all
}

// counts of a document's cells. A cell that was repeated counts once.
type counts struct{ total, passed, unexpected, unfinished, flaky, untrusted int }

func (m *matrix) counts() counts {
	var n counts
	for _, r := range m.rows {
		for i := range r.entries {
			e := &r.entries[i]
			n.total++
			switch {
			case len(e.cells) == 0:
				n.unfinished++
			case e.passed():
				n.passed++
			default:
				n.unexpected++
			}
			if e.state() == Flaky {
				n.flaky++
			}
			if e.untrusted > 0 {
				n.untrusted++
			}
		}
	}
	return n
}

// summary says in one line whether all did as expected.
func (d *Document) summary() string {
	n := d.matrix().counts()
	finished := n.total - n.unfinished
	text := fmt.Sprintf("%d of %d as expected", n.passed, finished)
	if n.unexpected > 0 {
		text = fmt.Sprintf("%d of %d not as expected", n.unexpected, finished)
	}
	if n.flaky > 0 {
		text += fmt.Sprintf(", %d flaky", n.flaky)
	}
	if n.unfinished > 0 {
		text += fmt.Sprintf(", %d not finished", n.unfinished)
	}
	if n.untrusted > 0 {
		text += fmt.Sprintf(", timing not to be trusted in %d", n.untrusted)
	}
	return text
}

// where says what the run ran on.
func (d *Document) where() string {
	text := fmt.Sprintf("engine %s, speed %g", d.Engine, d.Speed)
	if d.Shard != "" {
		text += ", shard " + d.Shard
	}
	return text
}

// expectation says what was expected of a cell that did not do it.
func (c *Cell) expectation() string {
	if c.Passed {
		return ""
	}
	text := "expected " + c.Expected
	if c.Expected == "any" || slices.Contains(strings.Split(c.Expected, " or "), string(c.Verdict)) {
		text += ", but: " + c.Unmet
	}
	return text
}
