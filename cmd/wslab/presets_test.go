package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/preset"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// presetsAtOnce is how many presets are played side by side: they wait more than they work.
const presetsAtOnce = 6

// TestPresets plays every preset against a client that is quiet, one with TCP keepalive
// and one that pings, and checks that it does what its own entry claims: which of them
// survive a silence longer than its timeout, and how the others end, whether the client
// speaks first afterwards or the server does.
func TestPresets(t *testing.T) {
	newNetnsRig(t) // or skip
	needTime(t, 5*time.Minute)
	all := presets()
	// The longest plays first: speed has its limits.
	slices.SortStableFunc(all, func(a, b preset.Preset) int { return cmp.Compare(b.Claims.Timeout, a.Claims.Timeout) })
	queue := make(chan preset.Preset, len(all))
	for _, p := range all {
		queue <- p
	}
	close(queue)
	// Not t.Parallel, which runs no more at once than there are processors.
	var playing sync.WaitGroup
	for range presetsAtOnce {
		playing.Go(func() {
			for p := range queue {
				t.Run(p.Name, func(t *testing.T) { newPresetPlay(t, p).all() })
			}
		})
	}
	playing.Wait()
}

// presetPlay plays one preset.
type presetPlay struct {
	*netnsRig
	preset preset.Preset
	claims preset.Claims
}

func newPresetPlay(t *testing.T, p preset.Preset) *presetPlay {
	t.Helper()
	dir, err := os.MkdirTemp("", "wslab-") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	play := &presetPlay{netnsRig: &netnsRig{t: t, dir: dir}, preset: p, claims: p.Claims}
	t.Cleanup(func() {
		_, _, _ = play.run("down", "--all")
		_ = os.RemoveAll(dir)
	})
	return play
}

const (
	// wallTimeout is how long a timeout takes in a play: four times what the kernel can count.
	wallTimeout = 4 * time.Second
	// maxPresetSpeed leaves a client's day (the longest connect_timeout) four seconds, and
	// nine hours (the longest TCP keepalive) more than one.
	maxPresetSpeed = 24 * 3600 / 4
)

// pace is a play's speed and its durations as scenario files have them: lab time.
type pace struct{ speed float64 }

func paceOf(limit time.Duration) pace {
	return pace{min(limit.Seconds()/wallTimeout.Seconds(), maxPresetSpeed)}
}

// wall is the lab time that takes this long.
func (p pace) wall(d time.Duration) time.Duration { return time.Duration(float64(d) * p.speed) }

// lab writes the lab file; keys are laid over the preset.
func (p *presetPlay) lab(keys string) string {
	p.t.Helper()
	box := fmt.Sprintf("kind: %s, on: [inside, outside], preset: %s", p.preset.Kind, p.preset.Name)
	if strings.Contains(p.preset.What(), "reverse") {
		box += ", upstream: server"
	}
	if p.preset.Kind == "firewall" && p.preset.Settings.Get("allow") == nil && p.preset.Settings.Get("rules") == nil {
		box += ", allow: [tcp/443]"
	}
	file := filepath.Join(p.dir, "lab.yaml")
	p.write(file, `name: preset
networks: { inside: 192.168.1.0/24, outside: 203.0.113.0/24 }
nodes:
  alice:  { kind: client, on: [inside] }
  box:    { `+box+keys+` }
  server: { kind: server, on: [outside] }
`)
	return file
}

