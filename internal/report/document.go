package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/scenarios"
)

// DocumentVersion is that of the JSON document. It changes when a reader of the one before
// would misread a document.
const DocumentVersion = 1

// Document is a run as every format shows it, and as its JSON is. Its texts are clean: valid
// UTF-8 without control characters. Seconds are lab time, null where there is none.
type Document struct {
	Version int     `json:"version" jsonschema:"enum=1,description=Version of the document."`
	Wslab   string  `json:"wslab" jsonschema:"description=Version of the command that played."`
	Passed  bool    `json:"passed" jsonschema:"description=Whether every client did as expected\\, nothing is missing\\, and nothing got worse than the baseline. Plays that were not finished do not count."`
	Speed   float64 `json:"speed" jsonschema:"description=Speed that was asked for: lab time is so much faster than the clock."`
	Engine  string  `json:"engine" jsonschema:"description=What the labs ran on; several are joined with a comma."`
	// Language of causes and expectations.
	Language scenarios.Language `json:"language" jsonschema:"enum=en,enum=ja,description=Language of the causes."`
	Shard    string             `json:"shard,omitempty" jsonschema:"description=Which part of the plays it is\\, such as 2/5."`
	Cells    []Cell             `json:"cells" jsonschema:"description=What became of each client in each play."`
	Plays    []Play             `json:"plays" jsonschema:"description=The plays that came to an end."`
	// Unfinished are the plays that did not come to an end.
	Unfinished []Unfinished `json:"unfinished,omitempty" jsonschema:"description=The plays that were asked for and did not come to an end."`
	// Repeated is what cells that were played several times have come to together.
	Repeated []Repeated `json:"repeated,omitempty" jsonschema:"description=What cells that were played several times have come to together."`
	// Missing says what should be in the document and is not, such as a shard.
	Missing []string `json:"missing,omitempty" jsonschema:"description=What should be here and is not\\, such as a shard. The run has not passed."`
	// Notes are what a reader has to know of how the document came about.
	Notes    []string    `json:"notes,omitempty" jsonschema:"description=What a reader has to know of how the document came about."`
	Baseline *Comparison `json:"baseline,omitempty" jsonschema:"description=How the run did against an earlier one."`
}

// Cell is one client in one play.
type Cell struct {
	// Play is the index in the document's Plays.
	Play     int    `json:"play" jsonschema:"minimum=0,description=Index of the play in plays."`
	Scenario string `json:"scenario" jsonschema:"description=Name of the scenario."`
	Lab      string `json:"lab" jsonschema:"description=Name of the lab in its file."`
	Path     string `json:"path" jsonschema:"description=The way to the server that was taken."`
	// From is the client node, where the scenario names it.
	From    string            `json:"from" jsonschema:"description=The client node\\, where the scenario names it."`
	Round   int               `json:"round,omitempty" jsonschema:"minimum=0,description=Which play of several it is; absent where it was played once."`
	Client  string            `json:"client" jsonschema:"description=Name of the strategy or of the program."`
	Verdict scenarios.Verdict `json:"verdict" jsonschema:"enum=survived,enum=recovered,enum=failed,description=What became of the client."`
	// Expected is a verdict; where several pass they are joined with " or ".
	Expected string `json:"expected" jsonschema:"description=The verdict that passes; several are joined with or\\, and any is every one."`
	Passed   bool   `json:"passed" jsonschema:"description=Whether the client did as expected."`
	Cause    string `json:"cause" jsonschema:"description=Why the verdict is what it is."`
	// Unmet says what else was expected and did not come.
	Unmet       string   `json:"unmet,omitempty" jsonschema:"description=What else was expected and did not come."`
	Connections int      `json:"connections" jsonschema:"minimum=0,description=How many it opened."`
	Sent        int      `json:"sent" jsonschema:"minimum=0,description=Numbered messages of both ways."`
	Lost        int      `json:"lost" jsonschema:"minimum=0,description=Those that never arrived."`
	Duplicated  int      `json:"duplicated" jsonschema:"minimum=0,description=Those that came again."`
	Outage      *float64 `json:"outage_s" jsonschema:"nullable,description=The longest time without a connection that worked."`
	Detect      *float64 `json:"detect_s" jsonschema:"nullable,description=How much of the outage had passed until the client noticed."`
	Recover     *float64 `json:"recover_s" jsonschema:"nullable,description=From then to the new connection."`
	// Down is the whole time without a connection that worked, Connected that with one that was open.
	Down           float64 `json:"down_s" jsonschema:"minimum=0,description=The whole time without a connection that worked."`
	Connected      float64 `json:"connected_s" jsonschema:"minimum=0,description=The time with a connection that was open for the client\\, whether it worked or not."`
	KeepaliveBytes int     `json:"keepalive_bytes" jsonschema:"minimum=0,description=Bytes of the WebSocket frames that kept connections alive\\, both ways."`
	// Session is what the events of the trace call the client.
	Session string `json:"session,omitempty" jsonschema:"description=What the events of the trace call the client."`
	// Output is the last lines of a program.
	Output []string `json:"output,omitempty" jsonschema:"description=The last lines that the program wrote."`
}

