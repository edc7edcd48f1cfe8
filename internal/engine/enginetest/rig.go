// Package enginetest is what every engine has to pass: labs come up, change and go
// in the same way on all of them.
package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// Patience is how long a test waits for what has to happen.
const Patience = 30 * time.Second

// Rig is an engine under test.
type Rig struct {
	// Engine runs the binary that [Build] returns.
	Engine engine.Engine
	// Lab begins the names of the labs that the test makes.
	Lab string
	// Prefixes returns ranges of 24 bits that a new lab may have.
	Prefixes func(t testing.TB, n int) []netip.Prefix
	// Left lists what there is of a lab, wherever it may be.
	Left func(t testing.TB, lab string) []string
}

// Build builds the wslab command as a release is, for any user to run.
func Build(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "wslab")
	cmd := exec.Command("go", "build", "-o", binary, "github.com/wslab/wslab/cmd/wslab")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build wslab: %v\n%s", err, out)
	}
	return binary
}

// plan is a lab of servers: one on either of two networks, and one on both.
func (r *Rig) plan(t testing.TB, name string) *topology.Plan {
	t.Helper()
	lab := r.Lab + "-" + name
	ranges := r.Prefixes(t, 2)
	p := &topology.Plan{Lab: lab, File: "test.yaml", Speed: 2}
	for i, network := range []string{"left", "right"} {
		p.Networks = append(p.Networks, topology.PlannedNetwork{
			Name: network, Prefix: ranges[i], Asked: ranges[i], Reserved: host(ranges[i], 254).Addr(),
		})
	}
	for i, n := range []struct {
		name string
		on   []int
	}{{"alice", []int{0}}, {"both", []int{0, 1}}, {"bob", []int{1}}} {
		spec := server(p, n.name)
		for _, network := range n.on {
			spec.Interfaces = append(spec.Interfaces, topology.Interface{
				Network: p.Networks[network].Name, Addr: host(ranges[network], byte(10+i)),
			})
		}
		p.Nodes = append(p.Nodes, spec)
	}
	hosts := make(map[string]netip.Addr)
	for _, n := range p.Nodes {
		hosts[n.Name] = n.Interfaces[0].Addr.Addr()
	}
	for i := range p.Nodes {
		p.Nodes[i].Hosts = hosts
	}
	t.Cleanup(func() {
		if err := r.Engine.Down(context.Background(), lab, nil); err != nil && !errors.Is(err, engine.ErrNoLab) {
			t.Errorf("clean up: %v", err)
		}
	})
	return p
}

// server is a node without interfaces.
func server(p *topology.Plan, name string) topology.NodeSpec {
	return topology.NodeSpec{
		Lab: p.Lab, Name: name, Kind: "server", Speed: p.Speed, Source: "test", File: p.File,
		Settings: json.RawMessage(`{"http_port":80,"https_port":0}`),
	}
}

func host(p netip.Prefix, n byte) netip.Prefix {
	a := p.Addr().As4()
	a[3] = n
	return netip.PrefixFrom(netip.AddrFrom4(a), p.Bits())
}

// with returns a copy of a plan with other nodes.
func with(p *topology.Plan, change func(*topology.Plan)) *topology.Plan {
	c := *p
	c.Networks = append([]topology.PlannedNetwork(nil), p.Networks...)
	c.Nodes = append([]topology.NodeSpec(nil), p.Nodes...)
	change(&c)
	return &c
}

// otherPort makes a node's spec another one.
func otherPort(n *topology.NodeSpec) {
	n.Settings = json.RawMessage(`{"http_port":8080,"https_port":0}`)
}

func (r *Rig) up(t testing.TB, p *topology.Plan) engine.Changes {
	t.Helper()
	changes, err := r.Engine.Up(t.Context(), p, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func (r *Rig) open(t testing.TB, lab string) engine.Lab {
	t.Helper()
	l, err := r.Engine.Open(t.Context(), lab)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// nodes returns how each node is, by name.
func (r *Rig) nodes(t testing.TB, lab string) map[string]engine.NodeStatus {
	t.Helper()
	all, err := r.open(t, lab).Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]engine.NodeStatus)
	for _, n := range all {
		byName[n.Node] = n
	}
	return byName
}

// answers asks a node whether it is ready.
func (r *Rig) answers(t testing.TB, l engine.Lab, node string) error {
	t.Helper()
	stream, err := l.Attach(t.Context(), node)
	if err != nil {
		return err
	}
	conn := control.NewConn(node, stream, nil)
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	var status struct {
		Ready bool `json:"ready"`
	}
	if err := conn.Call(ctx, "status", struct{}{}, &status); err != nil {
		return err
	}
	if !status.Ready {
		return errors.New("it is not ready")
	}
	return nil
}

func (r *Rig) mustAnswer(t testing.TB, lab string, nodes ...string) {
	t.Helper()
	l := r.open(t, lab)
	for _, n := range nodes {
		if err := r.answers(t, l, n); err != nil {
			t.Errorf("node %s: %v", n, err)
		}
	}
}

// gone checks that nothing of a lab is left.
func (r *Rig) gone(t testing.TB, lab string) {
	t.Helper()
	if left := r.Left(t, lab); len(left) > 0 {
		t.Errorf("left of lab %s: %s", lab, strings.Join(left, ", "))
	}
	if _, err := r.Engine.Open(t.Context(), lab); !errors.Is(err, engine.ErrNoLab) {
		t.Errorf("open lab %s: %v", lab, err)
	}
	labs, err := r.Engine.Labs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range labs {
		if l.Name == lab {
			t.Errorf("it is listed: %+v", l)
		}
	}
}

// interrupt is a context that ends when Up says that it is creating, and the progress that ends it.
func interrupt(t testing.TB) (context.Context, engine.Progress) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); strings.Contains(line, "creating") || strings.Contains(line, "replacing") {
			cancel()
		}
	}
}
