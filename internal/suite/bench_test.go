package suite

import (
	"testing"

	"github.com/wslab/wslab/internal/engine/enginetest"
	"github.com/wslab/wslab/internal/engine/netns"
	"github.com/wslab/wslab/internal/registry"
)

// BenchmarkMatrix plays the whole built-in matrix at ten times its speed on netns. x-bound is how long that
// took as a multiple of what it had to take: the lab time of all plays at their speed, divided by how many ran side
// by side on the average. x-one-by-one is the same as a share of playing one after another without any time for labs.
func BenchmarkMatrix(b *testing.B) {
	binary := enginetest.Build(b)
	b.Setenv("XDG_RUNTIME_DIR", b.TempDir())
	e, err := netns.New(netns.Options{Binary: binary})
	if err == nil {
		err = e.Probe(b.Context())
	}
	if err != nil {
		b.Skip(err)
	}
	reg := registry.New()
	list, err := Find(nil, Known(reg))
	if err != nil {
		b.Fatal(err)
	}
	var sum Timing
	untrusted := 0
	for b.Loop() {
		s := &Suite{Engine: e, Registry: reg, Speed: 10}
		outcome, err := s.Run(b.Context(), list, true)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range outcome.Results {
			if r.Untrusted != "" {
				untrusted++
			}
		}
		t := outcome.Timing
		sum = Timing{
			Wall: sum.Wall + t.Wall, Lab: sum.Lab + t.Lab, Played: sum.Played + t.Played, Plays: sum.Plays + t.Plays, Most: max(sum.Most, t.Most),
		}
	}
	b.ReportMetric(sum.Wall.Seconds()/float64(b.N), "s/matrix")
	b.ReportMetric(float64(sum.Plays)/float64(b.N), "plays")
	b.ReportMetric(sum.SideBySide(), "side-by-side")
	b.ReportMetric(float64(sum.Most), "at-most")
	b.ReportMetric(sum.Ratio(), "x-bound")
	b.ReportMetric(over(sum.Wall, sum.Lab), "x-one-by-one")
	b.ReportMetric(float64(untrusted)/float64(b.N), "untrusted")
	b.ReportMetric(0, "ns/op")
}
