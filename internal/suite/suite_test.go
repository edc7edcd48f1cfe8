package suite

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/scenarios"
)

func scenario(name string, labs ...string) *scenarios.Scenario {
	s := &scenarios.Scenario{Name: name}
	for _, l := range labs {
		s.Labs = append(s.Labs, scenarios.Entry{Lab: l})
	}
	return s
}

// TestPlaysOfOneLabFollowOneAnother: a lab comes up once, whatever the order of the files.
func TestPlaysOfOneLabFollowOneAnother(t *testing.T) {
	var got []string
	for _, st := range stagesOf([]*scenarios.Scenario{scenario("a", "home", "corporate"), scenario("b", "home"), scenario("c", "corporate")}) {
		line := st.ref + ":"
		for _, p := range st.plays {
			line += " " + p.Scenario.Name
		}
		got = append(got, line)
	}
	if diff := cmp.Diff([]string{"home: a b", "corporate: a c"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRunningLabIsFoundByNameAndFile(t *testing.T) {
	running := []engine.LabStatus{{Name: "mine", Source: "home", File: "embedded:home"}, {Name: "x", Source: "x", File: "labs/x.yaml"}}
	for ref, want := range map[string]string{"home": "mine", "labs/x.yaml": "x", "./labs/x.yaml": "x"} {
		if got := find(running, ref); got == nil || got.Name != want {
			t.Errorf("%s: %+v, want %s", ref, got, want)
		}
	}
	if got := find(running, "corporate"); got != nil {
		t.Errorf("corporate: %+v", got)
	}
}

func TestFindNamesWhatThereIs(t *testing.T) {
	known := scenarios.Known{}
	var missing *lab.NotFoundError
	if _, err := Find([]string{"no-such-file.yaml"}, known); err == nil {
		t.Error("a file that is not there was found")
	}
	if _, err := findBuiltin(nil, "nat-idel"); !errors.As(err, &missing) || len(missing.Known) == 0 {
		t.Errorf("%v", err)
	}
}
