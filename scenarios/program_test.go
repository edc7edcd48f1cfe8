package scenarios

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// program adds what the runner records of a program: its start, and lines that it writes.
func (tp *tape) program(seconds float64, output ...string) {
	tp.at(seconds, trace.Event{Node: runnerName, Type: trace.ProgramStarted, Session: sessionID})
	for _, line := range output {
		tp.at(seconds+.1, trace.Event{Node: runnerName, Type: trace.ProgramOutput, Session: sessionID, Detail: line})
	}
}

func (tp *tape) ended(seconds float64, how string) {
	tp.at(seconds, trace.Event{Node: runnerName, Type: trace.ProgramEnded, Session: sessionID, Detail: how})
}

// accepted adds a connection n through the NAT, as the nodes record it.
func (tp *tape) accepted(seconds float64, n int) {
	tp.at(seconds-.01, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: aliceFlow(n), Next: outFlow(n)})
	tp.at(seconds, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: n, Flow: outFlow(n)})
}

// proxied adds a connection n through http-proxy and the NAT.
func (tp *tape) proxied(seconds float64, n int) {
	tp.at(seconds-.03, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: dmzFlow(n), Next: outFlow(n)})
	tp.at(seconds-.02, trace.Event{Node: "http-proxy", Type: trace.Relayed, Flow: proxyFlow(n), Next: dmzFlow(n)})
	tp.at(seconds, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: n, Flow: outFlow(n)})
}

// witness adds what the server records of connection n.
func (tp *tape) witness(seconds float64, n int, e trace.Event, dur ...float64) {
	e.Node, e.Session, e.Conn, e.Flow = "server", sessionID, n, outFlow(n)
	tp.at(seconds, e, dur...)
}

// pushed adds a push and its acknowledgement.
func (tp *tape) pushed(seconds float64, n int, seq int64) {
	tp.witness(seconds, n, trace.Event{Type: trace.ServerPushed, Seq: seq})
	tp.witness(seconds+.02, n, trace.Event{Type: trace.Answered, Seq: seq, Detail: "push-ack"}, .02)
}

func (tp *tape) ponged(seconds float64, n int, detail string) {
	tp.witness(seconds+.02, n, trace.Event{Type: trace.Answered, Detail: detail}, .02)
}

func (tp *tape) heard(seconds float64, n int, what string) {
	tp.witness(seconds, n, trace.Event{Type: trace.Heard, Detail: what})
}

