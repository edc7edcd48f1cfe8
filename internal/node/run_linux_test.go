package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// echoSettings are those of a kind that the tests run.
type echoSettings struct {
	Port  int    `json:"port"`
	Greet string `json:"greet"`
	Fail  string `json:"fail"`
}

// echoKind greets whoever connects and holds the connection.
func echoKind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{Name: "echo", Settings: func() any { return &echoSettings{Port: 7} }},
		Run: func(ctx context.Context, env *node.Env) error {
			var s echoSettings
			if err := env.Settings(&s); err != nil {
				return err
			}
			switch s.Fail {
			case "error":
				return errors.New("no way")
			case "panic":
				go panic("oh no")
			case "stubborn":
				env.Ready()
				select {}
			}
			l, err := env.Listen(ctx, "tcp4", ":7")
			if err != nil {
				return err
			}
			env.Handle("greet", func(context.Context, json.RawMessage) (any, error) { return s.Greet, nil })
			env.Handle("hosts", func(context.Context, json.RawMessage) (any, error) {
				raw, err := os.ReadFile("/etc/hosts")
				return string(raw), err
			})
			env.OnRestart(func() { env.Logf("going down") })
			env.Ready()
			env.Ready()
			defer context.AfterFunc(ctx, func() { _ = l.Close() })()
			var held []net.Conn
			for {
				c, err := l.Accept()
				if err != nil {
					break
				}
				_, _ = c.Write([]byte(s.Greet))
				held = append(held, c)
			}
			for _, c := range held {
				_ = c.Close()
			}
			return ctx.Err()
		},
	}
}

func TestMain(m *testing.M) { nodetest.Main(m, echoKind()) }

// machines are a client's machine and one for the node.
func machines(t *testing.T) (client, machine *nodetest.Host, spec topology.NodeSpec) {
	t.Helper()
	client, machine = nodetest.NewHost(t, "client"), nodetest.NewHost(t, "echo")
	nodetest.Cable(t, client, "10.20.0.2/24", machine, "10.20.0.3/24")
	machine.MustDo(t, func() error { return nil })
	machine.Route(t, "0.0.0.0/0", "10.20.0.1")
	client.Route(t, "10.9.0.0/16", "10.20.0.3")
	return client, machine, topology.NodeSpec{
		Interfaces: []topology.Interface{nodetest.Interface("office", "10.20.0.3/24")},
		Routes:     []topology.Route{{Dst: nodetest.Interface("", "10.9.0.0/24").Addr.Masked(), Via: nodetest.Interface("", "10.20.0.2/24").Addr.Addr()}},
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(nodetest.Patience))
	got := make([]byte, len(want))
	if _, err := c.Read(got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, not %q", got, err, want)
	}
}

func TestRun(t *testing.T) {
	client, machine, spec := machines(t)
	n := machine.Start(t, echoKind(), &echoSettings{Greet: "hello"}, spec)
	read(t, client.MustDial(t, "10.20.0.3:7"), "hello")
	var status struct {
		Ready bool   `json:"ready"`
		Kind  string `json:"kind"`
		PID   int    `json:"pid"`
	}
	n.Call(t, "status", nil, &status)
	if !status.Ready || status.Kind != "echo" || status.PID != n.PID() {
		t.Errorf("status is %+v, the process %d", status, n.PID())
	}
	if c, err := machine.Dial(t, "192.0.2.1:80"); err == nil {
		t.Errorf("the default route is there: connected to %s", c.RemoteAddr())
	} else if !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("the default route is there: %v", err)
	}
	if err := n.TryCall("dance", nil, nil); err == nil || !strings.Contains(err.Error(), "does not know how to dance") {
		t.Errorf("dance: %v", err)
	}
	if got := n.Count(trace.Ready); got != 1 {
		t.Errorf("ready %d times", got)
	}
}

