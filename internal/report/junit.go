package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The elements of a JUnit file, as build servers read them.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string           `xml:"name,attr"`
	Tests      int              `xml:"tests,attr"`
	Failures   int              `xml:"failures,attr"`
	Skipped    int              `xml:"skipped,attr"`
	Errors     int              `xml:"errors,attr"`
	Time       string           `xml:"time,attr,omitempty"`
	Properties *junitProperties `xml:"properties"`
	Cases      []junitCase      `xml:"testcase"`
}

type junitProperties struct {
	Properties []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class      string           `xml:"classname,attr"`
	Name       string           `xml:"name,attr"`
	Time       string           `xml:"time,attr,omitempty"`
	Properties *junitProperties `xml:"properties"`
	Skipped    *junitMessage    `xml:"skipped"`
	Failure    *junitMessage    `xml:"failure"`
	Out        string           `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// set adds properties that are not empty: name, value, name, value.
func (p *junitProperties) set(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			p.Properties = append(p.Properties, junitProperty{pairs[i], pairs[i+1]})
		}
	}
}

// writeJUnit writes a suite for each play and a case for each client in it. A client that did not do as
// expected is a failure, a play that was not finished is skipped. What got worse than the baseline is a
// suite of its own.
func writeJUnit(w io.Writer, d *Document, _ Options) error {
	all := junitSuites{Name: "wslab"}
	m := d.matrix()
	for i := range m.rows {
		all.Suites = append(all.Suites, junitRow(d, &m.rows[i]))
	}
	if len(d.Missing) > 0 {
		s := junitSuite{Name: "missing"}
		for _, text := range d.Missing {
			s.Cases = append(s.Cases, junitCase{Class: "missing", Name: text, Failure: &junitMessage{text, "missing", text}})
		}
		all.Suites = append(all.Suites, s)
	}
	if d.Baseline != nil {
		all.Suites = append(all.Suites, junitBaseline(d.Baseline))
	}
	for i := range all.Suites {
		s := &all.Suites[i]
		for _, c := range s.Cases {
			s.Tests++
			switch {
			case c.Failure != nil:
				s.Failures++
			case c.Skipped != nil:
				s.Skipped++
			}
		}
		all.Tests, all.Failures, all.Skipped = all.Tests+s.Tests, all.Failures+s.Failures, all.Skipped+s.Skipped
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitRow(d *Document, r *row) junitSuite {
	s := junitSuite{Name: r.id.String(), Properties: &junitProperties{}}
	s.Properties.set("engine", d.Engine, "wslab", d.Wslab, "shard", d.Shard)
	wall := 0.0
	for _, p := range r.plays {
		wall += p.Duration / p.Speed
		s.Properties.set("untrusted", p.Untrusted)
	}
	if len(r.plays) > 0 {
		s.Properties.set("speed", strconv.FormatFloat(r.plays[0].Speed, 'g', -1, 64), "summary", r.plays[0].Summary)
	}
	for _, u := range r.unfinished {
		s.Properties.set("unfinished", u.Why)
	}
	for _, n := range d.Notes {
		s.Properties.set("note", n)
	}
	s.Time = fmt.Sprintf("%.3f", wall)
	for i := range r.entries {
		c := junitEntry(s.Name, r, &r.entries[i])
		c.Time = s.Time // the clients of a play talk side by side
		s.Cases = append(s.Cases, c)
	}
	return s
}

func junitEntry(class string, r *row, e *entry) junitCase {
	c := junitCase{Class: class, Name: e.client, Properties: &junitProperties{}}
	c.Properties.set("verdict", string(e.state()), "rounds", e.tally())
	if e.untrusted > 0 {
		c.Properties.set("untrusted", fmt.Sprintf("timing not to be trusted in %d of %d", e.untrusted, len(e.cells)))
	}
	if e.state() == Flaky {
		c.Properties.set("flaky", "true")
	}
	shown := e.shown()
	if shown == nil {
		why := "not finished"
		if len(r.unfinished) > 0 {
			why = "not finished: " + r.unfinished[0].Why
		}
		c.Skipped = &junitMessage{Message: why}
		return c
	}
	c.Properties.set("expected", shown.Expected, "cause", shown.Cause, "lost", lost(e), "outage", outage(e))
	if !e.passed() {
		text := []string{shown.expectation(), e.tally()}
		for _, x := range e.examples() {
			text = append(text, x.Cause)
		}
		c.Failure = &junitMessage{Message: shown.Cause, Type: string(e.state()), Text: joinLines(text)}
	}
	// Not every build server shows properties.
	c.Out = joinLines(append([]string{"verdict: " + string(e.state()), e.tally(), shown.Cause}, shown.Output...))
	return c
}

// joinLines joins the texts that are not empty.
func joinLines(texts []string) string {
	var all []string
	for _, t := range texts {
		if t != "" {
			all = append(all, t)
		}
	}
	return strings.Join(all, "\n")
}

func junitBaseline(c *Comparison) junitSuite {
	s := junitSuite{Name: "baseline " + c.File, Properties: &junitProperties{}}
	summary, _ := c.lines()
	s.Properties.set("summary", summary)
	for _, n := range c.Notes {
		s.Properties.set("note", n)
	}
	for _, list := range []struct {
		word    string
		changes []Change
		fails   bool
	}{{"worse", c.Worse, true}, {"vanished", c.Vanished, true}, {"better", c.Better, false}, {"new", c.New, false}} {
		for _, change := range list.changes {
			one := junitCase{Class: s.Name, Name: list.word + ": " + change.Play + ", " + change.Client}
			if list.fails {
				one.Failure = &junitMessage{change.What, list.word, change.What}
			} else {
				one.Out = change.What
			}
			s.Cases = append(s.Cases, one)
		}
	}
	return s
}
