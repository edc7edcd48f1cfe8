package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBrokenStrategy plays scenarios with a copy of firewall-aware that has lost its keepalive, held to what is
// expected of the whole one: those cells turn red where keepalive decides, and no others.
func TestBrokenStrategy(t *testing.T) {
	r := newNetnsRig(t)
	// Where only the way back counts, nothing is missed.
	red := map[string]bool{"nat-idle-reset": true, "half-open": true, "reset": false, "restart-fin": false}
	args := []string{"run", "--speed", "5", "--format", "json"}
	for _, name := range slices.Sorted(maps.Keys(red)) {
		args = append(args, brokenCopy(t, r.dir, name))
	}
	stdout, stderr, code := r.run(args...)
	if code != 1 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	var d document
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	got := make(map[string]bool)
	for _, c := range d.Cells {
		if c.Client == "broken" {
			got[c.Scenario] = !c.Passed
		} else if !c.Passed && !slices.Contains(slices.Collect(maps.Keys(differences)), "* on * by *, "+c.Client) {
			t.Errorf("%s, which is whole: %s: %s", where(c), c.Verdict, c.Cause)
		}
	}
	if diff := cmp.Diff(red, got); diff != "" {
		t.Errorf("red cells (-want +got):\n%s%s", diff, stdout)
	}
}

// brokenCopy writes a copy of a built-in scenario for the lab home alone, with a broken firewall-aware in place of the
// whole one.
func brokenCopy(t *testing.T, dir, name string) (file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "scenarios", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const broken = "  broken: { reconnect: { base: 1s, max: 30s, factor: 2, tries: 5, jitter: 0.5 }, force_wss: true, standard_ports: true }\n"
	s := string(text)
	if strings.Contains(s, "\nstrategies:\n") {
		s = strings.Replace(s, "\nstrategies:\n", "\nstrategies:\n"+broken, 1)
	} else {
		s = strings.Replace(s, "\nsteps:\n", "\nstrategies:\n"+broken+"steps:\n", 1)
	}
	if whole, rest, several := strings.Cut(s, "\nlab:\n"); several {
		_, rest, _ = strings.Cut(rest, "\nstrategies:\n")
		s = whole + "\nlab: home\nstrategies:\n" + rest
	}
	if !strings.Contains(s, "\n  firewall-aware:") {
		t.Fatalf("%s expects nothing of firewall-aware", name)
	}
	s = strings.ReplaceAll(s, "\n  firewall-aware:", "\n  broken:")
	file = filepath.Join(dir, name+".yaml")
	if err := os.WriteFile(file, []byte(s), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
