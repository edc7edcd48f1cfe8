// Package report writes what came of a run. It reads results, never a node.
//
// The way is [Run] -> [Document] -> a [Format]. The document is what every format is written
// from, and what its JSON is read back into ([Read]), so that the reports of one run say the same.
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
	// Shard is which part of the plays was asked for, such as "2/5"; empty is all of them.
	Shard string
	// Results of the plays.
	Results []*scenarios.Result
	// Unfinished are the plays that were asked for and did not come to an end.
	Unfinished []Unfinished
}

// Unfinished is a play that did not come to an end, or was never begun.
type Unfinished struct {
	// Scenario, Lab, Path, From and With are those of the play; an empty Path is the client's first.
	Scenario string   `json:"scenario" jsonschema:"description=Name of the scenario."`
	Lab      string   `json:"lab" jsonschema:"description=Name of the lab."`
	Path     string   `json:"path,omitempty" jsonschema:"description=The way to the server; absent is the client's first."`
	From     string   `json:"from,omitempty" jsonschema:"description=The client node\\, where the scenario names it."`
	With     []string `json:"with,omitempty" jsonschema:"description=What is changed at nodes for the time of the play."`
	// Clients are the names of those that it has expectations of.
	Clients []string `json:"clients" jsonschema:"description=Names of the clients that it has expectations of."`
	// Why it was not finished, such as "interrupted".
	Why string `json:"why" jsonschema:"description=Why it was not finished\\, such as interrupted."`
}

// Passed says whether every client did as its scenario expects.
func (r Run) Passed() bool {
	return !slices.ContainsFunc(r.Results, func(p *scenarios.Result) bool { return !p.Passed() })
}

// Options of a format. The zero value is plain text without a width, and without traces.
type Options struct {
	// Width of the terminal in columns; 0 is unknown.
	Width int
	// Color allows escape sequences. The caller knows about NO_COLOR, TERM and pipes.
	Color bool
	// Traces adds the events of each play to the JSON document.
	Traces bool
}

// Format is a way to write a run.
type Format struct {
	// Name as in --format and --report.
	Name string
	// Summary is what it is, for --help.
	Summary string
	// Printed says that --format takes it; --report takes every one.
	Printed bool
	// Write writes the whole run.
	Write func(w io.Writer, d *Document, o Options) error
}

// Formats is the list of the formats. A new one is added here and nowhere else.
func Formats() []Format {
	return []Format{
		{"table", "a table for people: each scenario with its clients, verdicts and causes", true, writeTable},
		{"json", "one JSON document for programs; in a file with the events of each play, for `wslab report merge` and --baseline", true, writeJSON},
		{"html", "one page for people: the matrix, and for each of its cells what happened, with a timeline", false, writeHTML},
		{"junit", "JUnit XML for build servers: a play is a test suite, a client in it a test case", false, writeJUnit},
		{"markdown", "GitHub's Markdown: the matrix, and what was not as expected", false, writeMarkdown},
		{"tap", "the Test Anything Protocol, version 13", false, writeTAP},
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