func TestRestart(t *testing.T) {
	client, machine, spec := machines(t)
	n := machine.Start(t, echoKind(), &echoSettings{Greet: "hello"}, spec)
	c := client.MustDial(t, "10.20.0.3:7")
	read(t, c, "hello")

	const down = 300 * time.Millisecond
	start := time.Now()
	n.Call(t, "restart", map[string]any{"down": down}, nil)
	_ = c.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection outlived the process: %v", err)
	}
	for time.Since(start) < down/2 { // the kernel closes one socket after the other
		if _, err := client.Dial(t, "10.20.0.3:7"); errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
	}
	if _, err := client.Dial(t, "10.20.0.3:7"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connected while down: %v", err)
	}
	var status struct {
		PID int `json:"pid"`
	}
	n.Call(t, "status", nil, &status) // waits until it is up again
	if took := time.Since(start); took < down {
		t.Errorf("down for %v, not %v", took, down)
	}
	if status.PID != n.PID() {
		t.Errorf("pid %d became %d", n.PID(), status.PID)
	}
	read(t, client.MustDial(t, "10.20.0.3:7"), "hello")
	if got := n.Count(trace.Ready); got != 2 {
		t.Errorf("ready %d times", got)
	}
	if e := n.AwaitType(t, trace.Restarting); e.Dur != down {
		t.Errorf("restarting %v", e)
	}
	if e := n.AwaitType(t, trace.Log); e.Detail != "going down" {
		t.Errorf("OnRestart: %v", e)
	}
}

// TestRestartLosesNoRequest has several hosts ask while the process is replaced again and again.
func TestRestartLosesNoRequest(t *testing.T) {
	_, machine, spec := machines(t)
	n := machine.Start(t, echoKind(), &echoSettings{}, spec)
	var asking sync.WaitGroup
	stop := make(chan struct{})
	var errs = make(chan error, 4)
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// A request that was being answered when the process went has no answer;
				// "status" is answered at once, so that can hardly be.
				if err := n.TryCall("status", nil, nil); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for i := range 5 {
		n.Call(t, "restart", map[string]any{"down": 0}, nil)
		for n.Count(trace.Ready) < i+2 {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	asking.Wait()
	select {
	case err := <-errs:
		t.Error(err)
	default:
	}
}

func TestConfigure(t *testing.T) {
	client, machine, spec := machines(t)
	n := machine.Start(t, echoKind(), &echoSettings{Greet: "hello", Port: 7}, spec)
	n.Call(t, "configure", map[string]any{"settings": map[string]any{"greet": "aloha"}}, nil)
	var greet string
	n.Call(t, "greet", nil, &greet)
	if greet != "aloha" {
		t.Errorf("greets %q", greet)
	}
	read(t, client.MustDial(t, "10.20.0.3:7"), "aloha")
	for _, wrong := range []string{`{"greed": 1}`, `{"greet": 1}`, `[]`, `null`} {
		if err := n.TryCall("configure", map[string]any{"settings": json.RawMessage(wrong)}, nil); err == nil {
			t.Errorf("took the settings %s", wrong)
		}
	}
}

// TestPrivateEtc checks that the node's names are its own and the machine's file is untouched.
func TestPrivateEtc(t *testing.T) {
	before, err := os.ReadFile("/etc/hosts")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(node.PrivateEtc, "1")
	_, machine, spec := machines(t)
	spec.Hosts = map[string]netip.Addr{"server": netip.MustParseAddr("203.0.113.2")}
	n := machine.Start(t, echoKind(), &echoSettings{}, spec)
	check := func() {
		t.Helper()
		var hosts string
		n.Call(t, "hosts", nil, &hosts)
		if !strings.Contains(hosts, "203.0.113.2\tserver\n") || !strings.Contains(hosts, "localhost") {
			t.Errorf("hosts:\n%s", hosts)
		}
	}
	check()
	n.Call(t, "restart", map[string]any{"down": 0}, nil)
	check()
	if after, err := os.ReadFile("/etc/hosts"); err != nil || string(after) != string(before) {
		t.Errorf("the machine's own file was changed, %v:\n%s", err, after)
	}
}

// TestNodeAnswersDNS asks a node's own name server, makes it fail and mends it.
func TestNodeAnswersDNS(t *testing.T) {
	_, machine, spec := machines(t)
	spec.Hosts = map[string]netip.Addr{"server": netip.MustParseAddr("203.0.113.2")}
	n := machine.Start(t, echoKind(), &echoSettings{}, spec)
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (c net.Conn, err error) {
		machine.MustDo(t, func() error {
			c, err = net.Dial("udp4", "127.0.0.1:53")
			return err
		})
		return c, err
	}}
	look := func() ([]string, error) { return resolver.LookupHost(t.Context(), "server.") }
	if got, err := look(); err != nil || len(got) != 1 || got[0] != "203.0.113.2" {
		t.Errorf("server is %v, %v", got, err)
	}
	n.Call(t, "names", map[string]string{"name": "server", "fail": "nxdomain"}, nil)
	var missing *net.DNSError
	if got, err := look(); !errors.As(err, &missing) || !missing.IsNotFound {
		t.Errorf("server is %v, %v", got, err)
	}
	if e := n.AwaitType(t, trace.LookupFailed); e.Detail != "server" || e.Err != "nxdomain" {
		t.Errorf("%+v", e)
	}
	n.Call(t, "names", map[string]string{"name": "server"}, nil)
	if _, err := look(); err != nil {
		t.Errorf("mended: %v", err)
	}
	if err := n.TryCall("names", map[string]string{"name": "server", "fail": "loudly"}, nil); err == nil {
		t.Error("accepted a failure that is none")
	}
}

func TestFailures(t *testing.T) {
	for _, test := range []struct{ name, fail, kind, event, stderr string }{
		{name: "error", fail: "error", event: "no way", stderr: "node echo: no way"},
		{name: "panic", fail: "panic", stderr: "panic: oh no"},
		{name: "unknown kind", kind: "toaster", event: `no kind "toaster"`, stderr: "node echo: no kind"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, machine, spec := machines(t)
			kind := echoKind()
			if test.kind != "" {
				kind.Name = test.kind
			}
			n := machine.Launch(t, kind, &echoSettings{Fail: test.fail}, spec)
			if text := n.Wait(t); !strings.Contains(text, test.stderr) {
				t.Errorf("standard error:\n%s", text)
			}
			if test.event == "" {
				return
			}
			events := n.Events()
			if last := events[len(events)-1]; last.Type != trace.Stopped || !strings.Contains(last.Err, test.event) {
				t.Errorf("last event: %v", last)
			}
		})
	}
}

