package report

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wslab/wslab/scenarios"
)

// Tolerance is by how much an outage may grow before it counts as worse: by the larger of both.
type Tolerance struct {
	// Seconds is lab time.
	Seconds float64
	// Percent of the outage of the baseline.
	Percent float64
}

// DefaultTolerance is about what outages differ by between two runs at speed 10: a tenth of a second on
// the clock is a second, and the kernel counts seconds.
func DefaultTolerance() Tolerance { return Tolerance{Seconds: 5, Percent: 25} }

// ParseTolerance reads a tolerance: a duration, a percentage, or both with a comma.
func ParseTolerance(text string) (Tolerance, error) {
	var t Tolerance
	wrong := fmt.Errorf("%q is no tolerance: it has to be a duration, a percentage, or both, such as 5s,25%%", text)
	parts := strings.Split(text, ",")
	if len(parts) > 2 {
		return t, wrong
	}
	seen := make(map[bool]bool)
	for _, part := range parts {
		number, percent := strings.CutSuffix(strings.TrimSpace(part), "%")
		if seen[percent] {
			return t, wrong
		}
		seen[percent] = true
		if percent {
			p, err := strconv.ParseFloat(number, 64)
			if err != nil || !(p >= 0 && p <= 1e6) {
				return t, wrong
			}
			t.Percent = p
			continue
		}
		d, err := time.ParseDuration(number)
		if err != nil || d < 0 {
			return t, wrong
		}
		t.Seconds = d.Seconds()
	}
	return t, nil
}

// String returns the tolerance as [ParseTolerance] reads it.
func (t Tolerance) String() string {
	seconds := strconv.FormatFloat(t.Seconds, 'f', -1, 64) + "s"
	percent := strconv.FormatFloat(t.Percent, 'f', -1, 64) + "%"
	return seconds + "," + percent
}

// bears says whether an outage may grow from one to the other, in seconds.
func (t Tolerance) bears(from, to float64) bool {
	return to-from <= max(t.Seconds, from*t.Percent/100)
}

// Comparison is how a run did against an earlier one, its baseline. A cell that was repeated is
// compared as one, by the worst that came of it.
type Comparison struct {
	File      string   `json:"file" jsonschema:"description=Where the baseline was read from."`
	Tolerance string   `json:"tolerance" jsonschema:"description=By how much an outage may grow."`
	Worse     []Change `json:"worse" jsonschema:"description=Cells whose verdict got worse\\, or whose outage grew past the tolerance."`
	Vanished  []Change `json:"vanished" jsonschema:"description=Cells of the baseline that were not played any more."`
	Better    []Change `json:"better" jsonschema:"description=Cells whose verdict got better\\, or whose outage shrank by more than the tolerance."`
	New       []Change `json:"new" jsonschema:"description=Cells that the baseline does not have."`
	Same      int      `json:"same" jsonschema:"minimum=0,description=Cells that are as they were."`
	Notes     []string `json:"notes,omitempty" jsonschema:"description=What a reader has to know of how they compare."`
}

// Change is what is different about one cell.
type Change struct {
	Play   string `json:"play" jsonschema:"description=The play for a person."`
	Client string `json:"client" jsonschema:"description=Name of the client."`
	What   string `json:"what" jsonschema:"description=What is different."`
}

// String is the change in one line.
func (c Change) String() string { return c.Play + ", " + c.Client + ": " + c.What }

// Passed says whether nothing got worse and nothing vanished.
func (c *Comparison) Passed() bool { return len(c.Worse) == 0 && len(c.Vanished) == 0 }

// Scope is which cells of a baseline a run was to play; nil is all of them.
type Scope func(scenario, client string) bool

// ErrEmptyBaseline says that there is nothing to compare with.
var ErrEmptyBaseline = errors.New("the baseline has no cells that this run plays")

// Compare compares the document with an earlier one, and keeps what came of it in Baseline. file is the
// name of the earlier one.
func (d *Document) Compare(before *Document, file string, t Tolerance, scope Scope) error {
	c := &Comparison{File: clean(file), Tolerance: t.String(), Worse: []Change{}, Vanished: []Change{}, Better: []Change{}, New: []Change{}}
	d.noteDifferences(c, before)
	now, then := d.matrix(), before.matrix()
	compared, outOfScope := 0, 0
	for i := range then.rows {
		was := &then.rows[i]
		is := now.row(was.id)
		for k := range was.entries {
			old := &was.entries[k]
			if scope != nil && !scope(was.id.scenario, old.client) {
				outOfScope++
				continue
			}
			if len(old.cells) == 0 {
				continue // nothing is known of it
			}
			compared++
			if is == nil || is.find(old.client) == nil {
				if d.Shard == "" && !now.perhaps(was.id, old.client) {
					c.Vanished = append(c.Vanished, Change{was.id.String(), old.client, fmt.Sprintf("was %s, and is not played any more", old.level())})
				}
				continue
			}
			entry := is.find(old.client)
			if len(entry.cells) == 0 {
				continue // it was not finished, which the report says already
			}
			change := Change{Play: is.id.String(), Client: old.client}
			var how int
			how, change.What = differ(old, entry, t)
			switch {
			case how > 0:
				c.Worse = append(c.Worse, change)
			case how < 0:
				c.Better = append(c.Better, change)
			default:
				c.Same++
			}
		}
	}
	for i := range now.rows {
		r := &now.rows[i]
		was := then.row(r.id)
		for k := range r.entries {
			e := &r.entries[k]
			if len(e.cells) > 0 && (was == nil || was.find(e.client) == nil) {
				c.New = append(c.New, Change{r.id.String(), e.client, e.level()})
			}
		}
	}
	if compared == 0 {
		return ErrEmptyBaseline
	}
	if outOfScope > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%d cells of the baseline were not asked for, and are not compared", outOfScope))
	}
	if d.Shard != "" {
		c.Notes = append(c.Notes, fmt.Sprintf("this is shard %s: what vanished shows when the shards are merged", d.Shard))
	}
	d.Baseline = c
	d.settle()
	return nil
}

