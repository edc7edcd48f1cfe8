package strategies

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/wslab/wslab/scenarios"
)

// Played is what became of one strategy in one play.
type Played struct {
	// Play tells the plays apart.
	Play, Strategy string
	Verdict        scenarios.Verdict
	// Sent and Lost count messages, Connections those that were opened.
	Sent, Lost, Connections int
	// Down is the time without a connection that worked, Connected that with one that was open.
	Down, Connected time.Duration
	KeepaliveBytes  int
}

// FromResults takes what a run has found.
func FromResults(results []*scenarios.Result) []Played {
	var all []Played
	for i, r := range results {
		for _, c := range r.Cells {
			all = append(all, Played{
				Play: fmt.Sprint(i), Strategy: c.Client, Verdict: c.Verdict, Sent: c.Sent, Lost: c.Lost, Connections: c.Connections,
				Down: c.Down, Connected: c.Connected, KeepaliveBytes: c.KeepaliveBytes,
			})
		}
	}
	return all
}

// document is what is read of the JSON document of a run.
type document struct {
	Cells []cell `json:"cells"`
}

type cell struct {
	Scenario       string   `json:"scenario"`
	Lab            string   `json:"lab"`
	Path           string   `json:"path"`
	From           string   `json:"from"`
	Client         string   `json:"client"`
	Verdict        string   `json:"verdict"`
	Sent           int      `json:"sent"`
	Lost           int      `json:"lost"`
	Connections    int      `json:"connections"`
	Down           *float64 `json:"down_s"`
	Connected      float64  `json:"connected_s"`
	KeepaliveBytes int      `json:"keepalive_bytes"`
}

// Read reads what a run has found from its JSON document.
func Read(r io.Reader) ([]Played, error) {
	var document document
	if err := json.NewDecoder(r).Decode(&document); err != nil {
		return nil, fmt.Errorf("this is not the JSON document of a run: %w", err)
	}
	if len(document.Cells) == 0 {
		return nil, errors.New("this is not the JSON document of a run: it has no cells")
	}
	// The same scenario may be played several times on the same lab by the same way.
	again := make(map[string]int)
	var all []Played
	for _, c := range document.Cells {
		if c.Down == nil {
			return nil, fmt.Errorf("scenario %s, client %s: down_s is missing; play the run anew with this version of wslab", c.Scenario, c.Client)
		}
		play := fmt.Sprintf("%s %s %s %s", c.Scenario, c.Lab, c.Path, c.From)
		again[play+" "+c.Client]++
		all = append(all, Played{
			Play: fmt.Sprint(play, " ", again[play+" "+c.Client]), Strategy: c.Client, Verdict: scenarios.Verdict(c.Verdict),
			Sent: c.Sent, Lost: c.Lost, Connections: c.Connections,
			Down: duration64(*c.Down), Connected: duration64(c.Connected), KeepaliveBytes: c.KeepaliveBytes,
		})
	}
	return all, nil
}

func duration64(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// Row is what became of one strategy in all plays of a comparison together.
type Row struct {
	Strategy string
	Plays    int
	// Down is the time without a connection that worked.
	Down time.Duration
	// Sent and Lost count messages, Reconnects the connections after the first of each play.
	Sent, Lost, Reconnects int
	// BytesPerHour are those of keepalive in an hour with a connection open.
	BytesPerHour                float64
	Survived, Recovered, Failed int
}

// Comparison is how strategies did in the same plays.
type Comparison struct {
	// Rows are the strategies, the one that lost the least time first.
	Rows []Row
	// LeftOut are those that took part in some of the plays only.
	LeftOut []string
}

// Compare adds up what became of each strategy, in all plays that most strategies took part in.
func Compare(all []Played) (Comparison, error) {
	byName := make(map[string][]Played)
	plays := make(map[string]bool)
	for _, p := range all {
		byName[p.Strategy] = append(byName[p.Strategy], p)
		plays[p.Play] = true
	}
	var c Comparison
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if len(byName[name]) < len(plays) {
			c.LeftOut = append(c.LeftOut, name)
			continue
		}
		c.Rows = append(c.Rows, add(name, byName[name]))
	}
	if len(c.Rows) == 0 {
		return c, errors.New("no strategy took part in every play, so that nothing can be compared: play the run with --strategies all")
	}
	slices.SortStableFunc(c.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Down.Round(time.Millisecond), b.Down.Round(time.Millisecond)), cmp.Compare(a.BytesPerHour, b.BytesPerHour))
	})
	return c, nil
}

func add(name string, played []Played) Row {
	r := Row{Strategy: name, Plays: len(played)}
	bytes, connected := 0, time.Duration(0)
	for _, p := range played {
		r.Down += p.Down
		r.Sent += p.Sent
		r.Lost += p.Lost
		r.Reconnects += max(0, p.Connections-1)
		bytes += p.KeepaliveBytes
		connected += p.Connected
		switch p.Verdict {
		case scenarios.Survived:
			r.Survived++
		case scenarios.Recovered:
			r.Recovered++
		default:
			r.Failed++
		}
	}
	if connected > 0 {
		r.BytesPerHour = float64(bytes) / connected.Hours()
	}
	return r
}

// MedianBytes returns the median of what the strategies but one spend on keepalive in an hour: of two in
// the middle the lower one.
func (c Comparison) MedianBytes(except string) float64 {
	var all []float64
	for _, r := range c.Rows {
		if r.Strategy != except {
			all = append(all, r.BytesPerHour)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}
