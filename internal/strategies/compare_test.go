package strategies

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/scenarios"
)

const run = `{"cells": [
  {"scenario": "a", "lab": "home", "path": "direct", "client": "none", "verdict": "failed", "connections": 1, "sent": 10, "lost": 4, "down_s": 20, "connected_s": 60, "keepalive_bytes": 0},
  {"scenario": "a", "lab": "home", "path": "direct", "client": "ws-ping", "verdict": "survived", "connections": 1, "sent": 10, "lost": 0, "down_s": 0, "connected_s": 60, "keepalive_bytes": 40},
  {"scenario": "a", "lab": "home", "path": "direct", "client": "hasty", "verdict": "failed", "connections": 1, "sent": 10, "lost": 0, "down_s": 0, "connected_s": 60, "keepalive_bytes": 40},
  {"scenario": "b", "lab": "home", "path": "direct", "client": "none", "verdict": "failed", "connections": 1, "sent": 10, "lost": 1, "down_s": 5.5, "connected_s": 60, "keepalive_bytes": 0},
  {"scenario": "b", "lab": "home", "path": "direct", "client": "ws-ping", "verdict": "recovered", "connections": 3, "sent": 10, "lost": 1, "down_s": 2, "connected_s": 30, "keepalive_bytes": 20}
]}`

func TestCompare(t *testing.T) {
	played, err := Read(strings.NewReader(run))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Compare(played)
	if err != nil {
		t.Fatal(err)
	}
	want := Comparison{
		Rows: []Row{
			{Strategy: "ws-ping", Plays: 2, Down: 2 * time.Second, Sent: 20, Lost: 1, Reconnects: 2, BytesPerHour: 2400, Survived: 1, Recovered: 1},
			{Strategy: "none", Plays: 2, Down: 25500 * time.Millisecond, Sent: 20, Lost: 5, Failed: 2},
		},
		LeftOut: []string{"hasty"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m := got.MedianBytes("none"); m != 2400 {
		t.Errorf("median %v", m)
	}
}

// The same plays again are other plays.
func TestCompareOfSeveralRounds(t *testing.T) {
	cells := strings.TrimSuffix(strings.TrimPrefix(run, `{"cells": [`), "]}")
	played, err := Read(strings.NewReader(`{"cells": [` + cells + "," + cells + "]}"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Compare(played)
	if err != nil || len(got.Rows) != 2 || got.Rows[0].Plays != 4 || got.Rows[1].Down != 51*time.Second {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCompareWhatCannotBeCompared(t *testing.T) {
	for text, want := range map[string]string{
		"":              "not the JSON document of a run",
		"[]":            "not the JSON document of a run",
		`{"cells": []}`: "it has no cells",
		`{"cells": [{"scenario": "a", "client": "none", "verdict": "failed"}]}`: "scenario a, client none: down_s is missing",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, err := Compare([]Played{{Play: "1", Strategy: "a", Verdict: scenarios.Survived}, {Play: "2", Strategy: "b", Verdict: scenarios.Survived}})
	if err == nil || !strings.Contains(err.Error(), "no strategy took part in every play") {
		t.Errorf("%v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(run)
	f.Fuzz(func(t *testing.T, text string) {
		played, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		if c, err := Compare(played); err == nil {
			c.MedianBytes("none")
		}
	})
}