// noteDifferences says where the two runs are not alike.
func (d *Document) noteDifferences(c *Comparison, before *Document) {
	note := func(format string, args ...any) { c.Notes = append(c.Notes, fmt.Sprintf(format, args...)) }
	if before.Speed != d.Speed {
		note("the baseline was played at speed %g, this run at %g: what is short in lab time is measured more coarsely at the higher one", before.Speed, d.Speed)
	}
	if before.Engine != d.Engine {
		note("the baseline was played on engine %s, this run on %s", before.Engine, d.Engine)
	}
	if before.Wslab != d.Wslab {
		note("the baseline was played by wslab %s, this run by %s", before.Wslab, d.Wslab)
	}
	if len(before.Unfinished) > 0 {
		note("%d plays of the baseline were not finished", len(before.Unfinished))
	}
}

// row returns the row of a play, or nil.
func (m *matrix) row(id playID) *row {
	i := slices.IndexFunc(m.rows, func(r row) bool { return r.id == id })
	if i < 0 {
		return nil
	}
	return &m.rows[i]
}

// perhaps says whether a play that was not finished, and whose way is not known, may be this one.
func (m *matrix) perhaps(id playID, client string) bool {
	id.path, id.again = "", 0
	r := m.row(id)
	return r != nil && len(r.plays) == 0 && r.find(client) != nil
}

// level is what came of an entry, for a person.
func (e *entry) level() string {
	if e.state() == Flaky {
		return fmt.Sprintf("flaky (%s)", e.tally())
	}
	return string(e.state())
}

// rank orders what came of entries, best first: one that flips is a little better than one that
// always does the worst that it did.
func (e *entry) rank() int {
	verdicts := e.verdicts()
	rank := 2 * slices.Index([]scenarios.Verdict{scenarios.Survived, scenarios.Recovered, scenarios.Failed}, verdicts[len(verdicts)-1])
	if len(verdicts) > 1 {
		rank--
	}
	return rank
}

// differ says how an entry is different: over 0 is worse, under 0 better.
func differ(was, is *entry, t Tolerance) (how int, what string) {
	if how = is.rank() - was.rank(); how != 0 {
		what = was.level() + ", now " + is.level()
		if is.untrusted > 0 {
			what += " (the timing of this run's play cannot be trusted)"
		}
		if c := is.shown(); c.Cause != "" {
			what += ": " + c.Cause
		}
		return how, what
	}
	if was.untrusted > 0 || is.untrusted > 0 {
		return 0, ""
	}
	from, to := was.outage(), is.outage()
	switch {
	case !t.bears(from, to):
		return 1, fmt.Sprintf("%s as before, but its outage grew from %.1f s to %.1f s", is.level(), from, to)
	case !t.bears(to, from):
		return -1, fmt.Sprintf("%s as before, and its outage shrank from %.1f s to %.1f s", is.level(), from, to)
	}
	return 0, ""
}

// outage is the middle of the rounds', in seconds; none is 0.
func (e *entry) outage() float64 {
	var all []float64
	for _, c := range e.cells {
		if c.Outage != nil {
			all = append(all, *c.Outage)
		} else {
			all = append(all, 0)
		}
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// lines are the comparison for a person: the first sums it up, the rest are what failed and what else
// is different.
func (c *Comparison) lines() (summary string, details []string) {
	summary = fmt.Sprintf("against %s: %d worse, %d vanished, %d better, %d new, %d as before (tolerance %s)",
		c.File, len(c.Worse), len(c.Vanished), len(c.Better), len(c.New), c.Same, c.Tolerance)
	for _, list := range []struct {
		word    string
		changes []Change
	}{{"worse", c.Worse}, {"vanished", c.Vanished}, {"better", c.Better}, {"new", c.New}} {
		for _, change := range list.changes {
			details = append(details, list.word+": "+change.String())
		}
	}
	for _, n := range c.Notes {
		details = append(details, "note: "+n)
	}
	return summary, details
}
