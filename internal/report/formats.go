// Package report writes what came of a run. It reads results, never a node.
package report

import (
	"io"
	"slices"

	"github.com/wslab/wslab/scenarios"
)

// Run is what a report is about: the plays of one run, in order.
type Run struct {
	// Engine and Speed that the labs ran on.
	Engine string
	Speed  float64
	// Results of the plays.
	Results []*scenarios.Result
}

// Passed says whether every client did as its scenario expects.
func (r Run) Passed() bool {
	return !slices.ContainsFunc(r.Results, func(p *scenarios.Result) bool { return !p.Passed() })
}

// Options of a format. The zero value is plain English text without a width.
type Options struct {
	// Width of the terminal in columns; 0 is unknown.
	Width int
	// Color allows escape sequences. The caller knows about NO_COLOR, TERM and pipes.
	Color bool
	// Language of causes; empty is English.
	Language scenarios.Language
}

// Format is a way to write a run.
type Format struct {
	// Name as in --format.
	Name string
	// Summary is one sentence for --help.
	Summary string
	// Write writes the whole run.
	Write func(w io.Writer, r Run, o Options) error
}

// Formats is the list of the formats. A new one is added here and nowhere else.
func Formats() []Format {
	return []Format{
		{"table", "a table for people: each scenario with its clients, verdicts and causes", writeTable},
		{"json", "one JSON document for programs", writeJSON},
	}
}

// Find returns the format of that name.
func Find(name string) (Format, bool) {
	formats := Formats()
	i := slices.IndexFunc(formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Format{}, false
	}
	return formats[i], true
}