// Play is a play that came to an end.
type Play struct {
	Scenario string   `json:"scenario" jsonschema:"description=Name of the scenario."`
	Summary  string   `json:"summary" jsonschema:"description=What happens in it\\, in one sentence."`
	Family   string   `json:"family,omitempty" jsonschema:"description=What the scenario is about."`
	Lab      string   `json:"lab" jsonschema:"description=Name of the lab in its file."`
	Path     string   `json:"path" jsonschema:"description=The way to the server that was taken."`
	From     string   `json:"from,omitempty" jsonschema:"description=The client node\\, where the scenario names it."`
	With     []string `json:"with,omitempty" jsonschema:"description=What was changed at nodes for the time of the play."`
	Round    int      `json:"round,omitempty" jsonschema:"minimum=0,description=Which play of several it is; absent where it was played once."`
	// Untrusted says why the timing cannot be trusted.
	Untrusted string    `json:"untrusted,omitempty" jsonschema:"description=Why the timing of the play cannot be trusted; absent is that it can."`
	Speed     float64   `json:"speed" jsonschema:"description=Speed of the lab."`
	Duration  float64   `json:"duration_s" jsonschema:"minimum=0,description=How long it took\\, in lab time."`
	Way       []Machine `json:"way" jsonschema:"description=What the connections pass: the client node\\, each machine on the way\\, the server."`
	Steps     []Step    `json:"steps" jsonschema:"description=The steps that were played."`
	Trace     *Trace    `json:"trace,omitempty" jsonschema:"description=The events of all nodes."`
}

// Machine is a node on the way.
type Machine struct {
	Name string `json:"name" jsonschema:"description=Name of the node."`
	Kind string `json:"kind" jsonschema:"description=What it is."`
}

// Step is a step of a scenario as it was played.
type Step struct {
	Text  string  `json:"text" jsonschema:"description=The step as a scenario file has it."`
	Start float64 `json:"start_s" jsonschema:"description=When it began."`
	End   float64 `json:"end_s" jsonschema:"description=When it ended."`
	// Missed says what it has waited for in vain.
	Missed string `json:"missed,omitempty" jsonschema:"description=What it has waited for in vain."`
}

// NewDocument returns a run as a document, with causes in a language. version is that of the command.
func NewDocument(r Run, l scenarios.Language, version string) *Document {
	if l == "" {
		l = scenarios.English
	}
	d := &Document{
		Version: DocumentVersion, Wslab: version, Speed: r.Speed, Engine: clean(r.Engine), Language: l, Shard: r.Shard,
		Cells: []Cell{}, Plays: []Play{},
	}
	for _, p := range r.Results {
		d.add(p, l)
	}
	for _, u := range r.Unfinished {
		u.Scenario, u.Lab, u.Path, u.From, u.Why = clean(u.Scenario), clean(u.Lab), clean(u.Path), clean(u.From), clean(u.Why)
		u.With, u.Clients = cleanAll(u.With), cleanAll(u.Clients)
		d.Unfinished = append(d.Unfinished, u)
	}
	d.settle()
	return d
}

