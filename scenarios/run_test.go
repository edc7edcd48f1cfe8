package scenarios

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

func netipPort(f trace.Flow, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(f.Src.Addr(), port)
}

// play returns the one play of a scenario for the lab home.
func play(t *testing.T, body string) Play {
	t.Helper()
	s, err := Load("test.yaml", []byte("name: test\nlab: home\n"+body), known(t))
	if err != nil {
		t.Fatal(err)
	}
	return s.Plays()[0]
}

func run(t *testing.T, f *fakeLab, p Play) *Result {
	t.Helper()
	r, err := Run(t.Context(), f, p, Options{Why: func(context.Context, string) string { return "exit code 2" }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func verdictsOf(r *Result) string {
	var all []string
	for _, c := range r.Cells {
		all = append(all, c.Client+"="+string(c.Verdict))
	}
	return strings.Join(all, " ")
}

// TestOneSideTalks lets only the server talk after a silence, and then only the client.
func TestOneSideTalks(t *testing.T) {
	f := newFakeLab(t, 20)
	r := run(t, f, play(t, `
steps:
  - talk: { for: 2s, by: server }
  - talk: { for: 2s, by: client }
  - talk: 2s
expect: { none: survived }
`))
	if !r.Passed() {
		t.Errorf("%s", r.Cells[0].Cause)
	}
	want := []string{
		"alice session.start", "server talk", "alice session.talk", "server quiet", "alice session.talk", "server talk",
		"alice session.quiet", "server quiet",
	}
	if got := f.called(); !slices.Equal(got[:min(len(got), len(want))], want) {
		t.Errorf("calls:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var steps []string
	for e := range r.Trace.Unpack(r.Speed).All(trace.OfType(trace.StepStart)) {
		steps = append(steps, e.Detail)
	}
	if want := []string{"talk: 2s by the server", "talk: 2s by the client", "talk: 2s"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q", steps)
	}
}

const resetSteps = `
steps:
  - talk: 2s
  - reset: nat
  - talk: 20s
expect:
  none: { verdict: failed, cause: sent RST }
  reconnect-only: { verdict: recovered, outage: 20s }
`

func TestRun(t *testing.T) {
	f := newFakeLab(t, 20)
	r := run(t, f, play(t, resetSteps))
	if got := verdictsOf(r); got != "none=failed reconnect-only=recovered" || !r.Passed() {
		t.Errorf("%s; %s", got, r.Cells[1].Cause)
	}
	if r.Lab != "home" || r.Path != "direct" || r.Speed != 20 {
		t.Errorf("lab %q, path %q, speed %g", r.Lab, r.Path, r.Speed)
	}
	c := r.Cells[1]
	if c.Connections != 2 || c.Outage == nil || c.Detect == nil || c.Recover == nil || c.Sent == 0 {
		t.Errorf("%+v", c)
	}
	want := []string{
		"nat toxic.list", "nat intercept", "alice session.start", "alice session.start",
		"alice session.talk", "server talk", "nat reset", "alice session.quiet", "server quiet",
		"alice session.record", "server ledger", "alice session.stop", "server forget", "nat toxic.list", "nat intercept",
	}
	if got := slices.Compact(f.called()); !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("calls:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	events := r.Trace.Unpack(r.Speed)
	if first, ok := events.First(trace.OfType(trace.StepStart)); !ok || first.Detail != "talk: 2s" || events.At(first.Time) < 0 {
		t.Errorf("first step: %v", first)
	}
}

func TestRunRestart(t *testing.T) {
	f := newFakeLab(t, 20)
	r := run(t, f, play(t, `
steps:
  - talk: 2s
  - restart: { node: server, down: 2s }
  - talk: 20s
expect:
  none: { verdict: failed, cause: server was restarted }
  reconnect-only: recovered
`))
	if !r.Passed() {
		t.Errorf("%s; %s", verdictsOf(r), r.Cells[0].Cause)
	}
	talks := 0
	for _, c := range f.called() {
		if c == "server talk" {
			talks++
		}
	}
	if talks != 2 {
		t.Errorf("the server was told to talk %d times: it has to be told again after its restart", talks)
	}
}

func TestRunRestores(t *testing.T) {
	f := newFakeLab(t, 20)
	f.toxics = []topology.ToxicSpec{{Name: "latency_downstream", Type: "latency"}}
	p := play(t, `
with:
  nat: { on_expiry: reset }
steps:
  - talk: 1s
  - toxic: { at: nat, type: latency, latency: 300ms, for: 2s }
  - toxic: { at: nat, type: bandwidth }
  - pause: { node: server, for: 4s }
  - quiet: 600s
expect:
  none: survived
`)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	f.onResume = func() { cancel(stop) } // interrupted with the long step still to come
	if _, err := Run(ctx, f, p, Options{}); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if len(f.toxics) != 1 || f.toxics[0].Name != "latency_downstream" {
		t.Errorf("toxics left: %v", f.toxics)
	}
	if f.settings["on_expiry"] != `"drop"` {
		t.Errorf("on_expiry left at %s", f.settings["on_expiry"])
	}
	calls := f.called()
	for _, want := range []string{"alice session.stop", "server forget", "resume server"} {
		if !slices.Contains(calls, want) {
			t.Errorf("no %s", want)
		}
	}
}

// TestRunLink tells every node of the network, and restores what the lab had.
func TestRunLink(t *testing.T) {
	f := newFakeLab(t, 20)
	before := topology.LinkSpec{Link: topology.Link{Network: "home", Conditions: []byte(`{"delay":20000000}`)}}
	f.links["alice home "], f.links["nat home "] = before, before
	run(t, f, play(t, `
steps:
  - talk: 1s
  - link: { network: home, down: true, for: 1s }
  - link: { network: home, node: alice, loss: 10% }
  - talk: 3s
  - link: { network: internet, delay: 5ms }
  - talk: 1s
expect:
  none: [survived, failed]
`))
	calls := f.called()
	for call, want := range map[string]int{"alice link.set": 4, "nat link.set": 6, "server link.set": 2} {
		if got := len(slices.DeleteFunc(slices.Clone(calls), func(c string) bool { return c != call })); got != want {
			t.Errorf("%s: %d times, not %d", call, got, want)
		}
	}
	for at, spec := range f.links {
		want := ""
		if spec.Network == "home" && spec.Node == "" {
			want = string(before.Conditions)
		}
		if string(spec.Conditions) != want {
			t.Errorf("%s is left with %q, not %q", at, spec.Conditions, want)
		}
	}
}

func TestRunNeverOpens(t *testing.T) {
	f := newFakeLab(t, 20)
	f.refuse = 407
	r := run(t, f, play(t, "steps:\n  - talk: 1s\nexpect:\n  none: { verdict: failed, cause: (407) }\n"))
	if !r.Passed() {
		t.Errorf("%s: %s", verdictsOf(r), r.Cells[0].Cause)
	}
}

func TestRunCrash(t *testing.T) {
	f := newFakeLab(t, 20)
	f.onReset = func() { // the node ends instead
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = f.ends["nat"].Close()
	}
	r, err := Run(t.Context(), f, play(t, resetSteps), Options{Why: func(context.Context, string) string { return "exit code 2" }})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Cells {
		if c.Verdict != Failed || !strings.Contains(c.Cause.String(), "node nat ended") || !strings.Contains(c.Cause.String(), "exit code 2") {
			t.Errorf("%s: %s (%s)", c.Client, c.Verdict, c.Cause)
		}
	}
}

func TestRunIncompleteTrace(t *testing.T) {
	f := newFakeLab(t, 20)
	f.hidden = 1
	_, err := Run(t.Context(), f, play(t, "steps:\n  - talk: 1s\nexpect:\n  none: survived\n"), Options{})
	if !errors.Is(err, errImbalance) {
		t.Errorf("error %v", err)
	}
}

func TestRunAgainstAForeignServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeLab(t, 20)
		f.foreign = true
		_, err := Run(t.Context(), f, play(t, "steps:\n  - talk: 1s\nexpect:\n  none: survived\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), "alice is connected to what keeps no account") {
			t.Errorf("error %v", err)
		}
	})
}

func TestRunRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*fakeLab, *Play)
		want   string
	}{
		"speed":    {func(f *fakeLab, _ *Play) { f.plan.Speed = 31 }, "largest speed that works here is 30"},
		"way":      {func(_ *fakeLab, p *Play) { p.Path = "socks-proxy" }, "there is: direct, http-proxy"},
		"client":   {func(_ *fakeLab, p *Play) { p.Client = "bob" }, `no client "bob"`},
		"node":     {func(f *fakeLab, _ *Play) { f.plan.Nodes = f.plan.Nodes[:1] }, `needs a node "nat"`},
		"strategy": {func(_ *fakeLab, p *Play) { p.Expect = []Expectation{{Client: "nobody"}} }, `no strategy "nobody"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFakeLab(t, 20)
			p := play(t, "with: { nat: { idle_timeout: 30s } }\nsteps:\n  - talk: 1s\nexpect:\n  none: survived\n")
			test.change(f, &p)
			_, err := Run(t.Context(), f, p, Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestRunAddressChange has addresses changed, and those that differ at the end changed
// back once the sessions have ended.
func TestRunAddressChange(t *testing.T) {
	f := newFakeLab(t, 20)
	r := run(t, f, play(t, `
steps:
  - address-change: nat
  - address-change: { at: alice }
  - address-change: alice
  - talk: 1s
expect: { none: survived }
`))
	if !r.Passed() {
		t.Errorf("%s", r.Cells[0].Cause.Text(English))
	}
	want := []string{
		"alice session.start", "nat address.change", "alice address.change", "alice address.change", "alice session.talk", "server talk",
		"alice session.quiet", "server quiet", "alice session.record", "server ledger", "alice session.stop", "server forget", "nat address.change",
	}
	if got := f.called(); !slices.Equal(got, want) {
		t.Errorf("calls:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRunCrowd has a crowd come, and leave: after its time, and at the end.
func TestRunCrowd(t *testing.T) {
	f := newFakeLab(t, 20)
	r := run(t, f, play(t, `
steps:
  - crowd: { from: alice, connections: 5, for: 1s }
  - crowd: { from: alice, connections: 3 }
  - talk: 2s
expect: { none: survived }
`))
	if !r.Passed() {
		t.Errorf("%s", r.Cells[0].Cause.Text(English))
	}
	count := make(map[string]int)
	for _, call := range f.called() {
		count[call]++
	}
	// The restoring closes each, gone or not.
	if count["alice crowd.open"] != 2 || count["alice crowd.close"] != 3 {
		t.Errorf("%v", count)
	}
}
