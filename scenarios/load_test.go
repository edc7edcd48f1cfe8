package scenarios

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with a golden file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestWrongFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	k := known(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Load(filepath.Base(file), src, k)
			if err == nil {
				t.Fatal("no problem found")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", err.Error()+"\n")
		})
	}
}

func TestBuiltin(t *testing.T) {
	all, err := Builtin(known(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		for _, p := range s.Plays() {
			line := s.Name + " on " + p.Lab + " via " + p.Path + ":"
			for _, e := range p.Expect {
				line += " " + e.Client + "=" + e.Verdicts.String()
			}
			got = append(got, line)
		}
		if s.Summary == "" || s.Family == "" || s.Why == "" || len(s.Source) == 0 {
			t.Errorf("%s lacks a summary, a family, a why or a source", s.Name)
		}
		for _, source := range s.Source {
			if !strings.Contains(source, ": https://") {
				t.Errorf("%s: a source without a URL: %s", s.Name, source)
			}
		}
	}
	golden(t, "testdata/builtin.golden", strings.Join(got, "\n")+"\n")
}

func TestLoad(t *testing.T) {
	src := `
name: everything
summary: Every key.
lab:
  - home
  - { name: corporate, client: alice, via: [http-proxy, app-proxy], with: { nat: { idle_timeout: 20s } }, expect: { none: survived, twitchy: failed } }
with:
  nat: { on_expiry: reset, idle_timeout: 10s }
strategies:
  eager: { keepalive: { ping: { interval: 1s } } }
steps:
  - talk: { for: 5s, every: 1s }
  - toxic: { at: nat, type: latency, latency: 300ms, for: 2s }
  - toxic: { at: nat, type: bandwidth, name: thin, stream: upstream }
  - toxic: { at: nat, remove: thin }
  - flush-nat: nat
  - restart: server
  - pause: { node: server, for: 3s }
  - quiet: 10s
expect:
  none: [survived, failed]
  eager: { verdict: survived, lost: 1, duplicated: 2, outage: 3s, cause: alive }
`
	s, err := Load("everything.yaml", []byte(src), known(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Duration(); got != 18*time.Second {
		t.Errorf("duration %s", got)
	}
	plays := s.Plays()
	if len(plays) != 3 || plays[0].Path != "" || plays[2].Path != "app-proxy" {
		t.Fatalf("plays: %+v", plays)
	}
	if diff := cmp.Diff([]string{"none", "eager", "twitchy"}, plays[1].Clients()); diff != "" {
		t.Error(diff)
	}
	if got := plays[1].Expect[0].Verdicts.String(); got != "survived" {
		t.Errorf("overridden expectation: %s", got)
	}
	if got := string(plays[0].With[0].Settings); got != `{"idle_timeout":10000000000,"on_expiry":"reset"}` {
		t.Errorf("with: %s", got)
	}
	if got := string(plays[1].With[0].Settings); got != `{"idle_timeout":20000000000}` {
		t.Errorf("with on corporate: %s", got)
	}
	if most, key := plays[0].MaxSpeed(); most != 10 || key != "nat.idle_timeout" {
		t.Errorf("max speed %g by %s", most, key)
	}
	var steps []string
	for _, step := range s.Steps {
		steps = append(steps, step.String())
	}
	want := []string{
		"talk: 5s", "toxic: latency downstream at nat for 2s", "toxic: bandwidth upstream at nat", "toxic: remove thin at nat",
		"flush-nat: nat", "restart: server", "pause: server for 3s", "quiet: 10s",
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
	if got := string(s.Strategies["eager"]); !strings.Contains(got, `"interval":1000000000`) {
		t.Errorf("own strategy: %s", got)
	}
}

func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"testdata/wrong/*.yaml", "*.yaml"} {
		files, err := filepath.Glob(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	k := known(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Load("fuzz.yaml", src, k)
		if err != nil {
			_ = err.Error() // has to be printable as well
			return
		}
		for _, p := range s.Plays() {
			if len(p.Expect) == 0 || len(s.Steps) == 0 {
				t.Error("a scenario without steps or clients was accepted")
			}
		}
	})
}

// TestChangeToPreset takes a preset for the time of a play, one key of it overridden.
func TestChangeToPreset(t *testing.T) {
	p := play(t, `
with:
  nat: { preset: cloud-nat, on_expiry: drop }
steps: [{ talk: 5s }]
expect: { none: survived }
`)
	if got := string(p.With[0].Settings); got != `{"idle_timeout":350000000000,"on_expiry":"drop"}` {
		t.Errorf("with: %s", got)
	}
	if most, key := p.MaxSpeed(); most != 350 || key != "nat.idle_timeout (from preset cloud-nat)" {
		t.Errorf("max speed %g by %s", most, key)
	}
}

func TestPlayedBy(t *testing.T) {
	p := Play{Expect: []Expectation{{Client: "none", Verdicts: Expected{Failed}}, {Client: "ws-ping", Verdicts: Expected{Survived}}}}
	got := p.PlayedBy([]string{"ws-ping", "adaptive"})
	want := []Expectation{{Client: "ws-ping", Verdicts: Expected{Survived}}, {Client: "adaptive", Verdicts: Expected{Survived, Recovered, Failed}}}
	if diff := cmp.Diff(want, got.Expect); diff != "" {
		t.Error(diff)
	}
	if len(p.Expect) != 2 || p.Expect[1].Client != "ws-ping" {
		t.Error("PlayedBy changed its receiver")
	}
}