// TestJudgeProgram judges programs, of which only the nodes have recorded anything.
func TestJudgeProgram(t *testing.T) {
	expired := func(tp *tape, at float64, flow *trace.Flow) {
		tp.at(at, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: flow, Next: outFlow(1)}, 30)
	}
	tests := []struct {
		name    string
		forward string
		end     float64
		tape    func(*tape)
	}{
		{name: "whole", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.accepted(-1, 1)
			tp.pushed(1, 1, 1)
			tp.pushed(2, 1, 2)
			tp.ponged(20, 1, probeAnswer)
		}},
		{name: "only connects", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.accepted(-1, 1)
			tp.witness(1, 1, trace.Event{Type: trace.ServerPushed, Seq: 1})
			tp.witness(1.02, 1, trace.Event{Type: trace.Answered, Seq: 1, Detail: "pong"}, .02)
			tp.ponged(1, 1, "pong")
			tp.ponged(2, 1, "pong")
			tp.ponged(20, 1, probeAnswer)
		}},
		{name: "kept alive by its pings", end: 60, tape: func(tp *tape) {
			tp.program(-2)
			tp.accepted(-1, 1)
			tp.pushed(5, 1, 1)
			tp.heard(25, 1, "ping")
			tp.heard(45, 1, "ping")
			tp.at(45, trace.Event{Node: "nat", Type: trace.MappingRefreshed, Flow: aliceFlow(1)}, 20)
			tp.pushed(55, 1, 2)
			tp.ponged(60, 1, probeAnswer)
		}},
		{name: "kept alive by something else", end: 60, tape: func(tp *tape) {
			tp.program(-2)
			tp.accepted(-1, 1)
			tp.pushed(5, 1, 1)
			tp.at(45, trace.Event{Node: "nat", Type: trace.MappingRefreshed, Flow: aliceFlow(1)}, 20)
			tp.pushed(55, 1, 2)
			tp.ponged(60, 1, probeAnswer)
		}},
		{name: "kept busy at a proxy", end: 100, tape: func(tp *tape) {
			tp.program(-2)
			tp.proxied(-1, 1)
			tp.pushed(5, 1, 1)
			tp.heard(45, 1, "heartbeat")
			tp.pushed(90, 1, 2)
			tp.ponged(100, 1, probeAnswer)
		}},
		{name: "black hole", end: 60, tape: func(tp *tape) {
			tp.program(-2)
			tp.accepted(-1, 1)
			tp.pushed(5, 1, 1)
			expired(tp, 35.1, aliceFlow(1))
			tp.at(50.1, trace.Event{Node: "nat", Type: trace.Blocked, Flow: aliceFlow(1), Detail: "no mapping: dropped"})
			tp.witness(50, 1, trace.Event{Type: trace.ServerPushed, Seq: 2})
		}},
		{name: "black hole, and the program ended", end: 60, tape: func(tp *tape) {
			tp.program(-2, "connected", "no pong")
			tp.accepted(-1, 1)
			tp.pushed(5, 1, 1)
			expired(tp, 35.1, aliceFlow(1))
			tp.witness(50, 1, trace.Event{Type: trace.ServerPushed, Seq: 2})
			tp.ended(55, "exit code 1")
		}},
		{name: "black hole, and a new connection", end: 60, tape: func(tp *tape) {
			tp.program(-2)
			tp.accepted(-1, 1)
			tp.pushed(5, 1, 1)
			expired(tp, 35.1, aliceFlow(1))
			tp.accepted(45, 2)
			tp.pushed(50, 2, 2)
			tp.ponged(60, 2, probeAnswer)
		}},
		{name: "behind a proxy the client let go", end: 60, tape: func(tp *tape) {
			tp.program(-2)
			tp.proxied(-1, 1)
			tp.pushed(5, 1, 1)
			expired(tp, 35.1, dmzFlow(1))
			tp.at(50.1, trace.Event{Node: "http-proxy", Type: trace.RelayClosed, Flow: proxyFlow(1), Next: dmzFlow(1), By: "client"})
			tp.witness(50, 1, trace.Event{Type: trace.ServerPushed, Seq: 2})
		}},
		{name: "messages of its own", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.accepted(-1, 1)
			tp.witness(1, 1, trace.Event{Type: trace.ServerReceived, Seq: 1})
			tp.witness(5, 1, trace.Event{Type: trace.ServerClosed, Code: 1006, By: "network"})
			tp.accepted(6, 2)
			tp.witness(7, 2, trace.Event{Type: trace.ServerReceived, Seq: 4})
			tp.witness(8, 2, trace.Event{Type: trace.ServerReceived, Seq: 4})
			tp.ponged(20, 2, probeAnswer)
		}},
		{name: "ended by itself", end: 20, tape: func(tp *tape) {
			tp.program(-2, "one", "two", "three", "that was it")
			tp.accepted(-1, 1)
			tp.pushed(1, 1, 1)
			tp.witness(5, 1, trace.Event{Type: trace.ServerClosed, Code: 1000, By: "peer"})
			tp.ended(5.01, "exit code 0")
		}},
		{name: "closed and stayed", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.accepted(-1, 1)
			tp.pushed(1, 1, 1)
			tp.witness(5, 1, trace.Event{Type: trace.ServerClosed, Code: 1001, By: "peer"})
		}},
		{name: "did not answer any more", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.accepted(-1, 1)
			tp.pushed(1, 1, 1)
			tp.witness(5, 1, trace.Event{Type: trace.ServerPushed, Seq: 2})
		}},
		{name: "hung", end: 20, tape: func(tp *tape) {
			tp.program(-2, "I will survive")
			tp.accepted(-1, 1)
			tp.pushed(1, 1, 1)
			tp.ponged(20, 1, probeAnswer)
			tp.at(30, trace.Event{Node: runnerName, Type: trace.ProgramKilled, Session: sessionID})
			tp.ended(30, "signal 9")
		}},
		{name: "never connected, and ended", end: 20, tape: func(tp *tape) {
			tp.program(-2, "ModuleNotFoundError: No module named 'websockets'")
			tp.ended(-1, "exit code 1")
		}},
		{name: "never connected, and runs", end: 20, tape: func(tp *tape) { tp.program(-2) }},
		{name: "never connected without its session", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.at(1, trace.Event{Node: "server", Type: trace.Accepted, Session: "anonymous-1", Conn: 1, Flow: outFlow(1)})
		}},
		{name: "never connected, stopped on the way", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.at(-1, trace.Event{Node: "firewall", Type: trace.Blocked, Flow: aliceFlow(1), Detail: "rule 2"})
		}},
		{name: "never connected, refused by the server", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.at(-1, trace.Event{Node: "server", Type: trace.Refused, Session: sessionID, Status: 403, By: "origins", Detail: "the Origin is not allowed (origins)"})
		}},
		{name: "never connected without its Upgrade", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.at(-1, trace.Event{Node: "server", Type: trace.Refused, Session: sessionID, Status: 426, Detail: "Upgrade is missing"})
			tp.at(-.9, trace.Event{Node: "http-proxy", Type: trace.UpgradeStripped, Flow: proxyFlow(1), Status: 426})
		}},
		{name: "never connected, refused by a proxy", forward: "http-proxy", end: 20, tape: func(tp *tape) {
			tp.program(-2)
			tp.at(-1, trace.Event{Node: "http-proxy", Type: trace.RelayRefused, Flow: proxyFlow(1), Status: 407, By: "users", Detail: "no credentials"})
		}},
		{name: "never connected, did not ask the proxy", forward: "http-proxy", end: 20, tape: func(tp *tape) { tp.program(-2) }},
	}
	var out strings.Builder
	for _, test := range tests {
		var texts []string
		for _, speed := range []float64{1, 5} { // the verdict must not depend on it
			tp := newTape(speed)
			test.tape(tp)
			s := session{id: sessionID, strategy: "mine", program: &running{}, expect: Expectation{Verdicts: Expected{Failed}}}
			p := &player{client: "alice", path: "direct", sessions: []session{s}}
			all := trace.New(tp.start, tp.start.Add(tp.wall(test.end)), speed, tp.events)
			all = trace.New(all.Start, all.End, speed, slices.Concat(all.Events, p.drawn(all)))
			f := facts{
				t:    untilEnd(all),
				idle: map[string]time.Duration{"nat": 30 * time.Second, "http-proxy": time.Minute},
				places: map[netip.Addr]string{
					netip.MustParseAddr("192.168.1.3"): "nat", aliceFlow(1).Dst.Addr(): "server",
					aliceFlow(1).Src.Addr(): "alice", proxyFlow(1).Src.Addr(): "alice", dmzFlow(1).Src.Addr(): "http-proxy",
				},
				client: "alice", forward: test.forward,
				nodes: homeNodes(),
			}
			if test.name == "kept busy at a proxy" {
				f.idle = map[string]time.Duration{"http-proxy": time.Minute}
			}
			texts = append(texts, cellText(test.name, judge(f, s)))
		}
		// A program that never connected has its own time, which is real.
		if texts[0] != texts[1] && !strings.Contains(texts[0], "in real time") {
			t.Errorf("%s: speed 1 and 5 differ:\n%s\n%s", test.name, texts[0], texts[1])
		}
		out.WriteString(texts[0])
	}
	golden(t, "testdata/program.golden", out.String())
}

