package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// cases is what an engine has to do. A new promise of [engine.Engine] is added here.
var cases = []struct {
	name string
	run  func(*testing.T, *Rig)
}{
	{"up", testUp},
	{"up-again", testUpAgain},
	{"changes", testChanges},
	{"changed-network", testChangedNetwork},
	{"ended-node", testEndedNode},
	{"failed-up", testFailedUp},
	{"interrupted-up", testInterruptedUp},
	{"interrupted-change", testInterruptedChange},
	{"two-at-once", testTwoAtOnce},
	{"attach", testAttach},
	{"logs", testLogs},
	{"exec", testExec},
	{"pause", testPause},
	{"two-instances", testTwoInstances},
	{"no-lab", testNoLab},
	{"no-node", testNoNode},
}

// Run checks that the engine keeps the promises of [engine.Engine] and [engine.Lab].
func Run(t *testing.T, r *Rig) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, r) })
	}
}

func sameChanges(t *testing.T, got, want engine.Changes) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("changes: %s", diff)
	}
}

// testUp: all of the plan is there, and goes.
func testUp(t *testing.T, r *Rig) {
	p := r.plan(t, "up")
	before := time.Now().Add(-time.Minute)
	sameChanges(t, r.up(t, p), engine.Changes{Created: []string{"network left", "network right", "alice", "both", "bob"}})
	l := r.open(t, p.Lab)
	if diff := cmp.Diff(p, l.Plan(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("plan read back: %s", diff)
	}
	nodes, err := l.Nodes(t.Context())
	if err != nil || len(nodes) != len(p.Nodes) {
		t.Fatalf("%+v, %v", nodes, err)
	}
	for i, n := range nodes {
		want := engine.NodeStatus{Node: p.Nodes[i].Name, Kind: "server", State: engine.Running, Addrs: engine.Addrs(&p.Nodes[i])}
		if diff := cmp.Diff(want, n, cmpopts.IgnoreFields(n, "PID")); diff != "" {
			t.Error(diff)
		}
		if n.PID == 0 {
			t.Errorf("no process ID: %+v", n)
		}
	}
	labs, err := r.Engine.Labs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	for _, s := range labs {
		if s.Name != p.Lab {
			continue
		}
		listed++
		want := engine.LabStatus{Name: p.Lab, Source: "test", File: "test.yaml", Engine: r.Engine.Name(), Nodes: 3, Running: 3, Speed: 2}
		if diff := cmp.Diff(want, s, cmpopts.IgnoreFields(s, "Created")); diff != "" {
			t.Error(diff)
		}
		if s.Created.Before(before) || s.Created.After(time.Now().Add(time.Minute)) {
			t.Errorf("created at %s", s.Created)
		}
	}
	if listed != 1 {
		t.Errorf("listed %d times", listed)
	}
	r.mustAnswer(t, p.Lab, "alice", "both", "bob")
	if err := r.Engine.Down(t.Context(), p.Lab, nil); err != nil {
		t.Fatal(err)
	}
	r.gone(t, p.Lab)
	if err := r.Engine.Down(t.Context(), p.Lab, nil); !errors.Is(err, engine.ErrNoLab) {
		t.Errorf("second down: %v", err)
	}
}

// testUpAgain: what is as planned stays as it is.
func testUpAgain(t *testing.T, r *Rig) {
	p := r.plan(t, "again")
	r.up(t, p)
	before := r.nodes(t, p.Lab)
	sameChanges(t, r.up(t, p), engine.Changes{})
	if diff := cmp.Diff(before, r.nodes(t, p.Lab)); diff != "" {
		t.Error(diff)
	}
}

// testChanges: what differs is replaced, what is new created, what is too much
// removed, and all else stays.
func testChanges(t *testing.T, r *Rig) {
	p := r.plan(t, "changes")
	for i := range p.Nodes {
		p.Nodes[i].Hosts = nil // they stay the same when others come and go
	}
	r.up(t, p)
	before := r.nodes(t, p.Lab)
	changed := with(p, func(p *topology.Plan) {
		otherPort(&p.Nodes[0])
		carol := server(p, "carol")
		carol.Interfaces = []topology.Interface{{Network: "right", Addr: host(p.Networks[1].Prefix, 77)}}
		p.Nodes = append(p.Nodes[:2], carol)
	})
	sameChanges(t, r.up(t, changed), engine.Changes{
		Created: []string{"carol"}, Replaced: []string{"alice"}, Removed: []string{"bob"},
	})
	after := r.nodes(t, p.Lab)
	if len(after) != 3 || after["both"].PID != before["both"].PID || after["alice"].PID == before["alice"].PID {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	r.mustAnswer(t, p.Lab, "alice", "both", "carol")
	if diff := cmp.Diff(changed.Nodes[0].Settings, r.open(t, p.Lab).Plan().Nodes[0].Settings); diff != "" {
		t.Error(diff)
	}
}

// testChangedNetwork: a network that differs takes the nodes on it along.
func testChangedNetwork(t *testing.T, r *Rig) {
	p := r.plan(t, "network")
	r.up(t, p)
	before := r.nodes(t, p.Lab)
	changed := with(p, func(p *topology.Plan) { p.Networks[1].Reserved = host(p.Networks[1].Prefix, 253).Addr() })
	sameChanges(t, r.up(t, changed), engine.Changes{Replaced: []string{"network right", "both", "bob"}})
	if after := r.nodes(t, p.Lab); after["alice"].PID != before["alice"].PID || after["both"].PID == before["both"].PID {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	r.mustAnswer(t, p.Lab, "alice", "both", "bob")
}

// testEndedNode: a node that was killed is told of, and brought back by up.
func testEndedNode(t *testing.T, r *Rig) {
	p := r.plan(t, "ended")
	r.up(t, p)
	if err := syscall.Kill(r.nodes(t, p.Lab)["bob"].PID, syscall.SIGKILL); err != nil {
		t.Skipf("the node's process is not ours to kill: %v", err)
	}
	deadline := time.Now().Add(Patience)
	for r.nodes(t, p.Lab)["bob"].State != engine.Exited {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", r.nodes(t, p.Lab))
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
	if bob := r.nodes(t, p.Lab)["bob"]; bob.ExitCode != 137 || !strings.Contains(bob.Detail, "ended by signal 9, killed") || bob.PID != 0 {
		t.Errorf("%+v", bob)
	}
	l := r.open(t, p.Lab)
	if _, err := l.Attach(t.Context(), "bob"); err == nil {
		t.Error("a node that has ended can be attached to")
	}
	if err := l.Pause(t.Context(), "bob"); err == nil {
		t.Error("a node that has ended can be paused")
	}
	sameChanges(t, r.up(t, p), engine.Changes{Replaced: []string{"bob"}})
	r.mustAnswer(t, p.Lab, "bob")
}

// testFailedUp: a node that ends is named with its last words, and nothing is left.
func testFailedUp(t *testing.T, r *Rig) {
	p := with(r.plan(t, "failed"), func(p *topology.Plan) { p.Nodes[1].Kind = "nonsense" })
	_, err := r.Engine.Up(t.Context(), p, t.Logf)
	if err == nil || !strings.Contains(err.Error(), "node both: ") || !strings.Contains(err.Error(), "ended before it was ready (exit code 1)") ||
		!strings.Contains(err.Error(), `no kind "nonsense"`) {
		t.Errorf("%T %v", err, err)
	}
	r.gone(t, p.Lab)
}

// testInterruptedUp leaves nothing.
func testInterruptedUp(t *testing.T, r *Rig) {
	p := r.plan(t, "interrupted")
	ctx, progress := interrupt(t)
	if _, err := r.Engine.Up(ctx, p, progress); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	r.gone(t, p.Lab)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Engine.Up(ctx, p, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted before it began: %v", err)
	}
	r.gone(t, p.Lab)
}

// testInterruptedChange leaves nothing of what it made, and the rest as it was.
func testInterruptedChange(t *testing.T, r *Rig) {
	p := r.plan(t, "change")
	r.up(t, p)
	before := r.nodes(t, p.Lab)
	more := with(p, func(p *topology.Plan) {
		carol := server(p, "carol")
		carol.Interfaces = []topology.Interface{{Network: "right", Addr: host(p.Networks[1].Prefix, 77)}}
		p.Nodes = append(p.Nodes, carol)
	})
	ctx, progress := interrupt(t)
	if _, err := r.Engine.Up(ctx, more, progress); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	after := r.nodes(t, p.Lab)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	r.mustAnswer(t, p.Lab, "alice", "both", "bob")
	sameChanges(t, r.up(t, more), engine.Changes{Created: []string{"carol"}})
}

// testTwoAtOnce: of two that change one lab at the same time one may be told to wait.
func testTwoAtOnce(t *testing.T, r *Rig) {
	p := r.plan(t, "busy")
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		both.Go(func() { _, errs[i] = r.Engine.Up(t.Context(), p, nil) })
	}
	both.Wait()
	done := 0
	for _, err := range errs {
		var busy *engine.BusyError
		switch {
		case err == nil:
			done++
		case !errors.As(err, &busy) || busy.Lab != p.Lab:
			t.Errorf("neither up nor busy: %v", err)
		}
	}
	if done == 0 {
		t.Error("neither came up")
	}
	r.mustAnswer(t, p.Lab, "alice", "both", "bob")
}

// testAttach: several attachments see the same output, and end with the node.
func testAttach(t *testing.T, r *Rig) {
	p := r.plan(t, "attach")
	r.up(t, p)
	l := r.open(t, p.Lab)
	listener, err := l.Attach(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan []byte, 1)
	go func() {
		line := make([]byte, 64<<10)
		n, _ := listener.Read(line)
		heard <- line[:n]
	}()
	if err := r.answers(t, l, "alice"); err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-heard:
		if !bytes.Contains(line, []byte("server")) {
			t.Errorf("the other attachment heard %q", line)
		}
	case <-time.After(Patience):
		t.Error("the other attachment heard nothing")
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, listener)
		ended <- err
	}()
	if err := r.Engine.Down(t.Context(), p.Lab, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case _ = <-ended:
	case <-time.After(Patience):
		t.Error("the attachment does not end with the lab")
	}
	_ = listener.Close() // it has ended
}

// testLogs: all that was written, and then what is written, until the reader has enough.
func testLogs(t *testing.T, r *Rig) {
	p := r.plan(t, "logs")
	r.up(t, p)
	l := r.open(t, p.Lab)
	once, err := l.Logs(t.Context(), "alice", false)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(once)
	_ = once.Close()
	if err != nil || !bytes.Contains(raw, []byte("node.ready")) {
		t.Errorf("%q, %v", raw, err)
	}
	for line := range bytes.Lines(raw) {
		if !json.Valid(line) {
			t.Errorf("not a whole line: %q", line)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	following, err := l.Logs(ctx, "alice", true)
	if err != nil {
		t.Fatal(err)
	}
	more := make(chan []byte)
	go func() {
		defer close(more)
		for {
			chunk := make([]byte, 4096)
			n, err := following.Read(chunk)
			if n > 0 {
				more <- chunk[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	await := func(what string, enough func([]byte) bool) {
		t.Helper()
		var all []byte
		deadline := time.After(Patience)
		for !enough(all) {
			select {
			case chunk, ok := <-more:
				if !ok {
					t.Fatalf("the log ended before %s: %q", what, all)
				}
				all = append(all, chunk...)
			case <-deadline:
				t.Fatalf("no %s: %q", what, all)
			}
		}
	}
	await("what was there", func(b []byte) bool { return bytes.Contains(b, []byte("node.ready")) })
	if err := r.answers(t, l, "alice"); err != nil {
		t.Fatal(err)
	}
	await("what came later", func(b []byte) bool { return bytes.HasSuffix(b, []byte("\n")) })
	cancel()
	deadline := time.After(Patience)
	for open := true; open; {
		select {
		case _, open = <-more:
		case <-deadline:
			t.Fatal("the log goes on")
		}
	}
	_ = following.Close() // it has ended
}

// testExec: a program sees the node's network, names and exit code.
func testExec(t *testing.T, r *Rig) {
	p := r.plan(t, "exec")
	r.up(t, p)
	l := r.open(t, p.Lab)
	run := func(script string) (string, string, int) {
		t.Helper()
		var out, errs bytes.Buffer
		code, err := l.Exec(t.Context(), "alice", engine.Command{
			Args: []string{"sh", "-c", script}, Env: []string{"GIVEN=yes"},
			Stdin: strings.NewReader("input\n"), Stdout: &out, Stderr: &errs,
		})
		var unfit *engine.UnfitError
		if errors.As(err, &unfit) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out.String(), errs.String(), code
	}
	out, errs, code := run(`cat; cat /etc/hosts; echo "$GIVEN $WSLAB_LAB $WSLAB_NODE"; echo err >&2; exit 7`)
	if code != 7 || errs != "err\n" {
		t.Errorf("exit code %d, %q", code, errs)
	}
	for _, want := range []string{
		"input\n", "yes " + p.Lab + " alice\n",
		p.Nodes[0].Interfaces[0].Addr.Addr().String() + "\talice\n", p.Nodes[2].Interfaces[0].Addr.Addr().String() + "\tbob\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	if _, _, code := run("kill -TERM $$"); code != 143 {
		t.Errorf("ended by a signal: exit code %d", code)
	}
	if _, err := l.Exec(t.Context(), "alice", engine.Command{Args: []string{"no-such-program"}}); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("a program that is not there: %v", err)
	}
}

// testPause: a paused node answers when it goes on, and up lets it go on.
func testPause(t *testing.T, r *Rig) {
	p := r.plan(t, "pause")
	r.up(t, p)
	l := r.open(t, p.Lab)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	state := func(want engine.State) {
		t.Helper()
		if got := r.nodes(t, p.Lab)["alice"].State; got != want {
			t.Errorf("alice is %s, not %s", got, want)
		}
	}
	must(l.Pause(t.Context(), "alice"))
	state(engine.Paused)
	must(l.Pause(t.Context(), "alice"))
	state(engine.Paused)
	must(l.Resume(t.Context(), "alice"))
	state(engine.Running)
	must(l.Resume(t.Context(), "alice"))
	state(engine.Running)
	r.mustAnswer(t, p.Lab, "alice")
	must(l.Pause(t.Context(), "alice"))
	sameChanges(t, r.up(t, p), engine.Changes{})
	state(engine.Running)
	r.mustAnswer(t, p.Lab, "alice")
}

// testTwoInstances: one goes, the other stays.
func testTwoInstances(t *testing.T, r *Rig) {
	one, two := r.plan(t, "one"), r.plan(t, "two")
	r.up(t, one)
	r.up(t, two)
	r.mustAnswer(t, one.Lab, "alice", "bob")
	if err := r.Engine.Down(t.Context(), one.Lab, nil); err != nil {
		t.Fatal(err)
	}
	r.gone(t, one.Lab)
	r.mustAnswer(t, two.Lab, "alice", "both", "bob")
}

func testNoLab(t *testing.T, r *Rig) {
	lab := r.Lab + "-nobody"
	if _, err := r.Engine.Open(t.Context(), lab); !errors.Is(err, engine.ErrNoLab) {
		t.Errorf("open: %v", err)
	}
	if err := r.Engine.Down(t.Context(), lab, nil); !errors.Is(err, engine.ErrNoLab) {
		t.Errorf("down: %v", err)
	}
	r.gone(t, lab)
	p := r.plan(t, "gone")
	r.up(t, p)
	l := r.open(t, p.Lab)
	if err := r.Engine.Down(t.Context(), p.Lab, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Attach(t.Context(), "alice"); err == nil {
		t.Error("a node of a lab that has gone can be attached to")
	}
}

func testNoNode(t *testing.T, r *Rig) {
	p := r.plan(t, "node")
	r.up(t, p)
	l := r.open(t, p.Lab)
	_, attach := l.Attach(t.Context(), "carol")
	_, logs := l.Logs(t.Context(), "carol", false)
	for what, err := range map[string]error{
		"attach": attach, "logs": logs, "pause": l.Pause(t.Context(), "carol"), "resume": l.Resume(t.Context(), "carol"),
	} {
		if err == nil || !strings.Contains(err.Error(), "carol") || !strings.Contains(err.Error(), "no such node") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
