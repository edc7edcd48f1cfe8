package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/wslab/wslab/internal/trace"
)

// Trace is the events of a play. In JSON they are rows of integers: most of a document is events.
type Trace struct{ packed *trace.Packed }

// traceDocument is a trace in JSON.
type traceDocument struct {
	Start    time.Time         `json:"start" jsonschema:"description=When the first step began\\, on the clock: the zero of all times."`
	End      int64             `json:"end_us" jsonschema:"description=When the last step was over\\, in microseconds of the clock."`
	Machines map[string]string `json:"machines" jsonschema:"description=Names of the nodes by their addresses."`
	Texts    []string          `json:"texts" jsonschema:"description=What events refer to by index: names\\, types\\, details. The first is empty."`
	Flows    []flowDocument    `json:"flows" jsonschema:"description=What events refer to by index from 1: TCP connections by source and destination."`
	Fields   []string          `json:"fields" jsonschema:"description=What the columns of events are."`
	Events   [][]int64         `json:"events" jsonschema:"description=A row for each event: integers by the names in fields. Zeros at the end of a row are left out. after_us is microseconds of the clock since the event before; dur_us is of the clock\\, too; type\\, node\\, session\\, network\\, stage\\, by\\, detail and err are indexes of texts; flow and next of flows\\, 0 for none."`
}

// flowDocument is source and destination.
type flowDocument [2]string

// JSONSchema describes it for the document's schema.
func (flowDocument) JSONSchema() *jsonschema.Schema {
	two := uint64(2)
	return &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}, MinItems: &two, MaxItems: &two}
}

// JSONSchemaAlias says that a trace is described as the document that it is in JSON.
func (Trace) JSONSchemaAlias() any { return traceDocument{} }

// MarshalJSON writes the trace compactly.
func (t *Trace) MarshalJSON() ([]byte, error) {
	p := t.packed
	d := traceDocument{
		Start: p.Start, End: p.End.Sub(p.Start).Microseconds(), Machines: make(map[string]string),
		Texts: make([]string, len(p.Texts)), Flows: make([]flowDocument, len(p.Flows)), Fields: trace.PackedFields(), Events: make([][]int64, 0, p.Len()),
	}
	for _, addr := range slices.SortedFunc(maps.Keys(p.Machines), netip.Addr.Compare) {
		d.Machines[addr.String()] = clean(p.Machines[addr])
	}
	for i, s := range p.Texts {
		d.Texts[i] = clean(s)
	}
	for i, f := range p.Flows {
		d.Flows[i] = flowDocument{f.Src.String(), f.Dst.String()}
	}
	for row := range p.Rows() {
		d.Events = append(d.Events, slices.Clone(row))
	}
	return json.Marshal(d)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Trace) UnmarshalJSON(data []byte) error {
	var d traceDocument
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	if fields := trace.PackedFields(); !slices.Equal(d.Fields, fields) {
		return fmt.Errorf("trace: fields are %q, not %q", d.Fields, fields)
	}
	p := &trace.Packed{
		Start: d.Start, End: d.Start.Add(trace.Micros(d.End)), Machines: make(map[netip.Addr]string),
		Texts: make([]string, len(d.Texts)), Flows: make([]trace.Flow, len(d.Flows)),
	}
	for text, name := range d.Machines {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("trace: machines: %w", err)
		}
		p.Machines[addr] = clean(name)
	}
	for i, f := range d.Flows {
		src, err1 := netip.ParseAddrPort(f[0])
		dst, err2 := netip.ParseAddrPort(f[1])
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("trace: flows: %w", err)
		}
		p.Flows[i] = trace.Flow{Src: src, Dst: dst}
	}
	for i, s := range d.Texts {
		p.Texts[i] = clean(s)
	}
	for _, row := range d.Events {
		if err := p.Append(row); err != nil {
			return fmt.Errorf("trace: %w", err)
		}
	}
	t.packed = p
	return nil
}

// events returns the trace of a play as its readers take it; nil where there is none.
func (p *Play) events() *trace.Trace {
	if p.Trace == nil {
		return nil
	}
	return p.Trace.packed.Unpack(p.Speed)
}
