package docker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"go.uber.org/goleak"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/nsexec"
	"github.com/wslab/wslab/topology"
)

// The stand-ins for the wslab binary, built once, linked either way.
var staticNode, dynamicNode string

// labPrefix keeps this process's labs apart from those of others on the engine.
var labPrefix = "t" + strings.ToLower(rand.Text()[:6])

func TestMain(m *testing.M) {
	if plan := os.Getenv(upOnlyVariable); plan != "" {
		os.Exit(upOnly(plan))
	}
	if lab := os.Getenv(execOnlyVariable); lab != "" {
		os.Exit(execOnly(lab))
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wslab-docker-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if runtime.GOOS == "linux" {
		staticNode, dynamicNode = filepath.Join(dir, "static"), filepath.Join(dir, "dynamic")
		for binary, cgo := range map[string]string{staticNode: "0", dynamicNode: "1"} {
			// A build of its own: another process on the engine has another image.
			build := exec.Command("go", "build", "-ldflags=-X main.build="+labPrefix, "-o", binary, "./testdata/node")
			build.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build the test node: %v\n%s", err, out)
				return 1
			}
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// newEngine returns an engine whose nodes are the given binary. Without a Docker
// engine the test is skipped, or fails where one is required.
func newEngine(t testing.TB, binary string) *Engine {
	t.Helper()
	e, err := New(Options{Binary: binary, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	if err := e.Probe(t.Context()); err != nil {
		if os.Getenv("WSLAB_REQUIRE_DOCKER") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs a Docker engine: %v", err)
	}
	return e
}

// requireRoot skips the test where it may not enter namespaces, or fails where that is required.
func requireRoot(t *testing.T) {
	t.Helper()
	if err := nsexec.Permitted(); err != nil {
		if os.Getenv("WSLAB_REQUIRE_ROOT") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

var labCount atomic.Int32

// newPlan returns a plan with ranges that nobody has: alice on left, a router
// between, and a server on right that says who calls it.
func newPlan(t testing.TB, e *Engine) *topology.Plan {
	t.Helper()
	lab := fmt.Sprintf("%s-%d", labPrefix, labCount.Add(1))
	prefixes := freePrefixes(t, e, 2)
	left, right := prefixes[0], prefixes[1]
	at := func(p netip.Prefix, host byte) netip.Addr {
		a := p.Addr().As4()
		a[3] = host
		return netip.AddrFrom4(a)
	}
	on := func(network string, p netip.Prefix, host byte) topology.Interface {
		return topology.Interface{Network: network, Addr: netip.PrefixFrom(at(p, host), p.Bits())}
	}
	hosts := map[string]netip.Addr{"alice": at(left, 10), "router": at(left, 2), "server": at(right, 10)}
	p := &topology.Plan{
		Lab: lab, File: "test.yaml", Speed: 2,
		Networks: []topology.PlannedNetwork{
			{Name: "left", Prefix: left, Reserved: at(left, 254)},
			{Name: "right", Prefix: right, Reserved: at(right, 254)},
		},
		Nodes: []topology.NodeSpec{
			{Name: "alice", Kind: "client", Interfaces: []topology.Interface{on("left", left, 10)},
				Routes: []topology.Route{{Dst: right, Via: at(left, 2)}}, Settings: json.RawMessage(`{}`)},
			{Name: "router", Kind: "router", Interfaces: []topology.Interface{on("left", left, 2), on("right", right, 2)},
				Needs: topology.Needs{Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}}, Settings: json.RawMessage(`{}`)},
			{Name: "server", Kind: "server", Interfaces: []topology.Interface{on("right", right, 10)},
				Routes: []topology.Route{{Dst: left, Via: at(right, 2)}}, Settings: json.RawMessage(`{"listen":80}`),
				Needs: topology.Needs{CA: true}, CA: &topology.Authority{CertPEM: "certificate\n", KeyPEM: "key\n"}},
		},
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		n.Lab, n.Source, n.File, n.Speed, n.Hosts = lab, "test", p.File, p.Speed, hosts
		if n.CA == nil {
			n.CA = &topology.Authority{CertPEM: "certificate\n"}
		}
	}
	t.Cleanup(func() { cleanUp(t, e, lab) })
	return p
}

// freePrefixes returns ranges in 10.0.0.0/8 that no network of the engine has.
func freePrefixes(t testing.TB, e *Engine, n int) []netip.Prefix {
	t.Helper()
	taken, err := e.taken(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var free []netip.Prefix
	for len(free) < n {
		var b [2]byte
		_, _ = rand.Read(b[:]) // never fails
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100 + b[0]%100, b[1], 0}), 24)
		if !slices.ContainsFunc(taken, func(o topology.PlannedNetwork) bool { return o.Prefix.Overlaps(p) }) &&
			!slices.ContainsFunc(free, p.Overlaps) {
			free = append(free, p)
		}
	}
	return free
}

func cleanUp(t testing.TB, e *Engine, lab string) {
	err := e.Down(context.WithoutCancel(t.Context()), lab, nil)
	if err != nil && !errors.Is(err, engine.ErrNoLab) {
		t.Errorf("clean up: %v", err)
	}
}

// clone returns a plan that can be changed.
func clone(p *topology.Plan) *topology.Plan {
	c := *p
	c.Networks, c.Nodes = slices.Clone(p.Networks), slices.Clone(p.Nodes)
	return &c
}

func mustUp(t testing.TB, e *Engine, p *topology.Plan) engine.Changes {
	t.Helper()
	changes, err := e.Up(t.Context(), p, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func mustOpen(t testing.TB, e *Engine, name string) engine.Lab {
	t.Helper()
	l, err := e.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ask attaches to a node and asks it one thing.
func ask[T any](t testing.TB, l engine.Lab, node, method string, params any) (T, error) {
	t.Helper()
	var result T
	stream, err := l.Attach(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	conn := control.NewConn(node, stream, nil)
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = conn.Call(ctx, method, params, &result)
	return result, err
}

func mustAsk[T any](t testing.TB, l engine.Lab, node, method string, params any) T {
	t.Helper()
	result, err := ask[T](t, l, node, method, params)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// left lists what the engine holds of a lab, by its labels and by its name.
func left(t testing.TB, e *Engine, lab string) []string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	found := make(map[string]bool)
	containers, err := e.client.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers {
		if c.Labels[labelLab] == lab || slices.ContainsFunc(c.Names, func(n string) bool { return strings.HasPrefix(n, "/wslab_"+lab+"_") }) {
			found["container "+c.Names[0]] = true
		}
	}
	networks, err := e.client.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		if n.Labels[labelLab] == lab || strings.HasPrefix(n.Name, "wslab_"+lab+"_") {
			found["network "+n.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// imagesOf lists the images made from the binary, tagged or not. Those of other
// processes on the engine are not ours to look at.
func imagesOf(t testing.TB, e *Engine, binary string) []string {
	t.Helper()
	root, err := newRootfs(binary, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := root.tag()
	if err != nil {
		t.Fatal(err)
	}
	images, err := e.client.ImageList(context.WithoutCancel(t.Context()), image.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", labelImage+"=test")),
	})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, i := range images {
		if len(i.RepoTags) == 0 || slices.Contains(i.RepoTags, imageName+":"+tag) {
			found = append(found, fmt.Sprint(i.ID, i.RepoTags))
		}
	}
	return found
}

func nothingLeft(t testing.TB, e *Engine, lab string) {
	t.Helper()
	if l := left(t, e, lab); len(l) > 0 {
		t.Errorf("left: %s", strings.Join(l, ", "))
	}
	if images := imagesOf(t, e, e.binary); len(images) > 0 {
		t.Errorf("left: images %s", strings.Join(images, ", "))
	}
}