func (p *presetPlay) write(file, text string) {
	p.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// scenario writes a scenario file. limit is what the silence between the talks exceeds.
func (p *presetPlay) scenario(at pace, limit time.Duration, by string) string {
	p.t.Helper()
	via := "direct"
	if p.preset.Kind == "proxy" {
		via = "box"
	}
	// Keepalive comes four times in a timeout, as far as strategies go.
	day := 24 * time.Hour
	probe := min(limit/4, day)
	file := filepath.Join(p.dir, by+".yaml")
	p.write(file, fmt.Sprintf(`name: by-%[1]s
lab: lab.yaml
via: [%[2]s]
strategies:
  quiet: { connect_timeout: %[3]s }
  tcp:   { connect_timeout: %[3]s, keepalive: { tcp: { idle: %[4]s, interval: %[4]s, count: 20 } } }
  ping:  { connect_timeout: %[3]s, keepalive: { ping: { interval: %[5]s, timeout: %[6]s } } }
steps:
  - talk: { for: %[7]s, every: %[8]s }
  - quiet: %[9]s
  - talk: { for: %[10]s, every: %[8]s, by: %[1]s }
expect:
  quiet: [survived, failed]
  tcp: [survived, failed]
  ping: [survived, failed]
`, by, via, min(at.wall(10*time.Second), day), min(limit/4, 9*time.Hour), probe, min(limit, day),
		at.wall(time.Second), at.wall(250*time.Millisecond), limit*8/5, at.wall(2*time.Second)))
	return file
}

// all plays everything that the preset claims.
func (p *presetPlay) all() {
	p.t.Helper()
	if p.claims.Timeout > 0 {
		p.silence()
	}
	if p.claims.MaxLifetime > 0 {
		p.lifetime()
	}
}

// silence plays a silence that is longer than the timeout, and then lets the client
// speak first, and the server in another play.
func (p *presetPlay) silence() {
	p.t.Helper()
	at := paceOf(p.claims.Timeout)
	p.must("up", p.lab(""), "--speed", fmt.Sprint(at.speed))
	for _, by := range []string{"client", "server"} {
		what := p.claims.OnExpiry
		if by == "server" {
			what = p.claims.Push()
		}
		results := p.play(p.scenario(at, p.claims.Timeout, by))
		words := p.words(by, what)
		p.ended(results["quiet"], by, what, words)
		for client, kept := range map[string]bool{"tcp": p.claims.KeptByTCP(), "ping": p.claims.KeptByPing()} {
			if kept {
				p.survived(results[client], by)
			} else {
				p.ended(results[client], by, what, words)
			}
		}
	}
	p.must("down")
}

// lifetime plays a time that is longer than the maximum lifetime; no silence may end
// the connection before.
func (p *presetPlay) lifetime() {
	p.t.Helper()
	at := paceOf(p.claims.MaxLifetime)
	keys := ""
	if p.claims.Timeout > 0 {
		keys = ", idle_timeout: 0s"
	}
	p.must("up", p.lab(keys), "--speed", fmt.Sprint(at.speed))
	results := p.play(p.scenario(at, p.claims.MaxLifetime, "client"))
	for _, client := range []string{"quiet", "tcp", "ping"} {
		p.ended(results[client], "client", p.claims.OnExpiry, []string{
			"box ended the connection", fmt.Sprintf("its maximum lifetime is %g s", p.claims.MaxLifetime.Seconds()),
		})
	}
	p.must("down")
}

// presetResult is what became of one client.
type presetResult struct {
	Client, Verdict, Cause string
	Lost                   int
	// atClient and atServer say how the connection ended there: "" as long as nothing told it.
	atClient, atServer string
}

// play plays a scenario on the running lab.
func (p *presetPlay) play(file string) map[string]presetResult {
	p.t.Helper()
	var run struct{ Cells []presetResult }
	if err := json.Unmarshal([]byte(p.must("run", file, "--lab", "preset", "--format", "json")), &run); err != nil {
		p.t.Fatal(err)
	}
	results := make(map[string]presetResult)
	for _, c := range run.Cells {
		results[c.Client] = c
	}
	// The newest session of each client is that of this play.
	sessions := make(map[string]string)
	ends := make(map[string]trace.Event)
	lines := bytes.Lines([]byte(p.must("logs", "--lab", "preset", "--format", "json")))
	for line := range lines {
		var e trace.Event
		if err := json.Unmarshal(line, &e); err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		client, _, _ := strings.Cut(e.Session, "-")
		switch e.Type {
		case trace.Open:
			sessions[client] = e.Session
		case trace.Close, trace.ServerClosed:
			ends[string(e.Type)+e.Session] = e
		}
	}
	for client, r := range results {
		r.atClient = howItEnded(ends[string(trace.Close)+sessions[client]])
		r.atServer = howItEnded(ends[string(trace.ServerClosed)+sessions[client]])
		results[client] = r
	}
	return results
}

// howItEnded names the end of a connection: RST, FIN, a close frame's code; "" where
// the runner ended it, for nothing else had.
func howItEnded(e trace.Event) string {
	switch {
	case e.Type == "" || e.By == "runner" || e.By == "node":
		return ""
	case strings.Contains(e.Err, "reset"):
		return "RST"
	case e.By == "peer":
		return fmt.Sprint(e.Code)
	}
	return "FIN"
}

// survived checks that keepalive kept the connection.
func (p *presetPlay) survived(r presetResult, by string) {
	p.t.Helper()
	if r.Verdict != "survived" || r.Lost != 0 {
		p.t.Errorf("talk by %s: %s %s, lost %d: %s", by, r.Client, r.Verdict, r.Lost, r.Cause)
	}
}

// words are what the cause of an end after a silence says.
func (p *presetPlay) words(by, what string) []string {
	words := []string{forgetting(p.preset.Kind)}
	switch {
	case what == preset.FIN:
		return []string{"box closed the connection", fmt.Sprintf("after %g s without", p.claims.Timeout.Seconds())}
	case what == preset.Recover:
		return append(words, "the connection went on")
	case by == "server":
		return append(words, "did not write afterwards and could not know")
	case what == preset.Reset:
		return append(words, "was answered with a RST")
	}
	return append(words, "into a black hole")
}

// ended checks that a connection that was not kept ended as is claimed at both ends,
// and that the cause says so.
func (p *presetPlay) ended(r presetResult, by, what string, words []string) {
	p.t.Helper()
	want := presetResult{Verdict: "failed"}
	switch {
	case what == preset.Recover:
		want.Verdict = "survived"
		r.atClient, r.atServer = "", "" // the runner's own end
	case what == preset.FIN:
		want.atClient, want.atServer = "FIN", "FIN"
	case what == preset.Reset && by == "client":
		want.atClient = "RST" // the server is not told
	case what == preset.Reset:
		want.atServer = "RST"
	}
	if r.Verdict != want.Verdict || r.atClient != want.atClient || r.atServer != want.atServer {
		p.t.Errorf("talk by %s: %s %s, its connection ended with %q, the server's with %q; %s is claimed\n%s",
			by, r.Client, r.Verdict, r.atClient, r.atServer, what, r.Cause)
	}
	for _, text := range words {
		if !strings.Contains(r.Cause, text) {
			p.t.Errorf("talk by %s: the cause for %s does not say %q; %s is claimed\n%s", by, r.Client, text, what, r.Cause)
		}
	}
}

// forgetting is how causes say that a node of the kind forgot a connection.
func forgetting(kind string) string {
	if kind == "firewall" {
		return "forgot the connection"
	}
	return "dropped the mapping"
}

// TestInspectShowsPresets asks a running lab which settings are its presets'.
func TestInspectShowsPresets(t *testing.T) {
	r := newNetnsRig(t)
	file := filepath.Join(r.dir, "lab.yaml")
	if err := os.WriteFile(file, []byte(`name: inspected
networks: { home: 192.168.1.0/24, internet: 203.0.113.0/24 }
nodes:
  alice:  { kind: client, on: [home] }
  nat:    { kind: nat, on: [home, internet], preset: aws-nat-gateway, on_expiry: drop }
  server: { kind: server, on: [internet] }
`), 0o644); err != nil {
		t.Fatal(err)
	}
	r.must("up", file)
	if out := r.must("inspect"); !strings.Contains(out, "aws-nat-gateway (idle_timeout)") {
		t.Errorf("inspect does not show what is the preset's:\n%s", out)
	}
	var plan topology.Plan
	if err := json.Unmarshal([]byte(r.must("inspect", "--format", "json")), &plan); err != nil {
		t.Fatal(err)
	}
	n, _ := plan.Node("nat")
	var settings struct {
		IdleTimeout time.Duration `json:"idle_timeout"`
		OnExpiry    string        `json:"on_expiry"`
	}
	if err := json.Unmarshal(n.Settings, &settings); err != nil {
		t.Fatal(err)
	}
	if settings.IdleTimeout != 350*time.Second || settings.OnExpiry != "drop" || n.Preset == nil || n.Preset.Name != "aws-nat-gateway" {
		t.Errorf("%s, preset %+v", n.Settings, n.Preset)
	}
	// Another preset is another plan.
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(src, []byte("aws-nat-gateway"), []byte("gcp-cloud-nat"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	r.must("up", file)
	if out := r.must("inspect"); !strings.Contains(out, "gcp-cloud-nat (idle_timeout)") {
		t.Errorf("inspect shows another preset than the file has now:\n%s", out)
	}
}
