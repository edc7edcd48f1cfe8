package capability

import (
	"errors"
	"testing"

	"github.com/wslab/wslab/internal/engine"
)

func TestCheck(t *testing.T) {
	broken := func() (string, error) { return "", errors.New("broken") }
	for _, tt := range []struct {
		c    Capability
		want engine.Check
	}{
		{
			Capability{Name: "a", Needed: "b", Remedy: "c", try: func() (string, error) { return "found", nil }},
			engine.Check{Name: "a", Verdict: engine.OK, Found: "found", Needed: "b"},
		},
		{
			Capability{Name: "a", Needed: "b", Remedy: "c", try: broken},
			engine.Check{Name: "a", Verdict: engine.Lacking, Found: "broken", Needed: "b", Remedy: "c"},
		},
		{
			Capability{Name: "a", Needed: "b", Remedy: "c", Required: true, try: broken},
			engine.Check{Name: "a", Verdict: engine.Unfit, Found: "broken", Needed: "b", Remedy: "c"},
		},
	} {
		if got := tt.c.Check(); got != tt.want {
			t.Errorf("%+v", got)
		}
	}
}