// settle works out anew what follows from the cells.
func (d *Document) settle() {
	d.Repeated = d.repeated()
	d.Passed = len(d.Missing) == 0 && !slices.ContainsFunc(d.Cells, func(c Cell) bool { return !c.Passed }) &&
		(d.Baseline == nil || d.Baseline.Passed())
}

// add adds a play and its cells.
func (d *Document) add(r *scenarios.Result, l scenarios.Language) {
	p := Play{
		Scenario: clean(r.Scenario), Summary: clean(r.Summary), Family: clean(r.Family), Lab: clean(r.Lab), Path: clean(r.Path), From: clean(r.From),
		With: cleanAll(r.With), Round: r.Round, Untrusted: clean(r.Untrusted), Speed: r.Speed, Way: []Machine{}, Steps: []Step{},
	}
	for _, m := range r.Way {
		p.Way = append(p.Way, Machine{clean(m.Name), clean(m.Kind)})
	}
	var events *trace.Trace
	if r.Trace != nil {
		p.Trace = &Trace{r.Trace}
		events = p.events()
		p.Duration = *seconds(ptrTo(max(0, events.Duration())))
		p.Steps = stepsOf(events)
	}
	for i := range r.Cells {
		c := &r.Cells[i]
		d.Cells = append(d.Cells, Cell{
			Play: len(d.Plays), Scenario: p.Scenario, Lab: p.Lab, Path: p.Path, From: p.From, Round: p.Round, Client: clean(c.Client),
			Verdict: c.Verdict, Expected: c.Expected.String(), Passed: c.Passed,
			Cause: clean(c.Cause.Text(l)), Unmet: clean(c.Unmet.Text(l)),
			Connections: c.Connections, Sent: c.Sent, Lost: c.Lost, Duplicated: c.Duplicated,
			Outage: seconds(c.Outage), Detect: seconds(c.Detect), Recover: seconds(c.Recover),
			Down: *seconds(&c.Down), Connected: *seconds(&c.Connected), KeepaliveBytes: c.KeepaliveBytes,
			Session: clean(c.Session), Output: outputOf(events, c.Session),
		})
	}
	d.Plays = append(d.Plays, p)
}

func ptrTo[T any](v T) *T { return &v }

// stepsOf lists the steps with their times.
func stepsOf(t *trace.Trace) []Step {
	steps := []Step{}
	at := make(map[int64]int)
	for e := range t.All(trace.OfType(trace.StepStart, trace.StepEnd)) {
		when := *seconds(ptrTo(t.At(e.Time)))
		if e.Type == trace.StepStart {
			at[e.Seq] = len(steps)
			steps = append(steps, Step{Text: clean(e.Detail), Start: when, End: when})
			continue
		}
		if i, ok := at[e.Seq]; ok {
			steps[i].End, steps[i].Missed = when, clean(e.Err)
		}
	}
	return steps
}

// programOutput is the type of the events that carry a line of a program under test.
const programOutput trace.Type = "program.output"

// Of a program's output a report has its last lines.
const (
	maxOutputLines = 20
	maxOutputLine  = 500 // bytes
)

// outputOf returns the last lines that a session's program wrote.
func outputOf(t *trace.Trace, session string) []string {
	if t == nil || session == "" {
		return nil
	}
	var lines []string
	for e := range t.All(trace.OfType(programOutput), trace.OfSession(session)) {
		lines = append(lines, e.Detail)
	}
	if more := len(lines) - maxOutputLines; more > 0 {
		lines = append([]string{fmt.Sprintf("(%d lines before)", more)}, lines[more:]...)
	}
	for i, l := range lines {
		if l = strings.TrimRight(clean(l), "\n"); len(l) > maxOutputLine {
			l = strings.ToValidUTF8(l[:maxOutputLine], "") + "…"
		}
		lines[i] = l
	}
	return lines
}

// seconds to the millisecond: more is noise.
func seconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	s := math.Round(d.Seconds()*1000) / 1000
	return &s
}
