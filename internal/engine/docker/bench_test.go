package docker

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/nodespec"
	"github.com/wslab/wslab/topology"
)

// BenchmarkUp brings a lab of four networks and ten nodes up, and in the same run
// has the docker command make and start the same containers and networks one
// after another (from an image that is there already, and without waiting for
// the nodes to be ready). ratio is wslab's time as a share of that.
func BenchmarkUp(b *testing.B) {
	e := newEngine(b, staticNode)
	command, err := exec.LookPath("docker")
	if err != nil {
		b.Skip("needs the docker command to compare with")
	}
	p := tenNodes(b, e)
	var up, down, inRow time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := e.Up(b.Context(), p, nil); err != nil {
			b.Fatal(err)
		}
		up += time.Since(start)

		start = time.Now()
		if err := e.Down(b.Context(), p.Lab, nil); err != nil {
			b.Fatal(err)
		}
		down += time.Since(start)

		inRow += commandLine(b, e, command, p)
	}
	perUp := func(d time.Duration) float64 { return float64(d.Milliseconds()) / float64(b.N) }
	b.ReportMetric(0, "ns/op") // the sum of all three says nothing
	b.ReportMetric(perUp(up), "ms/up")
	b.ReportMetric(perUp(down), "ms/down")
	b.ReportMetric(perUp(inRow), "ms/docker-in-a-row")
	b.ReportMetric(float64(up)/float64(inRow), "ratio")
}

// commandLine does with the docker command what Up does, and returns how long it took.
func commandLine(b *testing.B, e *Engine, command string, p *topology.Plan) time.Duration {
	b.Helper()
	img, err := e.newNodeImage(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := e.ensureImage(b.Context(), img); err != nil {
		b.Fatal(err)
	}
	// The label lets Down remove it all.
	label := "--label=" + labelLab + "=" + p.Lab
	docker := func(args ...string) {
		cmd := exec.Command(command, args...)
		cmd.Env = append(cmd.Environ(), "DOCKER_HOST="+e.client.DaemonHost())
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	start := time.Now()
	for _, n := range p.Networks {
		args := []string{"network", "create", label, "--subnet", n.Prefix.String(), "--gateway", n.Reserved.String()}
		for _, key := range slices.Sorted(maps.Keys(networkOptions)) {
			args = append(args, "-o", key+"="+networkOptions[key])
		}
		docker(append(args, networkName(p.Lab, n.Name))...)
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		carried, err := nodespec.Environ(*n)
		if err != nil {
			b.Fatal(err)
		}
		name := containerName(p.Lab, n.Name)
		// Where one network is enough there is one command; API 1.41 takes no more.
		first := []string{"run", "--detach"}
		if len(n.Interfaces) > 1 {
			first = []string{"create"}
		}
		args := append(first, label, "--name", name, "--interactive", "--read-only", "--cap-drop=ALL", "--cap-add=NET_ADMIN",
			"--security-opt=no-new-privileges", "--env", carried, "--dns=127.0.0.1", fmt.Sprint("--pids-limit=", pidsLimit),
			"--network", networkName(p.Lab, n.Interfaces[0].Network), "--ip", n.Interfaces[0].Addr.Addr().String())
		for key, value := range sysctls(n.Needs) {
			args = append(args, "--sysctl", key+"="+value)
		}
		for _, h := range extraHosts(n) {
			args = append(args, "--add-host", h)
		}
		docker(append(args, img.ref, binaryPath, "node")...)
		if len(n.Interfaces) == 1 {
			continue
		}
		for _, in := range n.Interfaces[1:] {
			docker("network", "connect", "--ip", in.Addr.Addr().String(), networkName(p.Lab, in.Network), name)
		}
		docker("start", name)
	}
	took := time.Since(start)
	if err := e.Down(context.WithoutCancel(b.Context()), p.Lab, nil); err != nil {
		b.Fatal(err)
	}
	return took
}

// tenNodes is a plan of the size of an office network: four clients, three
// proxies between two networks, two routers and a server.
func tenNodes(t testing.TB, e *Engine) *topology.Plan {
	t.Helper()
	p := newPlan(t, e)
	alice, router, server := p.Nodes[0], p.Nodes[1], p.Nodes[2]
	p.Networks = nil
	prefixes := freePrefixes(t, e, 4)
	at := func(k, host int) netip.Addr {
		a := prefixes[k].Addr().As4()
		a[3] = byte(host)
		return netip.AddrFrom4(a)
	}
	for k, name := range []string{"office", "dmz", "isp", "internet"} {
		p.Networks = append(p.Networks, topology.PlannedNetwork{Name: name, Prefix: prefixes[k], Reserved: at(k, 254)})
	}
	p.Nodes = nil
	add := func(n topology.NodeSpec, name string, on ...int) {
		n.Name, n.Routes, n.Interfaces = name, nil, nil
		for _, k := range on {
			n.Interfaces = append(n.Interfaces, topology.Interface{
				Network: p.Networks[k].Name, Addr: netip.PrefixFrom(at(k, 10+len(p.Nodes)), 24),
			})
		}
		p.Nodes = append(p.Nodes, n)
	}
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		add(alice, name, 0)
	}
	for _, name := range []string{"http-proxy", "socks-proxy", "app-proxy"} {
		add(alice, name, 0, 1)
	}
	add(router, "firewall", 1, 2)
	add(router, "nat", 2, 3)
	add(server, "server", 3)
	hosts := make(map[string]netip.Addr)
	for _, n := range p.Nodes {
		hosts[n.Name] = n.Interfaces[0].Addr.Addr()
	}
	for i := range p.Nodes {
		p.Nodes[i].Hosts = hosts
	}
	return p
}
