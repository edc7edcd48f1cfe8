package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/scenarios"
)

// nasty are texts that break formats which do not escape them.
func nasty() []string {
	return []string{
		`"quotes" and 'others' \ and \\`, "<b>&amp;]]></script><!-- --> ]]>", "a|b, c*d_e `f` # not ok 1 [x](y) ~~z~~ @all", "bell \a escape \x1b[31m null \x00 del \x7f \u0085",
		"not UTF-8 \xff\xfe \xed\xa0\x80", "\ufffe\uffff\u2028\u2029", "two\nlines\ttab\r\n...", "--- \n...\n1..0 # SKIP", "日本語のテキスト", strings.Repeat("long ", 2000),
	}
}

// recorded is a run of which everything is set: rounds that flip, plays that were not finished or cannot be
// trusted, output, traces, and texts that break formats.
func recorded() Run {
	r := sample()
	r.Shard = "1/2"
	start := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	flow := &trace.Flow{Src: netip.MustParseAddrPort("10.0.0.2:4000"), Dst: netip.MustParseAddrPort("203.0.113.2:443")}
	next := &trace.Flow{Src: netip.MustParseAddrPort("203.0.113.1:5000"), Dst: netip.MustParseAddrPort("203.0.113.2:443")}
	at := func(seconds float64, e trace.Event) trace.Event {
		e.Time = start.Add(time.Duration(seconds * float64(time.Second) / 5))
		return e
	}
	for i, p := range r.Results {
		p.Family, p.Way = "nat", []scenarios.Machine{{Name: "alice", Kind: "client"}, {Name: "nat", Kind: "nat"}, {Name: "server", Kind: "server"}}
		var events []trace.Event
		events = append(events, at(0, trace.Event{Node: "runner", Type: trace.StepStart, Seq: 1, Detail: "talk: 5s"}), at(5, trace.Event{Node: "runner", Type: trace.StepEnd, Seq: 1, Detail: "talk: 5s"}),
			at(4, trace.Event{Node: "nat", Type: trace.ToxicAdded, Detail: "latency"}))
		for k := range p.Cells {
			c := &p.Cells[k]
			c.Session = c.Client + "-1"
			events = append(events,
				at(-1, trace.Event{Node: "alice", Type: trace.DialStart, Session: c.Session, Attempt: 1}),
				at(-0.9, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: flow, Next: next}),
				at(-0.8, trace.Event{Node: "server", Type: trace.Accepted, Session: c.Session, Conn: 1, Flow: next}),
				at(-0.7, trace.Event{Node: "alice", Type: trace.Open, Session: c.Session, Conn: 1, Flow: flow}),
				at(1, trace.Event{Node: "alice", Type: trace.Sent, Session: c.Session, Conn: 1, Seq: 1}),
				at(1.1, trace.Event{Node: "server", Type: trace.ServerReceived, Session: c.Session, Conn: 1, Seq: 1}),
				at(1.2, trace.Event{Node: "alice", Type: trace.Acked, Session: c.Session, Conn: 1, Seq: 1, Dur: 40 * time.Millisecond}),
				at(2, trace.Event{Node: "alice", Type: trace.Sent, Session: c.Session, Conn: 1, Seq: 2}),
				at(3, trace.Event{Node: "alice", Type: trace.KeepaliveSent, Session: c.Session, Conn: 1, Seq: 1, Detail: "ping", Count: 6}),
				at(9, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: flow, Next: next, Dur: 6 * time.Second}),
				at(10, trace.Event{Node: "alice", Type: trace.Close, Session: c.Session, Conn: 1, Code: 1006, By: "network", Err: nasty()[k]}),
			)
			for _, line := range nasty() {
				events = append(events, at(11, trace.Event{Node: "alice", Type: trace.ProgramOutput, Session: c.Session, Detail: line}))
			}
		}
		all := trace.New(start, start.Add(12*time.Second/5), 5, events)
		all.Machines = map[netip.Addr]string{flow.Src.Addr(): "alice"}
		p.Trace = all.Pack()
		if i == 0 {
			p.Untrusted = "wslab was woken up to 90 ms late: too late to tell"
		}
	}
	first := *r.Results[1]
	for round := 1; round <= 3; round++ {
		p := first
		p.Scenario, p.Round, p.With = "repeated, with a comma", round, []string{"nat: { idle_timeout: 1m }"}
		p.Cells = append([]scenarios.Cell(nil), first.Cells...)
		if round == 2 {
			p.Cells[0].Verdict, p.Cells[0].Passed = scenarios.Survived, false
		}
		r.Results = append(r.Results, &p)
	}
	odd := *r.Results[0]
	odd.Scenario, odd.Untrusted, odd.Cells = "odd", "", nil
	for _, name := range nasty() {
		c := r.Results[0].Cells[1]
		c.Client = name
		c.Cause = scenarios.Cause{{ID: scenarios.SentenceID(name)}}
		odd.Cells = append(odd.Cells, c)
	}
	r.Results = append(r.Results, &odd)
	r.Unfinished = []Unfinished{
		{Scenario: "repeated, with a comma", Lab: "corporate", Path: "http-proxy", With: []string{"nat: { idle_timeout: 1m }"}, Clients: []string{"none"}, Why: "round 4: interrupted"},
		{Scenario: "never begun", Lab: "home", Clients: []string{"none", "ws-ping"}, Why: "interrupted"},
	}
	return r
}

