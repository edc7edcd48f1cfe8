package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
)

// writeJSON writes the document, indented but for the traces, of which each is on a line.
func writeJSON(w io.Writer, d *Document, o Options) error {
	plain := *d
	plain.Plays = make([]Play, len(d.Plays))
	for i, p := range d.Plays {
		p.Trace = nil
		plain.Plays[i] = p
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(plain); err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	if !o.Traces {
		_, _ = out.Write(b.Bytes()) // Flush returns the error
		return out.Flush()
	}
	if err := withTraces(out, b.Bytes(), d.Plays); err != nil {
		return err
	}
	return out.Flush()
}

// withTraces writes the document with the trace of each play after its steps. The indented text of
// a play ends in a line of its own, which no other object at that depth has within plays.
func withTraces(out *bufio.Writer, text []byte, plays []Play) error {
	play, within := 0, false
	for line := range bytes.Lines(text) {
		switch {
		case bytes.Equal(line, []byte("  \"plays\": [\n")):
			within = true
		case within && bytes.HasPrefix(line, []byte("  ]")):
			within = false
		case within && bytes.HasPrefix(line, []byte("    }")):
			if t := plays[play].Trace; t != nil {
				trace, err := json.Marshal(t)
				if err != nil {
					return err
				}
				_, _ = out.WriteString("      ,\"trace\": ")
				_, _ = out.Write(append(trace, '\n'))
			}
			play++
		}
		_, _ = out.Write(line) // Flush returns the error
	}
	return nil
}
