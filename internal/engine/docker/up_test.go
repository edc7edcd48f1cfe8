package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

var comparable = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func serverAddress(p *topology.Plan) string {
	return p.Nodes[2].Interfaces[0].Addr.Addr().String() + ":80"
}

// A lab routes through its router, keeps addresses as they are, and is shut off
// from the host; its nodes have no more than they need.
func TestLab(t *testing.T) {
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	changes := mustUp(t, e, p)
	want := engine.Changes{Created: []string{"network left", "network right", "alice", "router", "server"}}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Error(diff)
	}
	l := mustOpen(t, e, p.Lab)
	if diff := cmp.Diff(p, l.Plan(), comparable); diff != "" {
		t.Errorf("plan read back: %s", diff)
	}

	t.Run("routes", func(t *testing.T) {
		caller := mustAsk[string](t, l, "alice", "dial", serverAddress(p))
		host, _, err := net.SplitHostPort(caller)
		if err != nil || host != p.Nodes[0].Interfaces[0].Addr.Addr().String() {
			t.Errorf("the server was called by %q (%v), want alice's own address", caller, err)
		}
	})
	t.Run("no way out", func(t *testing.T) {
		for _, out := range append(hostAddresses(t), "192.0.2.77", "8.8.8.8") {
			if _, err := ask[string](t, l, "alice", "dial", net.JoinHostPort(out, "9")); err == nil || !strings.Contains(err.Error(), "network is unreachable") {
				t.Errorf("dial %s: %v, want network is unreachable", out, err)
			}
		}
	})
	t.Run("host has no way in", func(t *testing.T) {
		for _, n := range p.Networks {
			for _, a := range hostAddresses(t) {
				if n.Prefix.Contains(netip.MustParseAddr(a)) {
					t.Errorf("the host has %s on network %s", a, n.Name)
				}
			}
			routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range routes {
				if r.Dst != nil && n.Prefix.Contains(netip.AddrFrom4([4]byte(r.Dst.IP.To4()))) {
					t.Errorf("the host has a route to network %s: %s", n.Name, r)
				}
			}
		}
	})
	t.Run("names", func(t *testing.T) {
		for _, node := range p.Nodes {
			want := p.Nodes[0].Hosts[node.Name].String()
			got := mustAsk[[]string](t, l, "alice", "lookup", node.Name)
			if len(got) == 0 || got[0] != want {
				t.Errorf("%s resolves to %v, want %s", node.Name, got, want)
			}
		}
		if got, err := ask[[]string](t, l, "alice", "lookup", "example.com"); err == nil {
			t.Errorf("example.com resolves to %v", got)
		}
		if !mustAsk[bool](t, l, "alice", "catch-dns", "out.example.com") {
			t.Error("the name server request did not go to the node's own loopback")
		}
	})
	t.Run("confined", func(t *testing.T) {
		status := mustAsk[string](t, l, "router", "read", "/proc/self/status")
		// NET_ADMIN and NET_RAW, bits 12 and 13 of capabilities(7), and no other.
		for _, want := range []string{"CapEff:\t0000000000003000\n", "CapBnd:\t0000000000003000\n", "NoNewPrivs:\t1\n"} {
			if !strings.Contains(status, want) {
				t.Errorf("no %q in\n%s", want, status)
			}
		}
		for _, path := range []string{"/x", "/etc/x", "/tmp/x", "/wslab", "/proc/sys/net/ipv4/ip_forward", "/etc/hosts"} {
			if _, err := ask[any](t, l, "router", "write", path); err == nil {
				t.Errorf("%s can be written", path)
			}
		}
		if got := mustAsk[string](t, l, "router", "env", "GODEBUG"); got != "netdns=go" {
			t.Errorf("GODEBUG is %q", got)
		}
		for _, n := range []string{"alice", "router", "server"} {
			for _, a := range mustAsk[[]string](t, l, n, "addrs", nil) {
				if strings.Contains(a, ":") && a != "::1/128" {
					t.Errorf("%s has an IPv6 address: %s", n, a)
				}
			}
			full, err := e.client.ContainerInspect(t.Context(), containerName(p.Lab, n))
			if err != nil {
				t.Fatal(err)
			}
			if len(full.NetworkSettings.Ports)+len(full.HostConfig.PortBindings) > 0 {
				t.Errorf("%s has ports: %v", n, full.NetworkSettings.Ports)
			}
		}
	})
	t.Run("nodes", func(t *testing.T) {
		nodes, err := l.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range nodes {
			if n.Node != p.Nodes[i].Name || n.Kind != p.Nodes[i].Kind || n.State != engine.Running || n.PID == 0 ||
				len(n.Addrs) != len(p.Nodes[i].Interfaces) {
				t.Errorf("%+v", n)
			}
		}
		labs, err := e.Labs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range labs {
			if s.Name != p.Lab {
				continue
			}
			want := engine.LabStatus{Name: p.Lab, Source: "test", File: "test.yaml", Engine: "docker", Nodes: 3, Running: 3, Speed: 2}
			if diff := cmp.Diff(want, s, cmpopts.IgnoreFields(engine.LabStatus{}, "Created")); diff != "" {
				t.Error(diff)
			}
			if age := time.Since(s.Created); age < 0 || age > time.Hour {
				t.Errorf("created %s ago", age)
			}
			return
		}
		t.Errorf("lab %s is not listed", p.Lab)
	})
	t.Run("taken", func(t *testing.T) {
		own, err := e.taken(t.Context(), p.Lab)
		if err != nil {
			t.Fatal(err)
		}
		all, err := e.taken(t.Context(), "another")
		if err != nil {
			t.Fatal(err)
		}
		holds := func(taken []topology.PlannedNetwork) bool {
			for _, n := range taken {
				if n.Prefix == p.Networks[0].Prefix {
					return true
				}
			}
			return false
		}
		if holds(own) || !holds(all) {
			t.Errorf("own range taken: for the lab %t, for others %t", holds(own), holds(all))
		}
	})
	if err := e.Down(t.Context(), p.Lab, t.Logf); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, e, p.Lab)
	if err := e.Down(t.Context(), p.Lab, nil); !errors.Is(err, engine.ErrNoLab) {
		t.Errorf("second down: %v", err)
	}
	if _, err := e.Open(t.Context(), p.Lab); !errors.Is(err, engine.ErrNoLab) {
		t.Errorf("open: %v", err)
	}
}