// compared is the recorded run with a baseline in which something is different in each way.
func compared(t testing.TB) *Document {
	t.Helper()
	before := NewDocument(recorded(), scenarios.English, "v0")
	before.Cells[0].Verdict = scenarios.Survived
	before.Cells[1].Verdict = scenarios.Failed
	before.Cells[2].Outage = ptr(1.5)
	before.Cells[3].Client = "gone"
	d := NewDocument(recorded(), scenarios.English, "v1")
	d.Shard, d.Missing, d.Notes = "", []string{"shard 2/2 is missing"}, []string{nasty()[0]}
	if err := d.Compare(before, "before.json", DefaultTolerance(), nil); err != nil {
		t.Fatal(err)
	}
	d.clean()
	return d
}

func TestReadBack(t *testing.T) {
	for name, d := range map[string]*Document{"sample": document(sample(), ""), "recorded": document(recorded(), scenarios.Japanese), "compared": compared(t), "empty": document(Run{Engine: "docker", Speed: 1}, "")} {
		t.Run(name, func(t *testing.T) {
			text := write(t, "json", d, Options{Traces: true})
			back, err := Read(strings.NewReader(text), "run.json")
			if err != nil {
				t.Fatal(err)
			}
			events := cmp.Transformer("events", func(t Trace) *trace.Trace { return t.packed.Unpack(1) })
			if diff := cmp.Diff(d, back, events, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmp.Transformer("clean", clean)); diff != "" {
				t.Errorf("another document came back (-written +read):\n%s", diff)
			}
			if again := write(t, "json", back, Options{Traces: true}); again != text {
				t.Error("written again it is another text")
			}
			holdsToSchema(t, text)
			holdsToSchema(t, write(t, "json", d, Options{}))
		})
	}
}

// holdsToSchema checks a document against the schema that is published.
func holdsToSchema(t *testing.T, text string) {
	t.Helper()
	schema, err := json.Marshal(Schema())
	if err != nil {
		t.Fatal(err)
	}
	published, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("report.schema.json", published); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(value); err != nil {
		t.Errorf("not as the schema says: %v", err)
	}
}

