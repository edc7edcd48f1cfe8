package report

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Part is one document of several, with the name of its file.
type Part struct {
	File string
	*Document
}

// OverlapError says that parts hold the same plays.
type OverlapError struct {
	First, Second string
	// Plays that are in both, for a person.
	Plays []string
}

// Error says what to do about it.
func (e *OverlapError) Error() string {
	text := fmt.Sprintf("%s and %s overlap: both have %s", e.First, e.Second, e.Plays[0])
	if more := len(e.Plays) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more plays", more)
	}
	return text + "; give each shard once, and play the shards of one run with the same scenarios"
}

// Merge makes one document of the shards of a run. What is not alike about them, and which of them is
// missing, stands in the document. Parts that overlap are an error.
func Merge(parts []Part) (*Document, error) {
	if len(parts) == 0 {
		return nil, errors.New("nothing to merge")
	}
	first := parts[0]
	d := &Document{Version: DocumentVersion, Wslab: first.Wslab, Speed: first.Speed, Language: first.Language, Cells: []Cell{}, Plays: []Play{}}
	var engines []string
	var clash []error
	for i, p := range parts {
		for _, before := range parts[:i] {
			if err := overlap(before, p); err != nil {
				clash = append(clash, err)
			}
		}
		for _, name := range strings.Split(p.Engine, ", ") {
			if name != "" && !slices.Contains(engines, name) {
				engines = append(engines, name)
			}
		}
		for _, c := range p.Cells {
			c.Play += len(d.Plays)
			d.Cells = append(d.Cells, c)
		}
		d.Plays = append(d.Plays, p.Plays...)
		d.Unfinished = append(d.Unfinished, p.Unfinished...)
		for _, m := range p.Missing {
			d.Missing = append(d.Missing, p.File+": "+m)
		}
		for _, n := range p.Notes {
			d.Notes = append(d.Notes, p.File+": "+n)
		}
	}
	if err := errors.Join(clash...); err != nil {
		return nil, err
	}
	d.Engine = strings.Join(engines, ", ")
	d.noteUnlike(parts)
	d.noteMissing(parts)
	d.settle()
	return d, nil
}

// overlap is an error where two parts have the same rounds of the same plays.
func overlap(a, b Part) error {
	type round struct {
		id    playID
		round int
	}
	seen := make(map[round]bool)
	for i, id := range a.ids() {
		seen[round{id, a.Plays[i].Round}] = true
	}
	var plays []string
	for i, id := range b.ids() {
		if seen[round{id, b.Plays[i].Round}] {
			plays = append(plays, id.String())
		}
	}
	if len(plays) == 0 && a.Shard != "" && a.Shard == b.Shard {
		plays = append(plays, "shard "+a.Shard)
	}
	if len(plays) == 0 {
		return nil
	}
	return &OverlapError{a.File, b.File, plays}
}

// noteUnlike says what is not the same of all parts.
func (d *Document) noteUnlike(parts []Part) {
	for _, about := range []struct {
		what string
		of   func(Part) string
	}{
		{"versions of wslab", func(p Part) string { return p.Wslab }},
		{"speeds", func(p Part) string { return strconv.FormatFloat(p.Speed, 'g', -1, 64) }},
		{"engines", func(p Part) string { return p.Engine }},
		{"languages", func(p Part) string { return string(p.Language) }},
	} {
		var values, texts []string
		for _, p := range parts {
			value := about.of(p)
			if value == "" && len(p.Plays) == 0 {
				continue // nothing was played
			}
			if !slices.Contains(values, value) {
				values = append(values, value)
				texts = append(texts, fmt.Sprintf("%s in %s", value, p.File))
			}
		}
		if len(values) > 1 {
			d.Notes = append(d.Notes, fmt.Sprintf("the parts are of different %s: %s", about.what, strings.Join(texts, ", ")))
		}
	}
}

// noteMissing says which shards are not there.
func (d *Document) noteMissing(parts []Part) {
	there := make(map[int]map[int]bool)
	for _, p := range parts {
		number, of, ok := strings.Cut(p.Shard, "/")
		n, err1 := strconv.Atoi(number)
		m, err2 := strconv.Atoi(of)
		if !ok || err1 != nil || err2 != nil || n < 1 || m < n || m > maxShards {
			continue
		}
		if there[m] == nil {
			there[m] = make(map[int]bool)
		}
		there[m][n] = true
	}
	var sizes []int
	for m := range there {
		sizes = append(sizes, m)
	}
	slices.Sort(sizes)
	for _, m := range sizes {
		var missing []string
		for n := 1; n <= m; n++ {
			if !there[m][n] {
				missing = append(missing, fmt.Sprintf("%d/%d", n, m))
			}
		}
		switch {
		case len(missing) == 1:
			d.Missing = append(d.Missing, "shard "+missing[0]+" is missing")
		case len(missing) > 8:
			d.Missing = append(d.Missing, fmt.Sprintf("%d of %d shards are missing: %s, ...", len(missing), m, strings.Join(missing[:8], ", ")))
		case len(missing) > 1:
			d.Missing = append(d.Missing, "shards "+strings.Join(missing, ", ")+" are missing")
		}
	}
	if len(sizes) > 1 {
		d.Missing = append(d.Missing, fmt.Sprintf("the parts are of runs in %d and in %d shards, which do not belong together", sizes[0], sizes[1]))
	}
}

// maxShards is more than any build farm has machines for.
const maxShards = 10000
