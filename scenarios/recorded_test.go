package scenarios

import (
	"compress/gzip"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// TestRecorded judges traces of real plays anew, so that a
// change of a rule shows in what people read.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/recorded/*.json.gz")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json.gz"), func(t *testing.T) {
			tr := readRecorded(t, file)
			f := facts{
				t:       untilEnd(tr),
				idle:    map[string]time.Duration{"nat": 30 * time.Second, "app-proxy": time.Minute, "balancer": time.Minute, "cgn": 30 * time.Second, "home-nat": 7440 * time.Second},
				places:  map[netip.Addr]string{netip.MustParseAddr("10.40.0.2"): "alice"},
				client:  "alice",
				proxies: map[string]proxyFacts{"balancer": {Activity: "any", Lifetime: 2 * time.Minute}},
			}
			var out strings.Builder
			for _, id := range sessionsOf(tr) {
				name := id[:strings.LastIndex(id, "-")]
				out.WriteString(cellText(name, judge(f, session{id: id, strategy: name, habits: builtin(t, name)})))
			}
			golden(t, strings.TrimSuffix(file, ".json.gz")+".golden", out.String())
		})
	}
}

func readRecorded(t *testing.T, file string) *trace.Trace {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Start  time.Time     `json:"start"`
		End    time.Time     `json:"end"`
		Speed  float64       `json:"speed"`
		Events []trace.Event `json:"events"`
	}
	if err := json.NewDecoder(z).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return trace.New(r.Start, r.End, r.Speed, r.Events)
}

// sessionsOf lists the sessions in the order they began.
func sessionsOf(tr *trace.Trace) []string {
	var ids []string
	for e := range tr.All(trace.OfType(trace.DialStart)) {
		if e.Attempt == 1 && e.Conn <= 1 {
			ids = append(ids, e.Session)
		}
	}
	return ids
}
