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
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// netnsRig runs wslab on the netns engine with a state directory of its own.
type netnsRig struct {
	t   *testing.T
	dir string
	// uid runs the command as another user; 0 is as the test.
	uid uint32
}

func newNetnsRig(t *testing.T) *netnsRig {
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

func TestNetnsUpAndDownLeavesNothing(t *testing.T) {
	r := newNetnsRig(t)
	for range 20 {
		r.must("up", "home")
		r.must("down")
	}
	r.awaitNone()
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
	var supervisor int
	for _, p := range r.processes() {
		if strings.Contains(p, "netns-supervisor") {
			if _, err := fmt.Sscan(p, &supervisor); err != nil {
				t.Fatal(err)
			}
		}
	}
	if supervisor == 0 {
		t.Fatalf("no supervisor among %q", r.processes())
	}
	if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.awaitNone()
	if stdout, stderr, code := r.run("ps"); code != 0 || strings.Contains(stdout, "corporate") {
		t.Errorf("ps: %d %s%s", code, stdout, stderr)
	}
	if _, stderr, code := r.run("exec", "alice", "--", "true"); code != exitUsage || !strings.Contains(stderr, "no lab is running") {
		t.Errorf("exec: %d %s", code, stderr)
	}
	if files := r.files(); len(files) > 0 {
		t.Errorf("files left: %q", files)
	}
	r.must("up", "corporate")
}

// TestNetnsInterruptedRunLeavesNothing sends Ctrl-C in the middle of a play, and
// kills a run: the first cleans up, of the second the next command says what is left.
func TestNetnsInterruptedRunLeavesNothing(t *testing.T) {
	r := newNetnsRig(t)
	half := func() *exec.Cmd {
		t.Helper()
		cmd := r.command("run", "nat-idle", "--speed", "10")
		progress, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(progress); lines.Scan(); {
			if strings.Contains(lines.Text(), "step 2 of 3") {
				go func() { _, _ = io.Copy(io.Discard, progress) }()
				return cmd
			}
		}
		t.Fatal("the run ended before its second step")
		return nil
	}
	interrupted := half()
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

	killed := half()
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	if out := r.must("ps"); !strings.Contains(out, "home") {
		t.Errorf("ps does not show the lab of the killed run:\n%s", out)
	}
	if out := r.must("run", "reset", "--lab", "home"); !strings.Contains(out, "as expected") {
		t.Errorf("the lab of the killed run does not work any more:\n%s", out)
	}
	r.must("down", "--all")
	r.awaitNone()
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
	if stdout, stderr, code := r.run("run", "reset", "--lab", "home"); code == 0 || !strings.Contains(stdout+stderr, "server") {
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
	const nobody = 65534
	r := &netnsRig{t: t, uid: nobody, dir: filepath.Join(os.TempDir(), fmt.Sprintf("wslab-nobody-%d", os.Getpid()))}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(r.dir) })
	if err := os.Chown(r.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = r.run("down", "--all") })
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

// numbers are what differs from run to run in a cause.
var numbers = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

// TestParity plays every built-in scenario on both engines and compares verdict,
// cause and connections cell by cell.
func TestParity(t *testing.T) {
	needDocker(t)
	r := newNetnsRig(t)
	play := func(stdout, stderr string, _ int) document {
		t.Helper()
		var doc document
		if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		for _, c := range doc.Cells {
			if !c.Passed {
				t.Errorf("%s: %s on %s by %s, %s: %s, expected %s: %s", doc.Engine, c.Scenario, c.Lab, c.Path, c.Client, c.Verdict, c.Expected, c.Cause)
			}
		}
		return doc
	}
	onNetns := play(r.run("run", "--speed", "5", "--format", "json"))
	onDocker := play(wslab(t, "run", "--engine", "docker", "--speed", "5", "--format", "json"))
	if len(onNetns.Cells) != len(onDocker.Cells) || len(onDocker.Cells) < 40 {
		t.Fatalf("%d cells on netns, %d on Docker", len(onNetns.Cells), len(onDocker.Cells))
	}
	for i, d := range onDocker.Cells {
		n := onNetns.Cells[i]
		if d.Client == "twitchy" {
			continue // how often its alarm is false depends on the moment
		}
		if d.Verdict != n.Verdict || d.Connections != n.Connections || gist(d.Cause) != gist(n.Cause) {
			t.Errorf("%s on %s by %s, %s:\n docker: %s, %d connections: %s\n netns:  %s, %d connections: %s",
				d.Scenario, d.Lab, d.Path, d.Client, d.Verdict, d.Connections, d.Cause, n.Verdict, n.Connections, n.Cause)
		}
	}
}

// gist is a cause without its numbers, and without how many messages were lost.
func gist(cause string) string {
	cause = numbers.ReplaceAllString(cause, "N")
	cause = strings.ReplaceAll(cause, "and no message was lost", "LOST")
	cause = regexp.MustCompile(`with N of N messages? lost`).ReplaceAllString(cause, "LOST")
	return strings.NewReplacer("N ms", "N", "N s", "N", "saw it at once", "saw it N later").Replace(cause)
}
