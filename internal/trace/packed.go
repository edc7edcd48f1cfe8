package trace

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"time"
)

// Packed is a trace as it is kept where there are many: in a tenth of the memory. Times are kept to the
// microsecond, and not whether an event was witnessed. It is read, not changed.
type Packed struct {
	// Start is the zero of the events' times, End when the last step was over.
	Start, End time.Time
	// Machines are the names of the nodes by their addresses.
	Machines map[netip.Addr]string
	// Texts and Flows are what rows refer to by index: texts from 0, of which the first is empty, flows
	// from 1, with 0 for none.
	Texts []string
	Flows []Flow

	rows   []byte // for each row how many columns it has, then those as varints
	events int
}

// PackedFields are the columns of a row, those that are rarely set at the end. after_us counts from the
// event before; type, node, session, detail, by, err, stage and network are texts.
func PackedFields() []string {
	return []string{
		"after_us", "type", "node", "session", "conn", "seq", "dur_us", "count", "flow", "next",
		"detail", "attempt", "by", "err", "code", "status", "stage", "network",
	}
}

// Pack packs a trace.
func (t *Trace) Pack() *Packed {
	p := &Packed{Start: t.Start, End: t.End, Machines: t.Machines, Texts: []string{""}}
	texts, flows := map[string]int64{"": 0}, make(map[Flow]int64)
	text := func(s string) int64 {
		i, ok := texts[s]
		if !ok {
			i = int64(len(p.Texts))
			texts[s], p.Texts = i, append(p.Texts, s)
		}
		return i
	}
	flow := func(f *Flow) int64 {
		if f == nil {
			return 0
		}
		i, ok := flows[*f]
		if !ok {
			p.Flows = append(p.Flows, *f)
			i = int64(len(p.Flows))
			flows[*f] = i
		}
		return i
	}
	last := int64(0)
	for _, e := range t.Events {
		at := e.Time.Sub(t.Start).Microseconds()
		p.add([]int64{
			at - last, text(string(e.Type)), text(e.Node), text(e.Session), int64(e.Conn), e.Seq, e.Dur.Microseconds(), e.Count, flow(e.Flow), flow(e.Next),
			text(e.Detail), int64(e.Attempt), text(e.By), text(e.Err), int64(e.Code), int64(e.Status), text(e.Stage), text(e.Network),
		})
		last = at
	}
	p.rows = append([]byte(nil), p.rows...) // without what it has grown by in advance
	return p
}

// add adds a row, without the zeros at its end.
func (p *Packed) add(row []int64) {
	for len(row) > 0 && row[len(row)-1] == 0 {
		row = row[:len(row)-1]
	}
	p.rows = append(p.rows, byte(len(row)))
	for _, v := range row {
		p.rows = binary.AppendVarint(p.rows, v)
	}
	p.events++
}

// Append adds an event as a row, of which zeros at the end may be left out. It returns an error for
// one that is none: too long, or with a text or a flow that the trace does not have.
func (p *Packed) Append(row []int64) error {
	fields := PackedFields()
	if len(row) > len(fields) {
		return fmt.Errorf("event %d has %d columns, there are %d", p.events, len(row), len(fields))
	}
	for i, v := range row {
		switch fields[i] {
		case "type", "node", "session", "detail", "by", "err", "stage", "network":
			if v != 0 && (v < 0 || v >= int64(len(p.Texts))) {
				return fmt.Errorf("event %d: %s is text %d, there are %d", p.events, fields[i], v, len(p.Texts))
			}
		case "flow", "next":
			if v < 0 || v > int64(len(p.Flows)) {
				return fmt.Errorf("event %d: %s is flow %d, there are %d", p.events, fields[i], v, len(p.Flows))
			}
		}
	}
	p.add(row)
	return nil
}

// Len is how many events there are.
func (p *Packed) Len() int { return p.events }

// Rows yields the events as rows by [PackedFields], without zeros at the end. A row is good until the next one.
func (p *Packed) Rows() iter.Seq[[]int64] {
	return func(yield func([]int64) bool) {
		var all [32]int64
		for rest := p.rows; len(rest) > 0; {
			row := all[:rest[0]]
			rest = rest[1:]
			for i := range row {
				v, n := binary.Varint(rest)
				row[i], rest = v, rest[n:]
			}
			if !yield(row) {
				return
			}
		}
	}
}

// Unpack returns the trace of a run at that speed.
func (p *Packed) Unpack(speed float64) *Trace {
	flows := make([]*Flow, len(p.Flows)+1)
	for i := range p.Flows {
		flows[i+1] = &p.Flows[i]
	}
	text := func(i int64) string {
		if i == 0 {
			return ""
		}
		return p.Texts[i]
	}
	events := make([]Event, 0, p.events)
	at := p.Start
	for row := range p.Rows() {
		var c [18]int64
		copy(c[:], row)
		at = at.Add(Micros(c[0]))
		events = append(events, Event{
			Time: at, Type: Type(text(c[1])), Node: text(c[2]), Session: text(c[3]), Conn: int(c[4]), Seq: c[5], Dur: Micros(c[6]), Count: c[7],
			Flow: flows[c[8]], Next: flows[c[9]], Detail: text(c[10]), Attempt: int(c[11]), By: text(c[12]), Err: text(c[13]), Code: int(c[14]), Status: int(c[15]),
			Stage: text(c[16]), Network: text(c[17]),
		})
	}
	t := New(p.Start, p.End, speed, events)
	t.Machines = p.Machines
	return t
}

// Micros is a duration, at most a year either way: more would not be lab time of any play.
func Micros(us int64) time.Duration {
	const year = int64(366 * 24 * time.Hour / time.Microsecond)
	return time.Duration(min(max(us, -year), year)) * time.Microsecond
}
