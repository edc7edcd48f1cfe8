package netns

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/topology"
)

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
			e := newEngine(b)
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

// BenchmarkCommand brings real labs up with the command, as a user does: corporate, and
// generated ones of a client, a firewall and many servers. ms/ready is what the command
// says, ms/command its whole time with the clients' walks, CPU-ms/node the processor
// time of all processes of the lab until then.
func BenchmarkCommand(b *testing.B) {
	e := newEngine(b)
	generated := func(n int) string {
		file := filepath.Join(b.TempDir(), "lab.yaml")
		if err := os.WriteFile(file, []byte(labFile(n)), 0o600); err != nil {
			b.Fatal(err)
		}
		return file
	}
	for _, lab := range []struct {
		name, arg string
		nodes     int
	}{{"corporate", "corporate", 7}, {"100", generated(100), 100}, {"1000", generated(1000), 1000}} {
		b.Run(lab.name, func(b *testing.B) {
			var ready, whole, cpu, memory float64
			for b.Loop() {
				start := time.Now()
				cmd := exec.Command(e.binary, "--engine", "netns", "--format", "json", "up", lab.arg, "--name", "bench")
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil {
					b.Fatalf("%v\n%s", err, stderr.Bytes())
				}
				whole += time.Since(start).Seconds()
				var said struct {
					Ready float64 `json:"ready_s"`
				}
				if err := json.Unmarshal(out, &said); err != nil {
					b.Fatal(err)
				}
				ready += said.Ready
				memory = proportionalMB(b, e.binary)
				cpu += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() + processorTime(b, e.binary)
				if err := e.Down(context.Background(), "bench", nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(ready*1000/float64(b.N), "ms/ready")
			b.ReportMetric(whole*1000/float64(b.N), "ms/command")
			b.ReportMetric(cpu*1000/float64(b.N*lab.nodes), "CPU-ms/node")
			b.ReportMetric(memory/float64(lab.nodes), "MB/node")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// labFile is a lab of n nodes on two networks, or more of 200 nodes each.
func labFile(n int) string {
	servers := n - 2
	perNetwork := min(200, (servers+1)/2)
	var networks []string
	var nodes strings.Builder
	for i := range servers {
		network := fmt.Sprintf("lan%d", i/perNetwork)
		if i%perNetwork == 0 {
			networks = append(networks, network)
		}
		fmt.Fprintf(&nodes, "  s%d: { kind: server, on: [%s] }\n", i, network)
	}
	var text strings.Builder
	text.WriteString("name: generated\nnetworks:\n")
	for i, network := range networks {
		fmt.Fprintf(&text, "  %s: 10.%d.0.0/24\n", network, i+1)
	}
	fmt.Fprintf(&text, "nodes:\n  alice: { kind: client, on: [lan0] }\n  firewall: { kind: firewall, on: [%s], allow: [tcp/443] }\n%s",
		strings.Join(networks, ", "), nodes.String())
	return text.String()
}

// processorTime adds up the processor time of the processes that run the binary, in seconds.
func processorTime(b *testing.B, binary string) float64 {
	b.Helper()
	const ticks = 100 // a second; USER_HZ of every architecture that labs run on
	total := 0
	for _, d := range processes(b, binary) {
		stat, err := os.ReadFile(filepath.Join(d, "stat"))
		if err != nil {
			continue // it has just ended
		}
		// Behind the name in brackets: state is field 3, utime and stime are 14 and 15.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, f := range fields[11:13] {
			n, err := strconv.Atoi(f)
			if err != nil {
				b.Fatal(err)
			}
			total += n
		}
	}
	return float64(total) / ticks
}

// processes are the directories in /proc of those that run the binary.
func processes(b *testing.B, binary string) []string {
	b.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	return slices.DeleteFunc(dirs, func(d string) bool {
		exe, err := os.Readlink(filepath.Join(d, "exe"))
		return err != nil || exe != binary
	})
}

// mininet measures the same number of hosts on Linux bridges, up and down, in the
// same run, where Mininet and bridge-utils are installed. It does so in a network
// namespace of its own: nothing that it makes or cleans up is anybody else's.
func mininet(b *testing.B, n int, ours time.Duration) {
	if os.Geteuid() != 0 || n > 100 { // it takes minutes for a thousand
		return
	}
	cmd := exec.Command("/usr/bin/python3", "testdata/mininet_peer.py", strconv.Itoa(n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.Logf("mininet (Debian: mininet bridge-utils): %v\n%s", err, stderr.Bytes())
		return
	}
	var up, down float64
	if _, err := fmt.Sscan(string(out), &up, &down); err != nil {
		b.Fatalf("mininet: %v\n%s", err, out)
	}
	b.ReportMetric((up+down)*1000, "ms/mininet-up-and-down")
	b.ReportMetric(ours.Seconds()/(up+down), "ratio")
}

// proportionalMB adds up the memory of the processes that run the binary.
func proportionalMB(b *testing.B, binary string) float64 {
	b.Helper()
	kb := 0
	for _, d := range processes(b, binary) {
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
