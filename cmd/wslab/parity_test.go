package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/labs"
	"github.com/wslab/wslab/scenarios"
)

// differences are cells whose cause, or number of connections, is another on one engine than on the
// other, or from one run to the next on the same, with the reason: by "SCENARIO on LAB by PATH,
// CLIENT", where a star stands for any scenario, lab or path. The verdict is always the same, except
// where the scenario itself expects one of several.
var differences = map[string]string{
	"background-tab on * by *, *":                      firstToWake,
	"laptop-asleep on * by *, actioncable":             firstToWake,
	"laptop-asleep on * by *, tcp-keepalive":           underWay,
	"laptop-asleep on * by *, websocket-client":        underWay,
	"hairpin on home-server by direct, firewall-aware": "it is refused again and again, by one of the NAT's rules or another; the cause names what was recorded of the last time",
	"starved-bandwidth on * by *, adaptive":            "answers and messages are late by as much, and the cause names the later",
	"nat-full on hotel-wifi by *, *":                   "whose packet finds the last room in the table, and is answered with a RST, and whose is dropped, is a matter of microseconds",
	"power-loss on home by *, adaptive":                serverIsBack,
	"power-loss on home by *, actioncable":             serverIsBack,
}

// firstToWake is why a client that its server has given up learns it in one way or another.
const firstToWake = "when it wakes, its look for silence, its next message and the end that waits in the kernel are due at the same moment"

// underWay is why TCP keepalive may give a connection up while its machine is asleep, or not.
const underWay = "TCP keepalive does not run while a message is under way, and whether one is when the machine falls asleep is chance"

// serverIsBack is why a client may give a connection up, or be told that there is none.
const serverIsBack = "its patience ends about when the server is back"

// known returns the reason why a cell need not be the same.
func known(c cell) (why string, ok bool) {
	for pattern, why := range differences {
		matched, err := path.Match(strings.ReplaceAll(pattern, "/", "|"), strings.ReplaceAll(where(c), "/", "|"))
		if err == nil && matched {
			return why, true
		}
	}
	return "", false
}

func where(c cell) string {
	return fmt.Sprintf("%s on %s by %s, %s", c.Scenario, c.Lab, c.Path, c.Client)
}

