package suite

import (
	"errors"
	"testing"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/scenarios"
)

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