func TestWrongAddress(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for an interface that does not come")
	}
	_, machine, spec := machines(t)
	spec.Interfaces = append(spec.Interfaces, nodetest.Interface("dmz", "10.20.1.3/24"))
	n := machine.Launch(t, echoKind(), &echoSettings{}, spec)
	if text := n.Wait(t); !strings.Contains(text, "no interface has the address 10.20.1.3 on network dmz") {
		t.Errorf("standard error:\n%s", text)
	}
}

func TestTerm(t *testing.T) {
	for _, fail := range []string{"", "stubborn"} {
		_, machine, spec := machines(t)
		n := machine.Start(t, echoKind(), &echoSettings{Fail: fail}, spec)
		start := time.Now()
		if err := syscall.Kill(n.PID(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if text := n.Wait(t); text != "" {
			t.Errorf("standard error:\n%s", text)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v to end", took)
		}
		events := n.Events()
		if last := events[len(events)-1]; last.Type != trace.Stopped || last.Err != "" {
			t.Errorf("last event: %v", last)
		}
	}
}

// Conditions are there before the kind starts, are changed, and outlast a restart.
func TestLinks(t *testing.T) {
	client, machine, spec := machines(t)
	link := func(delay time.Duration) topology.LinkSpec {
		raw, err := json.Marshal(map[string]any{"delay": delay})
		if err != nil {
			t.Fatal(err)
		}
		return topology.LinkSpec{Link: topology.Link{Network: "office", Node: "echo", Conditions: raw}}
	}
	const delay = 200 * time.Millisecond
	spec.Links = []topology.LinkSpec{link(2 * delay)}
	spec.Speed = 2
	n := machine.Start(t, echoKind(), &echoSettings{Greet: "hello"}, spec)
	dial := func() time.Duration {
		t.Helper()
		start := time.Now()
		read(t, client.MustDial(t, "10.20.0.3:7"), "hello")
		return time.Since(start)
	}
	if d := dial(); d < delay {
		t.Errorf("a connection took %s, its SYN alone is delayed by %s", d, delay)
	}
	if e := n.AwaitType(t, trace.LinkChanged); e.Network != "office" || e.By != "echo" || e.Detail != "delay=400ms" {
		t.Errorf("%+v", e)
	}
	n.Call(t, "link.set", link(4*delay), nil)
	n.Call(t, "restart", map[string]any{"down": 0}, nil)
	var shown []topology.LinkSpec
	n.Call(t, "link.show", nil, &shown) // waits until it is up again
	if d := dial(); d < 2*delay || len(shown) != 1 || shown[0].Node != "echo" {
		t.Errorf("after a restart %s, %+v", d, shown)
	}
	n.Call(t, "link.clear", shown[0].Link, nil)
	n.Call(t, "link.show", nil, &shown)
	if len(shown) != 0 {
		t.Errorf("cleared: %+v", shown)
	}
	if err := n.TryCall("link.set", topology.LinkSpec{Link: topology.Link{Network: "home"}}, nil); err == nil || !strings.Contains(err.Error(), `not on network "home"`) {
		t.Errorf("%v", err)
	}
}
