package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// netnsRig runs wslab on the netns engine with a state directory of its own.
type netnsRig struct {
	t   testing.TB
	dir string
	// uid runs the command as another user; 0 is as the test.
	uid uint32
}

func newNetnsRig(t testing.TB) *netnsRig {
	t.Helper()
	r := &netnsRig{t: t, dir: t.TempDir()}
	if _, stderr, code := r.run("doctor"); code != 0 {
		if os.Getenv("WSLAB_REQUIRE_NETNS") != "" {
			t.Fatalf("network namespaces are required here: %s", stderr)
		}
		t.Skipf("no network namespaces: %s", stderr)
	}
	t.Cleanup(func() { _, _, _ = r.run("down", "--all") })
	return r
}

func (r *netnsRig) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, append([]string{"--engine", "netns"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+r.dir, "HOME="+r.dir)
	cmd.Dir = r.dir
	if r.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: r.uid, Gid: r.uid}}
	}
	return cmd
}

func (r *netnsRig) run(args ...string) (stdout, stderr string, code int) {
	r.t.Helper()
	var out, errs bytes.Buffer
	cmd := r.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (r *netnsRig) must(args ...string) string {
	r.t.Helper()
	stdout, stderr, code := r.run(args...)
	if code != 0 {
		r.t.Fatalf("wslab %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// processes lists what runs with the state directory of this rig: supervisors,
// nodes and programs inherit nothing else that tells them apart.
func (r *netnsRig) processes() []string {
	var found []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, d := range dirs {
		exe, err := os.Readlink(filepath.Join(d, "exe"))
		if err != nil || exe != binary {
			continue
		}
		args, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err != nil {
			continue
		}
		found = append(found, filepath.Base(d)+" "+strings.ReplaceAll(string(args), "\x00", " "))
	}
	return found
}

// awaitNone waits until no process is left: a killed PID namespace takes a moment.
func (r *netnsRig) awaitNone() {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(r.processes()) > 0 {
		if time.Now().After(deadline) {
			r.t.Fatalf("left behind: %q", r.processes())
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
}

// kill kills the process with that verb, as kill -9 does.
func (r *netnsRig) kill(verb string) {
	r.t.Helper()
	for _, p := range r.processes() {
		var pid int
		if !strings.Contains(p, verb) {
			continue
		}
		if _, err := fmt.Sscan(p, &pid); err != nil {
			r.t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			r.t.Fatal(err)
		}
		r.awaitNone()
		return
	}
	r.t.Fatalf("no %s among %q", verb, r.processes())
}

func (r *netnsRig) files() []string {
	entries, err := os.ReadDir(filepath.Join(r.dir, "wslab"))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestNetnsUpAndDownLeavesNothing does so twenty times, or as often as WSLAB_CYCLES
// says: the engine's own test does it two hundred times without the command.
func TestNetnsUpAndDownLeavesNothing(t *testing.T) {
	r := newNetnsRig(t)
	cycles := 20
	if text := os.Getenv("WSLAB_CYCLES"); text != "" {
		var err error
		if cycles, err = strconv.Atoi(text); err != nil {
			t.Fatalf("WSLAB_CYCLES: %v", err)
		}
	}
	for range cycles {
		r.must("up", "home")
		r.must("down")
		if left := r.processes(); len(left) > 0 {
			t.Fatalf("left behind: %q", left)
		}
	}
	if files := r.files(); len(files) > 0 {
		t.Errorf("files left: %q", files)
	}
}

// TestNetnsSideBySide has two instances with the same addresses.
func TestNetnsSideBySide(t *testing.T) {
	r := newNetnsRig(t)
	r.must("up", "home", "--name", "one", "--speed", "10")
	r.must("up", "home", "--name", "two", "--speed", "10")
	for _, name := range []string{"one", "two"} {
		if out := r.must("run", "reset", "--lab", name); !strings.Contains(out, "recovered") {
			t.Errorf("%s:\n%s", name, out)
		}
	}
	if _, stderr, code := r.run("logs"); code != exitUsage || !strings.Contains(stderr, "several labs are running, name one of them: one, two") {
		t.Errorf("logs of which lab: exit code %d\n%s", code, stderr)
	}
	r.must("down", "--all")
	r.awaitNone()
}

// TestNetnsKilledSupervisorTakesEverythingAlong kills the supervisor, and a run half way.
func TestNetnsKilledSupervisorTakesEverythingAlong(t *testing.T) {
	r := newNetnsRig(t)
	r.must("up", "corporate")
	r.kill("netns-supervisor")
	r.awaitNone()
	const ended = "lab corporate has ended: its supervisor was killed"
	if stdout, stderr, code := r.run("ps"); code != 0 || strings.Contains(stdout, "corporate") || strings.Count(stderr, ended) != 1 {
		t.Errorf("ps: %d %s%s", code, stdout, stderr)
	}
	if _, stderr, _ := r.run("ps"); strings.Contains(stderr, ended) {
		t.Errorf("it is told twice: %s", stderr)
	}
	if _, stderr, code := r.run("exec", "alice", "--", "true"); code != exitUsage || !strings.Contains(stderr, "no lab is running") {
		t.Errorf("exec: %d %s", code, stderr)
	}
	if files := r.files(); len(files) > 0 {
		t.Errorf("files left: %q", files)
	}
	r.must("up", "corporate")
	// Of others the next command says the same, and does what it is asked to.
	for _, next := range [][]string{{"up", "corporate"}, {"down", "corporate"}, {"run", "reset", "--lab", "corporate"}} {
		r.kill("netns-supervisor")
		if _, stderr, _ := r.run(next...); strings.Count(stderr, ended) != 1 {
			t.Errorf("%s: %s", next, stderr)
		}
		r.must("up", "corporate")
	}
}

// TestNetnsInterruptedRunLeavesNothing sends Ctrl-C in the middle of a matrix with several
// labs, and kills one: the first cleans up and reports what was finished, the labs of the second
// end with it, and the next command says so.
func TestNetnsInterruptedRunLeavesNothing(t *testing.T) {
	r := newNetnsRig(t)
	half := func(stdout io.Writer) *exec.Cmd {
		t.Helper()
		cmd := r.command("run", "reset", "nat-idle", "--speed", "10", "--parallel", "3", "--format", "json", "--report", "json=run.json")
		cmd.Stdout = stdout
		progress, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(progress); lines.Scan(); {
			if strings.Contains(lines.Text(), ": played (1 of 6") {
				go func() { _, _ = io.Copy(io.Discard, progress) }()
				return cmd
			}
		}
		t.Fatal("the run ended before one play had")
		return nil
	}
	var stdout bytes.Buffer
	interrupted := half(&stdout)
	if err := interrupted.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = interrupted.Wait()
	if code := interrupted.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	r.awaitNone()
	if files := r.files(); len(files) > 0 {
		t.Errorf("files left: %q", files)
	}
	// reported holds a report to what there was: some plays that were finished, and the rest of the six.
	reported := func(text []byte, why string) {
		t.Helper()
		var doc struct {
			Plays      []any
			Unfinished []struct{ Why string }
		}
		if err := json.Unmarshal(text, &doc); err != nil || len(doc.Plays) == 0 || len(doc.Unfinished) == 0 || len(doc.Plays)+len(doc.Unfinished) != 6 {
			t.Fatalf("%v: %d plays, %+v", err, len(doc.Plays), doc.Unfinished)
		}
		for _, u := range doc.Unfinished {
			if !strings.Contains(u.Why, why) {
				t.Errorf("unfinished because of %q, not %q", u.Why, why)
			}
		}
	}
	file := filepath.Join(r.dir, "run.json")
	written := func() []byte {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	reported(stdout.Bytes(), "interrupted")
	reported(written(), "interrupted")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}

	killed := half(nil)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	r.awaitNone()
	reported(written(), "the run goes on, or was killed")
	out, stderr, code := r.run("ps")
	if code != 0 || out != "" || !strings.Contains(stderr, "has ended: the command that had brought it up ended without taking it down") {
		t.Errorf("ps: %d\n%s%s", code, out, stderr)
	}
	if files := r.files(); len(files) > 0 {
		t.Errorf("files left: %q", files)
	}
}

// TestNetnsKilledWhileLabsComeUp kills a run at moments at which its labs are being made.
func TestNetnsKilledWhileLabsComeUp(t *testing.T) {
	r := newNetnsRig(t)
	for _, seen := range []string{"netns-supervisor", "node"} {
		cmd := r.command("run", "reset", "nat-idle", "--speed", "10")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(20 * time.Second)
		for !slices.ContainsFunc(r.processes(), func(p string) bool { return strings.Contains(p, " "+binary+" "+seen) }) {
			if time.Now().After(deadline) {
				t.Fatalf("no %s comes up", seen)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		r.awaitNone()
	}
	_ = r.must("ps")
	if files := r.files(); len(files) > 0 {
		t.Errorf("files left: %q", files)
	}
}

// TestNetnsRunsDoNotMeet: what another run plays on is its own, and nothing to play on.
func TestNetnsRunsDoNotMeet(t *testing.T) {
	r := newNetnsRig(t)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			var doc document
			stdout, stderr, _ := r.run("run", "reset", "--speed", "10", "--format", "json")
			if err := json.Unmarshal([]byte(stdout), &doc); err != nil || len(doc.Cells) != 14 {
				t.Errorf("%v, %d cells\n%s%s", err, len(doc.Cells), stdout, stderr)
			}
		})
	}
	both.Wait()
	r.awaitNone()
}

// TestNetnsKilledUpLeavesNothing kills an up that is making a lab: the next command says so.
func TestNetnsKilledUpLeavesNothing(t *testing.T) {
	r := newNetnsRig(t)
	cmd := r.command("up", "corporate")
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !bufio.NewScanner(progress).Scan() { // it is creating the networks now
		t.Error("it said nothing")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	r.awaitNone()
	_, stderr, code := r.run("down", "corporate")
	if !strings.Contains(stderr, "lab corporate has ended: the command that had brought it up ended without taking it down") {
		t.Errorf("down: %d\n%s", code, stderr)
	}
	if files := r.files(); len(files) > 0 {
		t.Errorf("files left: %q", files)
	}
}

func TestNetnsCrashedNodeIsNamed(t *testing.T) {
	r := newNetnsRig(t)
	r.must("up", "home")
	type node struct {
		Node, State string
		PID         int `json:"pid"`
	}
	nodes := func() map[string]node {
		var labs []struct {
			Nodes []node `json:"node_status"`
		}
		if err := json.Unmarshal([]byte(r.must("ps", "--format", "json")), &labs); err != nil {
			t.Fatal(err)
		}
		all := make(map[string]node)
		for _, n := range labs[0].Nodes {
			all[n.Node] = n
		}
		return all
	}
	pid := nodes()["server"].PID
	if pid <= 1 {
		t.Fatalf("%+v", nodes())
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for nodes()["server"].State != "exited" {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", nodes())
		}
	}
	if stdout, stderr, code := r.run("run", "reset", "--lab", "home"); code == 0 || !strings.Contains(stderr, "node server: it does not run (ended by signal 9, killed); wslab up starts it again") {
		t.Errorf("run: %d %s%s", code, stdout, stderr)
	}
	r.must("up", "home")
	if got := nodes()["server"].State; got != "running" {
		t.Errorf("up has not mended it: %s", got)
	}
}

// TestNetnsExec runs programs of the host inside a node.
func TestNetnsExec(t *testing.T) {
	r := newNetnsRig(t)
	r.must("up", "home")
	if out := r.must("exec", "alice", "--", "cat", "/etc/hosts"); !strings.Contains(out, "203.0.113.3\tserver") {
		t.Errorf("hosts: %s", out)
	}
	if _, err := exec.LookPath("curl"); err == nil {
		if out := r.must("exec", "alice", "--", "curl", "-sS", "https://server/healthz"); out != "ok\n" {
			t.Errorf("curl: %q", out)
		}
	}
	if _, stderr, code := r.run("exec", "alice", "--", "sh", "-c", "echo out; echo err >&2; exit 7"); code != 7 || !strings.Contains(stderr, "err") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if _, stderr, code := r.run("exec", "alice", "--", "no-such-program"); code == 0 || !strings.Contains(stderr, "no-such-program") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if _, stderr, code := r.run("exec", "bob", "--", "true"); code != exitUsage || !strings.Contains(stderr, `no node "bob"`) {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// TestSpeedBeyondTheKernelsClockIsRefused before anything is brought up.
func TestSpeedBeyondTheKernelsClockIsRefused(t *testing.T) {
	r := newNetnsRig(t)
	_, stderr, code := r.run("run", "nat-idle", "--speed", "20")
	if code != exitUsage || !strings.Contains(stderr, "tcp-keepalive.keepalive.tcp.idle under one second") || !strings.Contains(stderr, "the largest speed that works here is 15") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if stdout, _, _ := r.run("ps"); stdout != "" {
		t.Errorf("brought up: %s", stdout)
	}
}

// TestNetnsAsOrdinaryUser needs no privilege at all.
func TestNetnsAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests run as an ordinary user already")
	}
	newNetnsRig(t)
	r := nobodyRig(t)
	r.must("up", "corporate", "--speed", "10")
	if out := r.must("run", "--lab", "corporate", "reset", "server-restart"); !strings.Contains(out, "recovered") {
		t.Errorf("%s", out)
	}
	if out := r.must("exec", "alice", "--", "cat", "/etc/hosts"); !strings.Contains(out, "http-proxy") {
		t.Errorf("hosts: %s", out)
	}
	r.must("down")
	r.awaitNone()
}
