package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wslab/wslab/scenarios"
)

// ReadError says what is wrong with a JSON document, and where.
type ReadError struct {
	File string
	// Line and Column count from 1, Column in characters; 0 where the place says nothing.
	Line, Column int
	Err          error
}

// Error begins with the place.
func (e *ReadError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Err)
}

// Unwrap returns what is wrong.
func (e *ReadError) Unwrap() error { return e.Err }

// maxDocument is more than any run's document takes, in bytes.
const maxDocument = 1 << 30

// Read reads the JSON document of a run. file is its name in errors, which are of type [*ReadError].
func Read(r io.Reader, file string) (*Document, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, &ReadError{File: file, Err: err}
	}
	if len(data) > maxDocument {
		return nil, &ReadError{File: file, Err: fmt.Errorf("larger than %d bytes: this is not the report of a run", maxDocument)}
	}
	at := func(offset int64, err error) error {
		line, column := place(data, offset)
		return &ReadError{file, line, column, err}
	}
	var head struct {
		Version *int               `json:"version"`
		Cells   *[]json.RawMessage `json:"cells"`
		Plays   *[]json.RawMessage `json:"plays"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		offset, err := whatIsWrong(data, err)
		return nil, at(offset, err)
	}
	switch {
	case head.Cells == nil:
		return nil, at(0, errors.New("this is not the JSON report of a run: it has no cells; make one with: wslab run --report json=FILE"))
	case head.Version == nil || head.Plays == nil:
		return nil, at(0, errors.New("this is the JSON report of an older wslab: play anew with: wslab run --report json=FILE"))
	case *head.Version != DocumentVersion:
		offset := max(0, bytes.Index(data, []byte(`"version"`)))
		return nil, at(int64(offset), fmt.Errorf("version %d of the report is not known to this wslab, which reads version %d: use the wslab that wrote it, or play anew", *head.Version, DocumentVersion))
	}
	d := &Document{}
	if err := json.Unmarshal(data, d); err != nil {
		offset, err := whatIsWrong(data, err)
		if offset == 0 {
			offset, _ = locate(data, "plays", badTrace(*head.Plays), "trace")
		}
		return nil, at(offset, err)
	}
	if err := d.check(); err != nil {
		offset, _ := locate(data, err.path...)
		return nil, at(offset, err)
	}
	d.clean()
	d.settle()
	return d, nil
}

// whatIsWrong returns where the decoder stopped, and why for a person.
func whatIsWrong(data []byte, err error) (int64, error) {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		if syntax.Offset >= int64(len(bytes.TrimRight(data, " \t\r\n"))) {
			return int64(len(data)), fmt.Errorf("the file ends too early: it is damaged, or was not written to its end (%w)", err)
		}
		return syntax.Offset - 1, fmt.Errorf("not JSON: %w", err)
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		if kind.Struct == "traceDocument" {
			return 0, fmt.Errorf("trace: %s is %s, which it cannot be", kind.Field, kind.Value) // the offset is one within the trace
		}
		return kind.Offset - 1, fmt.Errorf("%s is %s, which it cannot be", kind.Field, kind.Value)
	}
	return 0, err
}

// badTrace returns the index of the first play whose trace cannot be read.
func badTrace(plays []json.RawMessage) int {
	return max(0, slices.IndexFunc(plays, func(raw json.RawMessage) bool { return json.Unmarshal(raw, new(Play)) != nil }))
}

// place turns an offset into line and column.
func place(data []byte, offset int64) (line, column int) {
	before := data[:min(max(0, offset), int64(len(data)))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}

// locate returns the offset of a value: path is keys and indexes. Of a path that is not there
// it is the last part that is.
func locate(data []byte, path ...any) (int64, bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	offset := int64(0)
	next := func() int64 { // of the value that comes now
		i := dec.InputOffset()
		for i < int64(len(data)) && strings.IndexByte(" \t\r\n,:", data[i]) >= 0 {
			i++
		}
		return i
	}
	for _, part := range path {
		offset = next()
		open, err := dec.Token()
		if err != nil {
			return offset, false
		}
		found := false
		for i := 0; dec.More() && !found; i++ {
			if open == json.Delim('{') {
				key, err := dec.Token()
				if err != nil {
					return offset, false
				}
				found = key == part
			} else {
				found = i == part
			}
			if found {
				break
			}
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return offset, false
			}
		}
		if !found {
			return offset, false
		}
	}
	return next(), true
}

// wrongValue is a value that cannot be, and where it is in the document.
type wrongValue struct {
	path []any
	text string
}

func (e *wrongValue) Error() string { return e.text }

// check reports the first value that no run has.
func (d *Document) check() *wrongValue {
	if d.Language != scenarios.English && d.Language != scenarios.Japanese {
		return &wrongValue{[]any{"language"}, fmt.Sprintf("language is %q; it can be: en, ja", d.Language)}
	}
	if !(d.Speed > 0) || math.IsInf(d.Speed, 0) {
		return &wrongValue{[]any{"speed"}, fmt.Sprintf("speed is %g; it has to be over 0", d.Speed)}
	}
	for i := range d.Plays {
		p := &d.Plays[i]
		in := func(key, text string, args ...any) *wrongValue {
			return &wrongValue{[]any{"plays", i, key}, fmt.Sprintf(text, args...)}
		}
		switch {
		case p.Scenario == "":
			return in("scenario", "a play has to name its scenario")
		case p.Lab == "":
			return in("lab", "a play has to name its lab")
		case p.Round < 0:
			return in("round", "round is %d; it cannot be under 0", p.Round)
		case !(p.Speed > 0):
			return in("speed", "speed is %g; it has to be over 0", p.Speed)
		case !(p.Duration >= 0):
			return in("duration_s", "duration_s is %g; it cannot be under 0", p.Duration)
		}
	}
	type key struct {
		play   int
		client string
	}
	seen := make(map[key]bool)
	for i := range d.Cells {
		c := &d.Cells[i]
		in := func(key, text string, args ...any) *wrongValue {
			return &wrongValue{[]any{"cells", i, key}, fmt.Sprintf(text, args...)}
		}
		switch {
		case c.Play < 0 || c.Play >= len(d.Plays):
			return in("play", "play is %d, but there are %d plays", c.Play, len(d.Plays))
		case c.Client == "":
			return in("client", "a cell has to name its client")
		case seen[key{c.Play, c.Client}]:
			return in("client", "play %d has two cells of client %q", c.Play, c.Client)
		case c.Verdict != scenarios.Survived && c.Verdict != scenarios.Recovered && c.Verdict != scenarios.Failed:
			return in("verdict", "verdict is %q; it can be: survived, recovered, failed", c.Verdict)
		case c.Lost < 0 || c.Sent < 0 || c.Duplicated < 0 || c.Connections < 0 || c.KeepaliveBytes < 0:
			return in("client", "a count of client %q is under 0", c.Client)
		}
		seen[key{c.Play, c.Client}] = true
		p := &d.Plays[c.Play]
		if c.Scenario != p.Scenario || c.Lab != p.Lab || c.Path != p.Path || c.From != p.From || c.Round != p.Round {
			return in("play", "the cell is not of its play %d, %s", c.Play, p.id())
		}
	}
	for i := range d.Unfinished {
		if d.Unfinished[i].Scenario == "" {
			return &wrongValue{[]any{"unfinished", i, "scenario"}, "a play has to name its scenario"}
		}
	}
	return nil
}

// clean cleans the texts of a document that somebody else may have written.
func (d *Document) clean() {
	texts := []*string{&d.Wslab, &d.Engine, &d.Shard}
	lists := []*[]string{&d.Missing, &d.Notes}
	for i := range d.Plays {
		p := &d.Plays[i]
		texts = append(texts, &p.Scenario, &p.Summary, &p.Family, &p.Lab, &p.Path, &p.From, &p.Untrusted)
		lists = append(lists, &p.With)
		for k := range p.Way {
			texts = append(texts, &p.Way[k].Name, &p.Way[k].Kind)
		}
		for k := range p.Steps {
			texts = append(texts, &p.Steps[k].Text, &p.Steps[k].Missed)
		}
	}
	for i := range d.Cells {
		c := &d.Cells[i]
		texts = append(texts, &c.Scenario, &c.Lab, &c.Path, &c.From, &c.Client, &c.Expected, &c.Cause, &c.Unmet, &c.Session)
		lists = append(lists, &c.Output)
	}
	for i := range d.Unfinished {
		u := &d.Unfinished[i]
		texts = append(texts, &u.Scenario, &u.Lab, &u.Path, &u.From, &u.Why)
		lists = append(lists, &u.With, &u.Clients)
	}
	if b := d.Baseline; b != nil {
		texts = append(texts, &b.File)
		lists = append(lists, &b.Notes)
		for _, list := range [][]Change{b.Worse, b.Better, b.Vanished, b.New} {
			for i := range list {
				texts = append(texts, &list[i].Play, &list[i].Client, &list[i].What)
			}
		}
	}
	for _, t := range texts {
		*t = clean(*t)
	}
	for _, l := range lists {
		*l = cleanAll(*l)
	}
	if d.Cells == nil {
		d.Cells = []Cell{}
	}
	if d.Plays == nil {
		d.Plays = []Play{}
	}
}