func TestReadErrors(t *testing.T) {
	good := write(t, "json", document(recorded(), ""), Options{Traces: true})
	tests := []struct{ name, text, want string }{
		{"empty", "", "f.json:1:1: the file ends too early"},
		{"cut", good[:len(good)/2], "the file ends too early"},
		{"not JSON", "{\n  \"version\": 1,\n  oops", "f.json:3:3: not JSON"},
		{"something else", "{}", "f.json:1:1: this is not the JSON report of a run"},
		{"older", `{"cells": []}`, "older wslab"},
		{"newer", strings.Replace(good, `"version": 1`, `"version": 7`, 1), "f.json:2:3: version 7"},
		{"wrong type", strings.Replace(good, `"play": 0`, `"play": "x"`, 1), "f.json:11:17: cells.play is string"},
		{"verdict", strings.Replace(good, `"verdict": "failed"`, `"verdict": "fine"`, 1), `f.json:17:18: verdict is "fine"`},
		{"play", strings.Replace(good, `"play": 1`, `"play": 99`, 1), "play is 99, but there are"},
		{"two cells", strings.Replace(good, `"client": "tcp-keepalive"`, `"client": "none"`, 1), `two cells of client "none"`},
		{"another play's", strings.Replace(good, `"play": 1`, `"play": 2`, 1), "the cell is not of its play 2"},
		{"speed", strings.Replace(good, `"speed": 5`, `"speed": 0`, 1), "speed is 0"},
		{"language", strings.Replace(good, `"language": "en"`, `"language": "de"`, 1), `language is "de"`},
		{"text of an event", strings.Replace(good, `"events":[[`, `"events":[[0,9999],[`, 1), "type is text 9999, there are"},
		{"kind of an event", strings.Replace(good, `"events":[[`, `"events":[["x"],[`, 1), "which it cannot be"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(test.text), "f.json")
			var wrong *ReadError
			if !errors.As(err, &wrong) || wrong.Line == 0 || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	small := recorded()
	small.Results, small.Unfinished = small.Results[:1], small.Unfinished[1:]
	small.Results[0].Cells = small.Results[0].Cells[:1]
	t := small.Results[0].Trace.Unpack(5)
	t.Events = slices.DeleteFunc(t.Events, func(e trace.Event) bool { return e.Type == trace.ProgramOutput })
	small.Results[0].Trace = t.Pack()
	for _, r := range []Run{sample(), small} {
		var b bytes.Buffer
		if err := writeJSON(&b, document(r, ""), Options{Traces: true}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"version":1,"cells":[],"plays":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Read(bytes.NewReader(data), "f.json")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.json") {
				t.Errorf("no place: %v", err)
			}
			return
		}
		for _, format := range Formats() {
			if err := format.Write(new(bytes.Buffer), d, Options{Traces: true}); err != nil {
				t.Errorf("%s: %v", format.Name, err)
			}
		}
	})
}

// TestReadDamaged damages a document in a few places, hundreds of times: what can still be read can be written in
// every format. FuzzRead looks further, and slowly: it follows all that a browser's protocol brings into the test.
func TestReadDamaged(t *testing.T) {
	r := recorded()
	r.Results = r.Results[:1]
	whole := []byte(write(t, "json", document(r, ""), Options{Traces: true}))
	random := rand.New(rand.NewPCG(1, 2))
	read := 0
	for range 500 {
		data := bytes.Clone(whole)
		for range 1 + random.IntN(3) {
			const likely = "0123456789-,[]{}e."
			switch i := random.IntN(len(data) - 30); random.IntN(3) {
			case 0:
				data[i] = byte(random.IntN(256))
			case 1:
				data[i] = likely[random.IntN(len(likely))]
			case 2:
				data = slices.Delete(data, i, i+random.IntN(20))
			}
		}
		d, err := Read(bytes.NewReader(data), "f.json")
		if err != nil {
			continue
		}
		read++
		for _, format := range Formats() {
			if err := format.Write(io.Discard, d, Options{Traces: true}); err != nil {
				t.Errorf("%s: %v", format.Name, err)
			}
		}
	}
	if read == 0 {
		t.Error("nothing could be read")
	}
}