// TestParityKnowsEveryLab: a lab is played on by a scenario, and so compared, unless an
// engine says that it cannot run it.
func TestParityKnowsEveryLab(t *testing.T) {
	list, err := scenarios.Builtin(suite.Known(registry()))
	if err != nil {
		t.Fatal(err)
	}
	played := make(map[string]bool)
	for _, s := range list {
		for _, e := range s.Labs {
			played[e.Lab] = true
		}
	}
	for _, name := range labs.Names() {
		if played[name] {
			continue
		}
		l, _, err := lab.Read(name, registry())
		if err != nil {
			t.Fatal(err)
		}
		var refused error
		for _, k := range engines() {
			e, err := k.open(&settings{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			refused = errors.Join(refused, l.Refused(e.Name(), e.Refuse), e.Close())
		}
		if refused == nil {
			t.Errorf("no scenario plays on lab %s, and every engine can run it", name)
			continue
		}
		t.Logf("lab %s is not compared: %v", name, refused)
	}
}

// TestParity plays every built-in scenario with every strategy on every lab that it is for on
// both engines, holds each cell to what is expected or pinned, and compares verdict, cause and
// connections cell by cell. What does not come out is played again, one play after another,
// and counts if it is the same cell each time, the last time in plays whose timing can be trusted: a
// machine that was late is no difference.
func TestParity(t *testing.T) {
	needDocker(t)
	needTime(t, 20*time.Minute)
	rig := newNetnsRig(t) // skips where there is none
	onDocker := func(args ...string) (string, string, int) {
		return wslab(t, append([]string{"--engine", "docker"}, args...)...)
	}
	play := func(run func(args ...string) (stdout, stderr string, code int), args ...string) (d document) {
		t.Helper()
		stdout, stderr, _ := run(append([]string{"run", "--speed", "10", "--strategies", everyStrategy, "--format", "json"}, args...)...)
		if err := json.Unmarshal([]byte(stdout), &d); err != nil {
			t.Fatalf("%s: %v\n%s%s", args, err, stdout, stderr)
		}
		return d
	}
	all := scenarios.Names()
	docker, netns := play(onDocker, all...), play(rig.run, all...)
	open := compare(t, docker, netns)
	for round := 2; len(open) > 0 && round <= rounds; round++ {
		var names []string
		for _, p := range open {
			t.Logf("played once more: %s", p.text)
			if !slices.Contains(names, p.scenario) {
				names = append(names, p.scenario)
			}
		}
		args := append([]string{"--parallel", "1"}, names...)
		now := compare(t, play(onDocker, args...), play(rig.run, args...))
		open = slices.DeleteFunc(now, func(p problem) bool {
			return !slices.ContainsFunc(open, func(before problem) bool { return before.cell == p.cell })
		})
	}
	for _, p := range open {
		if p.late {
			t.Logf("%d times in a row, the last time on a machine that was late: %s", rounds, p.text)
			continue
		}
		t.Errorf("%d times in a row: %s", rounds, p.text)
	}
}

// rounds is how often a cell that does not come out is played: one that keeps doing so is a
// defect, or a difference that has to be listed.
const rounds = 3

// problem is a cell of a scenario that did not come out, or differs.
type problem struct {
	scenario, cell, text string
	// late: the timing of a play that it was found in cannot be trusted.
	late bool
}

// compare returns what is not as expected, and what differs.
func compare(t *testing.T, docker, netns document) (problems []problem) {
	t.Helper()
	for _, doc := range []document{docker, netns} {
		for _, c := range doc.Cells {
			if !c.Passed {
				problems = append(problems, problem{c.Scenario, where(c), fmt.Sprintf("%s: %s: %s, expected %s: %s", doc.Engine, where(c), c.Verdict, c.Expected, c.Cause), !doc.trusted(c)})
			}
		}
	}
	if len(netns.Cells) != len(docker.Cells) || len(docker.Cells) == 0 {
		t.Fatalf("%d cells on netns, %d on Docker", len(netns.Cells), len(docker.Cells))
	}
	for i, d := range docker.Cells {
		n := netns.Cells[i]
		if where(d) != where(n) {
			t.Fatalf("docker: %s\nnetns: %s", where(d), where(n))
		}
		if strings.Contains(d.Expected, " or ") {
			continue // its scenario says so, and why
		}
		_, may := known(d)
		if d.Verdict != n.Verdict || !may && (d.Connections != n.Connections || gist(d.Cause) != gist(n.Cause)) {
			problems = append(problems, problem{d.Scenario, where(d), fmt.Sprintf("%s:\n docker: %s, %d connections: %s\n netns:  %s, %d connections: %s",
				where(d), d.Verdict, d.Connections, d.Cause, n.Verdict, n.Connections, n.Cause), !docker.trusted(d) || !netns.trusted(n)})
		}
	}
	return problems
}

// numbers are what differs from run to run in a cause.
var numbers = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

// gist is a cause without its numbers, and without how many messages were lost.
func gist(cause string) string {
	cause = numbers.ReplaceAllString(cause, "N")
	cause = strings.ReplaceAll(cause, "and no message was lost", "LOST")
	cause = regexp.MustCompile(`with N of N messages? lost`).ReplaceAllString(cause, "LOST")
	cause = strings.NewReplacer("N ms", "N", "N s", "N", "saw it at once", "saw it N later").Replace(cause)
	// What goes out first after an address change is a matter of milliseconds: an
	// acknowledgement that the client's kernel has delayed, or the client's next message.
	return strings.ReplaceAll(cause, "wrote at N and was answered with a RST N later: the NAT made a new mapping", "saw it N later: the NAT made a new mapping")
}
