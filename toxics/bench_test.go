package toxics

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wslab/wslab/topology"
)

// relayVariable makes the test binary a relay in front of that address, with the toxics
// of toxicsVariable; sinkVariable makes it a sink.
const (
	sinkVariable   = "WSLAB_TOXICS_SINK"
	relayVariable  = "WSLAB_TOXICS_RELAY"
	toxicsVariable = "WSLAB_TOXICS"
)

func serveRelay(upstream string) error {
	chain := NewChain(1)
	var specs []topology.ToxicSpec
	if text := os.Getenv(toxicsVariable); text != "" {
		if err := json.Unmarshal([]byte(text), &specs); err != nil {
			return err
		}
	}
	for _, s := range specs {
		s.Toxicity = 1
		if _, err := chain.Add(s); err != nil {
			return err
		}
	}
	return serveProcess(func(c net.Conn) {
		s, err := net.Dial("tcp", upstream)
		if err != nil {
			_ = c.Close()
			return
		}
		chain.Pipe(context.Background(), c, s, Options{})
	})
}

// serveProcess prints where it listens, and serves until its standard input ends.
func serveProcess(serve func(net.Conn)) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() { // ends with its parent
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go serve(c)
	}
}

// carrier is something that carries connections to the sink.
type carrier struct {
	name string
	addr string
	pid  int
}

// serveSink takes connections: behind a first byte 's' and a length it swallows that much and
// answers with a byte (Toxiproxy carries no half-close), behind 'e' it echoes.
func serveSink() error {
	return serveProcess(func(c net.Conn) {
		defer func() { _ = c.Close() }()
		var what [1]byte
		if _, err := io.ReadFull(c, what[:]); err != nil {
			return
		}
		if what[0] == 'e' {
			_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 64<<10))
			return
		}
		var length [8]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		all := io.LimitReader(c, int64(binary.BigEndian.Uint64(length[:])))
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, all, make([]byte, 256<<10))
		_, _ = c.Write([]byte{'.'})
	})
}

// process starts this test binary as something else: a variable says as what. It returns
// where that listens.
func process(b *testing.B, name string, env ...string) carrier {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return carrier{name, strings.TrimSpace(line), cmd.Process.Pid}
}

// sink starts a sink in a process of its own, as a server is one.
func sink(b *testing.B) string {
	b.Helper()
	return process(b, "sink", sinkVariable+"=1").addr
}

// ours starts this package's chain in a process of its own.
func ours(b *testing.B, upstream string, specs []topology.ToxicSpec) carrier {
	b.Helper()
	text, err := json.Marshal(specs)
	if err != nil {
		b.Fatal(err)
	}
	return process(b, "wslab", relayVariable+"="+upstream, toxicsVariable+"="+string(text))
}

// theirs starts toxiproxy-server, built from the module that we import.
func theirs(b *testing.B, upstream string, specs []topology.ToxicSpec) carrier {
	b.Helper()
	server := filepath.Join(b.TempDir(), "toxiproxy-server")
	if out, err := exec.Command("go", "build", "-o", server, "github.com/Shopify/toxiproxy/v2/cmd/server").CombinedOutput(); err != nil {
		b.Fatalf("build toxiproxy-server: %v\n%s", err, out)
	}
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		return l.Addr().String()
	}
	api, listen := free(), free()
	_, port, _ := net.SplitHostPort(api)
	cmd := exec.Command(server, "-port", port)
	cmd.Env = append(os.Environ(), "LOG_LEVEL=fatal")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	post := func(path string, v any) {
		body, err := json.Marshal(v)
		if err != nil {
			b.Fatal(err)
		}
		for attempt := 0; ; attempt++ {
			r, err := http.Post("http://"+api+path, "application/json", bytes.NewReader(body))
			if err != nil && attempt < 200 { // it is starting
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if err != nil {
				b.Fatal(err)
			}
			text, _ := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if r.StatusCode >= 300 {
				b.Fatalf("%s: %s %s", path, r.Status, text)
			}
			return
		}
	}
	post("/proxies", map[string]any{"name": "bench", "listen": listen, "upstream": upstream, "enabled": true})
	for _, s := range specs {
		chain := NewChain(1)
		if _, err := chain.Add(s); err != nil {
			b.Fatal(err)
		}
		raw, err := json.Marshal(chain.toxics[0].impl())
		if err != nil {
			b.Fatal(err)
		}
		post("/proxies/bench/toxics", map[string]any{"type": s.Type, "name": s.Name, "stream": s.Stream, "toxicity": 1, "attributes": json.RawMessage(raw)})
	}
	return carrier{"toxiproxy", listen, cmd.Process.Pid}
}

// cpu is the processor time that a process has used, in seconds (proc(5)).
func cpu(b *testing.B, pid int) float64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	var ticks float64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return ticks / 100 // USER_HZ
}