// fakeProgram is a program in the fake lab, which connects at once.
type fakeProgram struct {
	lab *fakeLab
	// leaves says that it ends by itself, hangs that it does not end when it is told to.
	leaves, hangs bool

	mu    sync.Mutex
	calls []string
	at    Circumstances
	done  chan struct{}
}

func (p *fakeProgram) Launch(_ context.Context, _ Lab, at Circumstances) (Process, error) {
	p.at, p.done = at, make(chan struct{})
	_, _ = io.WriteString(at.Output, "here I am\nand ")
	if p.leaves {
		close(p.done)
		return p, nil
	}
	s := &fakeSession{program: true}
	p.lab.mu.Lock()
	p.lab.sessions[at.Session] = s
	p.lab.mu.Unlock()
	p.lab.connect(at.Session, s)
	return p, nil
}

func (p *fakeProgram) Done() <-chan struct{}   { return p.done }
func (p *fakeProgram) Ending() (string, error) { return Describe(3), nil }
func (p *fakeProgram) Stop() error             { return p.call("stop") }
func (p *fakeProgram) Continue() error         { return p.call("continue") }

func (p *fakeProgram) End(context.Context) (bool, error) {
	_ = p.call("end")
	if !p.leaves {
		_, _ = io.WriteString(p.at.Output, "now gone")
		close(p.done)
	}
	return p.hangs, nil
}

func (p *fakeProgram) call(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, what)
	return nil
}