func hostAddresses(t *testing.T) []string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			all = append(all, p.Addr().String())
		}
	}
	return all
}

// A second up changes what differs and nothing else.
func TestConverge(t *testing.T) {
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	mustUp(t, e, p)
	expect := func(name string, p *topology.Plan, want engine.Changes) {
		t.Helper()
		got := mustUp(t, e, p)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(p, mustOpen(t, e, p.Lab).Plan(), comparable); diff != "" {
			t.Errorf("%s: plan read back: %s", name, diff)
		}
		if _, err := ask[string](t, mustOpen(t, e, p.Lab), "alice", "dial", serverAddress(p)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect("same", p, engine.Changes{})

	p = clone(p)
	p.Nodes[2].Settings = json.RawMessage(`{"listen":80,"other":1}`)
	expect("changed node", p, engine.Changes{Replaced: []string{"server"}})

	if err := e.removeContainer(t.Context(), containerName(p.Lab, "router")); err != nil {
		t.Fatal(err)
	}
	nodes, err := mustOpen(t, e, p.Lab).Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := nodes[len(nodes)-1]; n.Node != "router" || n.State != engine.Missing {
		t.Errorf("a node whose container is gone: %+v", n)
	}
	expect("lost container", p, engine.Changes{Created: []string{"router"}})

	if err := mustOpen(t, e, p.Lab).Pause(t.Context(), "server"); err != nil {
		t.Fatal(err)
	}
	expect("paused node", p, engine.Changes{})

	if _, err := ask[any](t, mustOpen(t, e, p.Lab), "router", "exit", "the cable caught fire"); err == nil {
		t.Error("exit was answered")
	}
	nodes, err = mustOpen(t, e, p.Lab).Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := nodes[1]; n.State != engine.Exited || n.ExitCode != 3 || n.Detail != "exit code 3: the cable caught fire" {
		t.Errorf("an exited node: %+v", n)
	}
	expect("exited node", p, engine.Changes{Replaced: []string{"router"}})

	extra := clone(p)
	extra.Networks = append(extra.Networks, topology.PlannedNetwork{Name: "more", Prefix: freePrefixes(t, e, 1)[0]})
	more := &extra.Networks[2]
	more.Reserved = more.Prefix.Addr().Next()
	bob := extra.Nodes[0]
	bob.Name, bob.Routes = "bob", nil
	bob.Interfaces = []topology.Interface{{Network: "more", Addr: netip.PrefixFrom(more.Reserved.Next(), 24)}}
	extra.Nodes = append(extra.Nodes, bob)
	expect("more", extra, engine.Changes{Created: []string{"network more", "bob"}})
	expect("less", p, engine.Changes{Removed: []string{"network more", "bob"}})

	moved := clone(p)
	to := freePrefixes(t, e, 1)[0]
	old := moved.Networks[1].Prefix
	shift := func(a netip.Addr) netip.Addr {
		if !old.Contains(a) {
			return a
		}
		b := to.Addr().As4()
		b[3] = a.As4()[3]
		return netip.AddrFrom4(b)
	}
	moved.Networks[1].Prefix, moved.Networks[1].Reserved = to, shift(moved.Networks[1].Reserved)
	for i := range moved.Nodes {
		n := &moved.Nodes[i]
		n.Interfaces, n.Routes = append([]topology.Interface(nil), n.Interfaces...), append([]topology.Route(nil), n.Routes...)
		for k, in := range n.Interfaces {
			n.Interfaces[k].Addr = netip.PrefixFrom(shift(in.Addr.Addr()), 24)
		}
		for k, r := range n.Routes {
			if r.Dst == old {
				n.Routes[k].Dst = to
			}
			n.Routes[k].Via = shift(r.Via)
		}
	}
	expect("moved network", moved, engine.Changes{Replaced: []string{"network right", "alice", "router", "server"}})
}

// A node that does not come up is named with its last words, and nothing is left.
func TestNodeFails(t *testing.T) {
	e := newEngine(t, staticNode)
	for _, tt := range []struct {
		fail string
		want []string
	}{
		{"panic", []string{"node router: ended before it was ready (exit code 2)\n  panic: the test wants it\n"}},
		{"exit", []string{"node router: ended before it was ready (exit code 1)\n  first line\n  node: the test wants it"}},
		{"stopped", []string{"node router: ended before it was ready (exit code 1): port 80: address in use"}},
		{"silent", []string{"node router: has not said that it is ready within 1s"}},
	} {
		t.Run(tt.fail, func(t *testing.T) {
			e := *e
			if tt.fail == "silent" {
				e.readyTimeout = time.Second
			}
			p := newPlan(t, &e)
			p.Nodes[1].Settings = json.RawMessage(`{"fail":"` + tt.fail + `"}`)
			_, err := e.Up(t.Context(), p, t.Logf)
			if err == nil {
				t.Fatal("up succeeded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
			nothingLeft(t, &e, p.Lab)
		})
	}
}

// Up that is interrupted at any moment has removed everything when it returns.
func TestUpInterrupted(t *testing.T) {
	e := newEngine(t, staticNode)
	for _, after := range interruptions {
		t.Run(after.String(), func(t *testing.T) {
			p := newPlan(t, e)
			cause := errors.New("interrupted")
			ctx, cancel := context.WithTimeoutCause(t.Context(), after, cause)
			defer cancel()
			_, err := e.Up(ctx, p, t.Logf)
			if err == nil {
				t.Skip("up was faster")
			}
			if ctx.Err() == nil {
				t.Fatal(err)
			}
			nothingLeft(t, e, p.Lab)
		})
	}
}

var interruptions = []time.Duration{
	5 * time.Millisecond, 30 * time.Millisecond, 80 * time.Millisecond, 150 * time.Millisecond,
	250 * time.Millisecond, 350 * time.Millisecond, 500 * time.Millisecond, 700 * time.Millisecond,
}

// Whatever a killed up has left, down removes.
func TestUpKilled(t *testing.T) {
	e := newEngine(t, staticNode)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range interruptions {
		t.Run(after.String(), func(t *testing.T) {
			p := newPlan(t, e)
			raw, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			up := exec.Command(self)
			up.Env = append(os.Environ(), upOnlyVariable+"="+string(raw), "WSLAB_TEST_NODE="+staticNode)
			out, err := up.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			_, _ = out.Read(make([]byte, 1)) // up begins
			time.Sleep(after)                // any moment is as good as another
			if err := up.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = up.Wait() // it was killed
			if err := e.Down(t.Context(), p.Lab, t.Logf); err != nil && !errors.Is(err, engine.ErrNoLab) {
				t.Fatal(err)
			}
			nothingLeft(t, e, p.Lab)
			labs, err := e.Labs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range labs {
				if l.Name == p.Lab {
					t.Errorf("still listed: %+v", l)
				}
			}
		})
	}
}

const upOnlyVariable = "WSLAB_TEST_UP"

// upOnly brings a plan up in a process of its own, to be killed.
func upOnly(raw string) int {
	var p topology.Plan
	if err := json.Unmarshal([]byte(raw), &p); err != nil {
		return 1
	}
	e, err := New(Options{Binary: os.Getenv("WSLAB_TEST_NODE"), Version: "test"})
	if err != nil {
		return 1
	}
	_, _ = os.Stdout.WriteString("x")
	if _, err := e.Up(context.Background(), &p, nil); err != nil {
		return 1
	}
	return 0
}

// Of two ups of one lab at once one wins, the other says why it does not; down
// waits for whoever is at work.
func TestTwoAtOnce(t *testing.T) {
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	type result struct {
		changes engine.Changes
		err     error
	}
	results := make(chan result)
	for range 2 {
		go func() {
			changes, err := e.Up(t.Context(), p, nil)
			results <- result{changes, err}
		}()
	}
	first := <-results // the loser has nothing to do but to say so
	var busy *engine.BusyError
	if !errors.As(first.err, &busy) {
		t.Errorf("the loser says %v", first.err)
	}
	waited := make(chan error)
	go func() { waited <- e.Down(t.Context(), p.Lab, nil) }()
	second := <-results
	if second.err != nil || len(second.changes.Created) != 5 {
		t.Errorf("the winner: %+v", second)
	}
	if err := <-waited; err != nil {
		t.Errorf("down: %v", err)
	}
	nothingLeft(t, e, p.Lab)
}

// Without the lock, as from two machines, the engine's names keep two ups apart,
// and the loser takes nothing away from the winner.
func TestTwoAtOnceFromTwoMachines(t *testing.T) {
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	other, err := New(Options{Binary: staticNode, Version: "test", Host: strings.Replace(e.client.DaemonHost(), "unix:///", "unix:////", 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	errs := make(chan error)
	for _, e := range []*Engine{e, other} {
		go func() {
			_, err := e.Up(t.Context(), p, nil)
			errs <- err
		}()
	}
	for range 2 {
		var busy *engine.BusyError
		if err := <-errs; err != nil && !errors.As(err, &busy) {
			t.Errorf("neither up nor busy: %v", err)
		}
	}
	if err := e.Down(t.Context(), p.Lab, nil); err != nil && !errors.Is(err, engine.ErrNoLab) {
		t.Fatal(err)
	}
	nothingLeft(t, e, p.Lab)
}

// A range that somebody has is told apart from other errors, with what is taken.
func TestRangeTaken(t *testing.T) {
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	mustUp(t, e, p)
	q := clone(p)
	q.Lab = p.Lab + "x"
	t.Cleanup(func() { cleanUp(t, e, q.Lab) })
	_, err := e.Up(t.Context(), q, t.Logf)
	var taken *engine.RangeTakenError
	if !errors.As(err, &taken) || !slices.ContainsFunc(taken.Taken, func(n topology.PlannedNetwork) bool { return n.Prefix == p.Networks[0].Prefix }) {
		t.Fatal(err)
	}
	if l := left(t, e, q.Lab); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
	// The other lab is as it was.
	if _, err := ask[string](t, mustOpen(t, e, p.Lab), "alice", "dial", serverAddress(p)); err != nil {
		t.Error(err)
	}
}

// Labs that come and go leave nothing and do not get slower.
func TestTenUpsAndDowns(t *testing.T) {
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	for i := range 10 {
		start := time.Now()
		mustUp(t, e, p)
		up := time.Since(start)
		if err := e.Down(t.Context(), p.Lab, nil); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d: up %s, down %s", i, up.Round(time.Millisecond), (time.Since(start) - up).Round(time.Millisecond))
		nothingLeft(t, e, p.Lab)
	}
}

// Down needs nothing but labels: what somebody has connected or stopped by hand
// is no hindrance.
func TestDownOfAMess(t *testing.T) {
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	mustUp(t, e, p)
	l := mustOpen(t, e, p.Lab)
	if err := l.Pause(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if _, err := ask[any](t, l, "server", "exit", "gone"); err == nil {
		t.Error("exit was answered")
	}
	other := newPlan(t, e)
	mustUp(t, e, other)
	if err := e.client.NetworkConnect(t.Context(), networkName(p.Lab, "left"), containerName(other.Lab, "alice"), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Down(t.Context(), p.Lab, t.Logf); err != nil {
		t.Fatal(err)
	}
	if l := left(t, e, p.Lab); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
	if len(imagesOf(t, e, staticNode)) != 1 {
		t.Error("the image that another lab uses is gone")
	}
	if _, err := ask[string](t, mustOpen(t, e, other.Lab), "alice", "dial", serverAddress(other)); err != nil {
		t.Errorf("the other lab: %v", err)
	}
}

// Labs of one binary that come and go at once share its image without getting in
// each other's way.
func TestLabsShareTheImage(t *testing.T) {
	e := newEngine(t, staticNode)
	var plans []*topology.Plan
	for range 3 {
		plans = append(plans, newPlan(t, e))
	}
	var running sync.WaitGroup
	for _, p := range plans {
		running.Go(func() {
			for range 4 {
				if _, err := e.Up(t.Context(), p, nil); err != nil {
					t.Errorf("up: %v", err)
				}
				if err := e.Down(t.Context(), p.Lab, nil); err != nil {
					t.Errorf("down: %v", err)
				}
			}
		})
	}
	running.Wait()
	for _, p := range plans {
		nothingLeft(t, e, p.Lab)
	}
}

// A lab that a process has claimed is listed as its own, and who else claims it waits until then.
func TestClaim(t *testing.T) {
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	mustUp(t, e, p)
	tied := func() bool {
		t.Helper()
		all, err := e.Labs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(s engine.LabStatus) bool { return s.Name == p.Lab })
		if i < 0 {
			t.Fatalf("lab %s is not listed: %v", p.Lab, all)
		}
		return all[i].Tied
	}
	if tied() {
		t.Error("tied to nobody")
	}
	first, err := e.Claim(t.Context(), p.Lab, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !tied() {
		t.Error("claimed, and not tied")
	}
	waits := make(chan string, 1)
	claimed := make(chan error)
	var second *os.File
	go func() {
		var err error
		second, err = e.Claim(t.Context(), p.Lab, func(format string, args ...any) { waits <- fmt.Sprintf(format, args...) })
		claimed <- err
	}()
	if got, want := <-waits, "waiting for another wslab that plays on lab "+p.Lab; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	interrupted, interrupt := context.WithCancelCause(t.Context())
	interrupt(errors.New("enough"))
	if _, err := e.Claim(interrupted, p.Lab, nil); err == nil || err.Error() != "enough" {
		t.Errorf("an interrupted claim: %v", err)
	}
	_ = first.Close()
	if err := <-claimed; err != nil {
		t.Fatal(err)
	}
	if !tied() {
		t.Error("claimed by the second, and not tied")
	}
	_ = second.Close()
	if tied() {
		t.Error("tied to nobody any more")
	}
}