// push sends n bytes through a carrier and returns bytes a second and the carrier's
// processor seconds for a gigabyte.
func (c carrier) push(b *testing.B, n int) (rate, perGB float64) {
	b.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	before := 0.0
	if c.pid != 0 {
		before = cpu(b, c.pid)
	}
	start := time.Now()
	if _, err := conn.Write(binary.BigEndian.AppendUint64([]byte{'s'}, uint64(n))); err != nil {
		b.Fatal(err)
	}
	buffer := make([]byte, 256<<10)
	for left := n; left > 0; left -= len(buffer) {
		if _, err := conn.Write(buffer[:min(left, len(buffer))]); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := io.ReadFull(conn, buffer[:1]); err != nil {
		b.Fatalf("%s: %v", c.name, err)
	}
	took := time.Since(start).Seconds()
	if c.pid != 0 {
		perGB = (cpu(b, c.pid) - before) / (float64(n) / 1e9)
	}
	return float64(n) / took, perGB
}

// roundTrip sends small messages on several connections at once and returns the median time of a
// round trip in microseconds.
func (c carrier) roundTrip(b *testing.B, conns, messages int) float64 {
	b.Helper()
	var all sync.WaitGroup
	errs := make(chan error, conns)
	var open []net.Conn
	for range conns {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte{'e'}); err != nil {
			b.Fatal(err)
		}
		open = append(open, conn)
	}
	times := make([][]float64, conns)
	for i, conn := range open {
		all.Go(func() {
			message := make([]byte, 100)
			for range messages {
				start := time.Now()
				if _, err := conn.Write(message); err != nil {
					errs <- err
					return
				}
				if _, err := io.ReadFull(conn, message); err != nil {
					errs <- err
					return
				}
				times[i] = append(times[i], time.Since(start).Seconds()*1e6)
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		b.Fatalf("%s: %v", c.name, err)
	default:
	}
	return median(slices.Concat(times...))
}

func median(all []float64) float64 {
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// upstreamToxic is a toxic on the way to the server.
func upstreamToxic(typ, attributes string) topology.ToxicSpec {
	return topology.ToxicSpec{Name: typ, Type: typ, Stream: "upstream", Toxicity: 1, Attributes: json.RawMessage(attributes)}
}

// BenchmarkAgainstToxiproxy carries the same load through this package and through
// toxiproxy-server, turn by turn, each in a process of its own, and reports medians and their
// ratios: MB/s, processor seconds for a gigabyte, and the microseconds that a round trip takes
// longer than without anything between: added with one connection, loaded with sixteen at once,
// which is as much as the processors can do. Without toxics there is a bare relay beside them, which
// shows how near to nothing a relay can come.
func BenchmarkAgainstToxiproxy(b *testing.B) {
	latency := upstreamToxic("latency", `{"latency": 1000000}`)
	bandwidth := upstreamToxic("bandwidth", `{"rate": 300000}`)
	slicer := upstreamToxic("slicer", `{"average_size": 1400, "size_variation": 200}`)
	for _, bench := range []struct {
		name  string
		specs []topology.ToxicSpec
		bytes int
	}{
		{"no toxics", nil, 1 << 30},
		{"latency", []topology.ToxicSpec{latency}, 1 << 29},
		{"bandwidth", []topology.ToxicSpec{bandwidth}, 1 << 28},
		{"slicer", []topology.ToxicSpec{slicer}, 1 << 27},
		{"latency, bandwidth and slicer", []topology.ToxicSpec{latency, bandwidth, slicer}, 1 << 27},
	} {
		b.Run(bench.name, func(b *testing.B) {
			upstream := sink(b)
			carriers := []carrier{{name: "direct", addr: upstream}, ours(b, upstream, bench.specs), theirs(b, upstream, bench.specs)}
			if len(bench.specs) == 0 {
				carriers = append(carriers, process(b, "bare", bareVariable+"="+upstream))
			}
			n := len(carriers)
			rates, costs, trips, loaded := make([][]float64, n), make([][]float64, n), make([][]float64, n), make([][]float64, n)
			for b.Loop() {
				for i, c := range carriers {
					rate, perGB := c.push(b, bench.bytes)
					rates[i], costs[i] = append(rates[i], rate), append(costs[i], perGB)
					trips[i] = append(trips[i], c.roundTrip(b, 1, 2000))
					loaded[i] = append(loaded[i], c.roundTrip(b, 16, 500))
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(rates[0])/1e6, "direct-MB/s")
			b.ReportMetric(median(rates[1])/1e6, "wslab-MB/s")
			b.ReportMetric(median(rates[2])/1e6, "toxiproxy-MB/s")
			b.ReportMetric(median(rates[1])/median(rates[2]), "rate-ratio")
			b.ReportMetric(median(costs[1]), "wslab-cpu-s/GB")
			b.ReportMetric(median(costs[2]), "toxiproxy-cpu-s/GB")
			b.ReportMetric(median(costs[1])/median(costs[2]), "cpu-ratio")
			for _, m := range []struct {
				name  string
				times [][]float64
			}{{"added", trips}, {"loaded", loaded}} {
				added := func(i int) float64 { return median(m.times[i]) - median(m.times[0]) }
				b.ReportMetric(added(1), "wslab-"+m.name+"-us")
				b.ReportMetric(added(2), "toxiproxy-"+m.name+"-us")
				b.ReportMetric(added(1)/added(2), m.name+"-ratio")
				if len(carriers) > 3 {
					b.ReportMetric(median(m.times[0]), "direct-"+m.name+"-us")
					b.ReportMetric(added(3)/added(2), "bare-"+m.name+"-ratio")
				}
			}
		})
	}
}
