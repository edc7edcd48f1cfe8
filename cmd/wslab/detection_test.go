package main

import (
	"encoding/json"
	"testing"

	"github.com/wslab/wslab/strategy"
)

// TestDetectionInALab holds what each strategy takes to notice a black hole, on a real network, to what is calculated from
// its settings. Package strategy does the same in virtual time, all over an interval.
func TestDetectionInALab(t *testing.T) {
	r := newNetnsRig(t)
	stdout, stderr, _ := r.run("run", "quiet-black-hole", "--speed", "10", "--format", "json")
	var d struct {
		Cells []struct {
			Client string   `json:"client"`
			Cause  string   `json:"cause"`
			Detect *float64 `json:"detect_s"`
		} `json:"cells"`
	}
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	// What a real network and a machine that is busy add, in seconds of the lab.
	const early, late = 1, 5
	noticed := 0
	for _, c := range d.Cells {
		s, ok := strategy.Find(c.Client)
		if !ok {
			t.Fatalf("no strategy %s", c.Client)
		}
		w := s.Detection()
		switch {
		case c.Detect == nil && (w.Never() || w.Most.Seconds() > 75):
		case c.Detect == nil:
			t.Errorf("%s did not notice, and should within %s: %s", c.Client, w, c.Cause)
		case w.Never():
			t.Errorf("%s noticed after %.1f s, and should never: %s", c.Client, *c.Detect, c.Cause)
		default:
			noticed++
			if *c.Detect < w.Least.Seconds()-early || *c.Detect > w.Most.Seconds()+late {
				t.Errorf("%s noticed after %.1f s, and should within %s: %s", c.Client, *c.Detect, w, c.Cause)
			}
		}
	}
	if noticed < 12 {
		t.Errorf("%d strategies have noticed: %s", noticed, stdout)
	}
}
