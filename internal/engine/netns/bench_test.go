package netns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/topology"
)

// benchEngine is an engine with the real command as its binary.
func benchEngine(b *testing.B) *Engine {
	b.Helper()
	dir := b.TempDir()
	binary := filepath.Join(dir, "wslab")
	build := exec.Command("go", "build", "-o", binary, "../../../cmd/wslab")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	b.Setenv("XDG_RUNTIME_DIR", dir)
	e, err := New(Options{Binary: binary})
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Probe(b.Context()); err != nil {
		b.Skip(err)
	}
	return e
}

// servers is a lab of n servers on networks of a thousand at the most: a bridge
// of Linux has 1024 ports.
func servers(n int) *topology.Plan {
	p := &topology.Plan{Lab: "bench", Speed: 1}
	const perNetwork = 1000
	for i := range n {
		network := i / perNetwork
		name := fmt.Sprintf("net%d", network)
		if i%perNetwork == 0 {
			p.Networks = append(p.Networks, topology.PlannedNetwork{
				Name: name, Prefix: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/22", network)),
			})
		}
		host := i%perNetwork + 2
		p.Nodes = append(p.Nodes, topology.NodeSpec{
			Lab: "bench", Name: fmt.Sprintf("s%d", i), Kind: "server", Speed: 1,
			Settings: json.RawMessage(`{"http_port":80,"https_port":0}`),
			Interfaces: []topology.Interface{{
				Network: name,
				Addr:    netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.%d/22", network, host/256, host%256)),
			}},
		})
	}
	return p
}

// BenchmarkUp brings labs of many nodes up and down. ms/up ends with the readiness
// of the last node; MB/node is the proportional set size (proc(5), smaps_rollup).
func BenchmarkUp(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			e := benchEngine(b)
			plan := servers(n)
			var up, down time.Duration
			var memory float64
			for b.Loop() {
				start := time.Now()
				if _, err := e.Up(b.Context(), plan, nil); err != nil {
					b.Fatal(err)
				}
				ready := time.Now()
				memory = proportionalMB(b, e.binary) / float64(n)
				stop := time.Now()
				if err := e.Down(context.Background(), plan.Lab, nil); err != nil {
					b.Fatal(err)
				}
				up, down = up+ready.Sub(start), down+time.Since(stop)
			}
			b.ReportMetric(float64(up.Milliseconds())/float64(b.N), "ms/up")
			b.ReportMetric(float64(down.Milliseconds())/float64(b.N), "ms/down")
			b.ReportMetric(memory, "MB/node")
			b.ReportMetric(0, "ns/op")
			mininet(b, n, up/time.Duration(b.N)+down/time.Duration(b.N))
		})
	}
}

// mininet measures the same number of hosts on one Linux bridge, up and down, in
// the same run, where Mininet is installed.
func mininet(b *testing.B, n int, ours time.Duration) {
	mn, err := exec.LookPath("mn")
	if err != nil || n > 100 || os.Geteuid() != 0 {
		return
	}
	start := time.Now()
	cmd := exec.Command(mn, "--switch", "lxbr", "--controller", "none", "--topo", "single,"+strconv.Itoa(n), "--test", "none")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Logf("mininet: %v\n%s", err, out)
		return
	}
	theirs := time.Since(start)
	b.ReportMetric(float64(theirs.Milliseconds()), "ms/mininet-up-and-down")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
}

// proportionalMB adds up the memory of the processes that run the binary.
func proportionalMB(b *testing.B, binary string) float64 {
	b.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	kb := 0
	for _, d := range dirs {
		if exe, err := os.Readlink(filepath.Join(d, "exe")); err != nil || exe != binary {
			continue
		}
		rollup, err := os.ReadFile(filepath.Join(d, "smaps_rollup"))
		if err != nil {
			continue // it has just ended
		}
		for line := range strings.Lines(string(rollup)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				size, err := strconv.Atoi(strings.Fields(rest)[0])
				if err != nil {
					b.Fatal(err)
				}
				kb += size
			}
		}
	}
	return float64(kb) / 1024
}