func TestMerge(t *testing.T) {
	whole := NewDocument(recorded(), scenarios.English, "v1")
	half := func(shard, version string, from, to int) *Document {
		r := recorded()
		r.Shard, r.Results = shard, r.Results[from:to]
		if from > 0 {
			r.Unfinished = nil
		}
		return NewDocument(r, scenarios.English, version)
	}
	n := len(recorded().Results)
	d, err := Merge([]Part{{"a.json", half("1/2", "v1", 0, 1)}, {"b.json", half("2/2", "v1", 1, n)}})
	if err != nil {
		t.Fatal(err)
	}
	whole.Shard = ""
	for _, format := range Formats() {
		if diff := cmp.Diff(write(t, format.Name, whole, Options{Traces: true}), write(t, format.Name, d, Options{Traces: true})); diff != "" {
			t.Errorf("%s of the shards is not that of the whole run:\n%s", format.Name, diff)
		}
	}
	d, err = Merge([]Part{{"a.json", half("1/3", "v1", 0, 1)}, {"b.json", half("2/3", "v2", 1, n)}})
	if err != nil {
		t.Fatal(err)
	}
	if d.Passed || !cmp.Equal(d.Missing, []string{"shard 3/3 is missing"}) || len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "v1 in a.json, v2 in b.json") {
		t.Errorf("passed %v, missing %q, notes %q", d.Passed, d.Missing, d.Notes)
	}
	var overlap *OverlapError
	if _, err := Merge([]Part{{"a.json", half("1/2", "v1", 0, 2)}, {"b.json", half("2/2", "v1", 1, n)}}); !errors.As(err, &overlap) || overlap.Plays[0] != "reset, corporate through http-proxy" {
		t.Errorf("overlap: %v", err)
	}
}

func TestCompare(t *testing.T) {
	c := compared(t).Baseline
	whats := func(changes []Change) (all []string) {
		for _, x := range changes {
			what, _, _ := strings.Cut(x.What, ":")
			all = append(all, x.Play+", "+x.Client+": "+what)
		}
		return all
	}
	for name, test := range map[string]struct{ got, want []string }{
		"worse": {whats(c.Worse), []string{
			"nat-idle, home, none: survived, now failed (the timing of this run's play cannot be trusted)",
			"reset, corporate through http-proxy, none: failed as before, but its outage grew from 1.5 s to 15.0 s",
		}},
		"better":   {whats(c.Better), []string{"nat-idle, home, tcp-keepalive: failed, now survived (the timing of this run's play cannot be trusted)"}},
		"vanished": {whats(c.Vanished), []string{"reset, corporate through http-proxy, gone: was recovered, and is not played any more"}},
		"new":      {whats(c.New), []string{"reset, corporate through http-proxy, reconnect-only: recovered"}},
		"notes":    {c.Notes, []string{"the baseline was played by wslab v0, this run by v1", "2 plays of the baseline were not finished"}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	same := document(recorded(), "")
	if err := same.Compare(document(recorded(), ""), "f", DefaultTolerance(), nil); err != nil || !same.Baseline.Passed() || same.Baseline.Same == 0 {
		t.Errorf("against itself: %v %+v", err, same.Baseline)
	}
	if err := same.Compare(document(recorded(), ""), "f", DefaultTolerance(), func(string, string) bool { return false }); !errors.Is(err, ErrEmptyBaseline) {
		t.Errorf("nothing to compare: %v", err)
	}
}

func TestTolerance(t *testing.T) {
	for text, want := range map[string]*Tolerance{
		"5s,25%": {5, 25}, "25%": {0, 25}, "1m": {60, 0}, "0s": {0, 0}, "10%, 2s": {2, 10}, "": nil, "x": nil, "5s,6s": nil, "-1s": nil, "NaN%": nil, "5s,1%,2%": nil,
	} {
		got, err := ParseTolerance(text)
		if (err != nil) != (want == nil) || want != nil && got != *want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if got, err := ParseTolerance(DefaultTolerance().String()); err != nil || got != DefaultTolerance() {
		t.Errorf("default: %v %v", got, err)
	}
}