func TestRunProgram(t *testing.T) {
	f := newFakeLab(t, 20)
	mine, leaves, hangs := &fakeProgram{lab: f}, &fakeProgram{lab: f, leaves: true}, &fakeProgram{lab: f, hangs: true}
	p := play(t, `
steps:
  - talk: 2s
  - stall: { for: 1s, client: none }
  - pause: { node: alice, for: 1s }
  - talk: 2s
expect:
  none: survived
`).WithPrograms([]Program{{Name: "mine", Like: "none", Launcher: mine}, {Name: "leaves", Launcher: leaves}, {Name: "hangs", Launcher: hangs}}).PlayedBy(nil)
	r := run(t, f, p)
	if got := verdictsOf(r); got != "mine=survived leaves=failed hangs=failed" {
		t.Error(got)
	}
	for i, want := range []string{"", "the program ended", "was killed. Its last output: here I am | and now gone"} {
		if got := r.Cells[i].Cause.String(); !strings.Contains(got, want) {
			t.Errorf("%s: %s", r.Cells[i].Client, got)
		}
	}
	if want := []string{"stop", "stop", "continue", "continue", "end"}; !slices.Equal(slices.Sorted(slices.Values(mine.calls)), slices.Sorted(slices.Values(want))) {
		t.Errorf("calls %q", mine.calls)
	}
	if want := []string{"stop", "continue", "end"}; !slices.Equal(hangs.calls, want) {
		t.Errorf("the step for another client has reached it: %q", hangs.calls)
	}
	if at := mine.at; at.Node != "alice" || !strings.HasPrefix(at.Session, "mine-") || at.Speed != 20 || at.Duration < 300*time.Millisecond {
		t.Errorf("%+v", at)
	}
}

// TestProgramIsEnded also when the play is interrupted.
func TestProgramIsEnded(t *testing.T) {
	f := newFakeLab(t, 20)
	mine := &fakeProgram{lab: f}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	f.onResume = func() { cancel(stop) }
	p := play(t, "steps:\n  - pause: { node: server, for: 1s }\n  - quiet: 600s\nexpect: { none: survived }\n").WithPrograms([]Program{{Name: "mine", Launcher: mine}})
	if _, err := Run(ctx, f, p, Options{}); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if !slices.Contains(mine.calls, "end") {
		t.Errorf("calls %q", mine.calls)
	}
}

func TestContract(t *testing.T) {
	env := Contract{URL: "wss://server/?session=a", Proxy: "socks5://u:p@socks-proxy:1080", Session: "a", Duration: 1500 * time.Millisecond, Speed: 2.5}.Environ()
	for _, want := range []string{
		"WSLAB_URL=wss://server/?session=a", "WSLAB_SESSION=a", "WSLAB_DURATION=1.5", "WSLAB_SPEED=2.5",
		"HTTPS_PROXY=socks5://u:p@socks-proxy:1080", "https_proxy=socks5://u:p@socks-proxy:1080",
		"ALL_PROXY=socks5://u:p@socks-proxy:1080", "socks_proxy=socks5://u:p@socks-proxy:1080", "NO_PROXY=localhost,127.0.0.1",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	for _, want := range []string{"HTTP_PROXY=", "https_proxy=", "ALL_PROXY=", "NO_PROXY="} {
		if env := (Contract{}).Environ(); !slices.Contains(env, want) {
			t.Errorf("the user's own %s is left: %q", want, env)
		}
	}
}

func TestProgramExpectations(t *testing.T) {
	p := play(t, "steps: [ { talk: 1s } ]\nexpect: { none: { verdict: failed, lost: 3, cause: dropped } }\n")
	for like, want := range map[string]string{"": "survived or recovered", "none": "failed", "ws-ping": "survived or recovered"} {
		e := p.expectedOf(Program{Name: "mine", Like: like})
		if e.Client != "mine" || e.Cause != "" || e.Verdicts.String() != want || (like == "none") != (e.Lost != nil) {
			t.Errorf("like %q: %+v", like, e)
		}
	}
}

func TestLines(t *testing.T) {
	var got []string
	l := &lines{each: func(s string) { got = append(got, s) }}
	for _, piece := range []string{"on", "e\n\n two", "\r\nthr\xffee", strings.Repeat("x", 2*longestLine)} {
		_, _ = io.WriteString(l, piece)
	}
	l.flush()
	if len(got) < 4 || got[0] != "one" || got[1] != "two" || !strings.HasPrefix(got[2], "thr\ufffdee") || len(got[3]) > longestLine {
		t.Errorf("%.40q", got)
	}
}
