package main

import (
	"bufio"
	"cmp"
	wire "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// connectionsVariable makes the test binary a client that opens WebSockets, as a [target] says.
const connectionsVariable = "WSLAB_TEST_CONNECTIONS"

// Bounds of the client.
const (
	// doors is how many connections are opened at the same time.
	doors = 64
	// openPatience is how long one of them may take to be opened, pongPatience how long a
	// pong may take.
	openPatience = 15 * time.Second
	pongPatience = 30 * time.Second
	// pingRound is the time in which every connection pings once.
	pingRound = 30 * time.Second
)

// opened is what the client says once its connections are open.
type opened struct {
	Open int     `json:"open"`
	Took float64 `json:"took"`
	// Stopped is why there are no more, "" if there are as many as were asked for.
	Stopped string `json:"stopped,omitempty"`
}

// pinged is what the client says once every connection has pinged.
type pinged struct {
	// Times until the pongs came, in milliseconds.
	Times []float64 `json:"times"`
	// Failed is what became of one that got no pong.
	Failed string `json:"failed,omitempty"`
}

// target is what a client opens.
type target struct {
	Connections int `json:"connections"`
	// Proxies and Servers that share them.
	Proxies []string `json:"proxies"`
	Servers []string `json:"servers"`
}

// way is through which proxy to which server a connection goes. Neighbours take turns at both.
func (t target) way(i int) (proxy, server string) {
	return t.Proxies[i%len(t.Proxies)], t.Servers[i/len(t.Proxies)%len(t.Servers)]
}

// runConnections opens connections through the lab's CONNECT proxies, says so, waits for a line,
// lets every connection ping once, says how long that took, and ends.
func runConnections(text string) error {
	var t target
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	start := time.Now()
	conns, err := openAll(t)
	out := json.NewEncoder(os.Stdout)
	o := opened{Open: len(conns), Took: time.Since(start).Seconds()}
	if err != nil {
		o.Stopped = err.Error()
	}
	if err := out.Encode(o); err != nil {
		return err
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	return out.Encode(pingAll(conns))
}

// openAll opens connections until there are all, or one fails.
func openAll(t target) ([]net.Conn, error) {
	var (
		mu     sync.Mutex
		conns  = make([]net.Conn, 0, t.Connections)
		failed error
		next   atomic.Int64
		all    sync.WaitGroup
	)
	for range doors {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= t.Connections {
					return
				}
				c, err := openOne(t.way(i))
				mu.Lock()
				if err == nil {
					conns = append(conns, c)
				}
				failed = cmp.Or(failed, err)
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	all.Wait()
	return conns, failed
}

// openOne goes through the proxy and opens a WebSocket.
func openOne(proxy, server string) (_ net.Conn, err error) {
	dialer := net.Dialer{Timeout: openPatience, KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	c, err := dialer.Dial("tcp", proxy+":3128")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	_ = c.SetDeadline(time.Now().Add(openPatience))
	for _, step := range []struct{ request, status string }{
		{fmt.Sprintf("CONNECT %s:80 HTTP/1.1\r\nHost: %s:80\r\n\r\n", server, server), "HTTP/1.1 200"},
		{"GET / HTTP/1.1\r\nHost: " + server + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "HTTP/1.1 101"},
	} {
		if _, err := io.WriteString(c, step.request); err != nil {
			return nil, err
		}
		head, err := readHead(c)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(head, step.status) {
			status, _, _ := strings.Cut(head, "\r\n")
			return nil, fmt.Errorf("%s answered through %s with %q instead of %s", server, proxy, status, step.status)
		}
	}
	return c, c.SetDeadline(time.Time{})
}

// readHead reads up to an empty line and nothing of what follows it.
func readHead(c net.Conn) (string, error) {
	var head []byte
	for !strings.HasSuffix(string(head), "\r\n\r\n") {
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil {
			return string(head), err
		}
		head = append(head, b[0])
	}
	return string(head), nil
}

// pingAll lets the connections ping one after another, all of them in a pingRound.
func pingAll(conns []net.Conn) pinged {
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	times, errs := make([]float64, len(conns)), make([]error, len(conns))
	var all sync.WaitGroup
	var next atomic.Int64
	start := time.Now()
	for range doors {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(conns) {
					return
				}
				time.Sleep(time.Until(start.Add(pingRound * time.Duration(i) / time.Duration(len(conns)))))
				times[i], errs[i] = ping(conns[i], uint64(i))
			}
		})
	}
	all.Wait()
	var p pinged
	for i, err := range errs {
		if err == nil {
			p.Times = append(p.Times, times[i])
		} else if p.Failed == "" {
			p.Failed = err.Error()
		}
	}
	return p
}

// ping sends a ping and returns after how many milliseconds its pong came (RFC 6455, section 5.5).
func ping(c net.Conn, n uint64) (float64, error) {
	frame := wire.BigEndian.AppendUint64([]byte{0x89, 0x88, 0, 0, 0, 0}, n) // a masking key of zeros
	start := time.Now()
	_ = c.SetDeadline(start.Add(pongPatience))
	if _, err := c.Write(frame); err != nil {
		return 0, err
	}
	var pong [10]byte
	if _, err := io.ReadFull(c, pong[:]); err != nil {
		return 0, err
	}
	if pong[0] != 0x8a || pong[1] != 8 || wire.BigEndian.Uint64(pong[2:]) != n {
		return 0, fmt.Errorf("% x is no pong", pong)
	}
	return time.Since(start).Seconds() * 1000, nil
}

// spare is how many files a process keeps for what is no connection.
const spare = 500

// connectionsLab is a NAT between CONNECT proxies and servers: one of each, or as many as it
// takes, where a process may not have enough files. clients is how many processes it takes.
func connectionsLab(n, files int) (lab string, t target, clients int) {
	most := files - spare
	need := func(each int) int { return (n*each + most - 1) / most }
	var b strings.Builder
	b.WriteString(`
name: connections
networks:
  office:   10.20.0.0/24
  isp:      100.64.0.0/24
  internet: 203.0.113.0/24
nodes:
  alice: { kind: client, on: [office] }
  nat:   { kind: nat, on: [isp, internet], idle_timeout: 1h }
`)
	for i := range need(2) { // a file towards the client, and one towards the server
		t.Proxies = append(t.Proxies, fmt.Sprintf("http-proxy-%d", i+1))
		fmt.Fprintf(&b, "  %s: { kind: proxy, on: [office, isp], protocol: http, allow_connect: [80, 443] }\n", t.Proxies[i])
	}
	for i := range need(1) {
		t.Servers = append(t.Servers, fmt.Sprintf("server-%d", i+1))
		fmt.Fprintf(&b, "  %s: { kind: server, on: [internet] }\n", t.Servers[i])
	}
	return b.String(), t, need(1)
}

// BenchmarkConnections opens WebSockets through a CONNECT proxy and a NAT, keeps them open, lets each
// ping once in 30 s, and reports how many were open, what memory each takes in the processes of the
// nodes (resident) and in the kernel (slab of the machine, the client's socket included), and
// how long a ping took. It stops by itself; where there are fewer than asked for it says why.
//
// Each connection is one file at the client and the server and two at the proxy; one address
// of the lab opens no more than 64511 to another. It raises both limits as far as it may, and
// where a process may not have enough files it takes several proxies, servers and clients.
func BenchmarkConnections(b *testing.B) {
	files := raiseFiles(b)
	for _, n := range []int{10_000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				connections(b, n, files)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// raiseFiles lets processes have as many files as the kernel allows, where this user may, and
// returns how many that is.
func raiseFiles(b *testing.B) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	asked := syscall.Rlimit{Cur: 1 << 20, Max: max(limit.Max, 1<<20)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &asked) == nil {
		return int(asked.Cur)
	}
	// It takes CAP_SYS_RESOURCE to raise what the administrator has set.
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	return int(limit.Cur)
}

// connections does it once.
func connections(b *testing.B, n, files int) {
	r := newNetnsRig(b)
	lab, t, clients := connectionsLab(n, files)
	file := filepath.Join(r.dir, "lab.yaml")
	if err := os.WriteFile(file, []byte(lab), 0o600); err != nil {
		b.Fatal(err)
	}
	r.must("up", file)
	for _, node := range append([]string{"alice"}, t.Proxies...) {
		r.must("exec", node, "--", "sh", "-c", "echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range")
	}
	kinds := []string{"proxy", "nat", "server"}
	before, slab := memory(b, r, kinds), slabKB(b)

	all := make([]*connectionsClient, clients)
	for i := range all {
		share := t
		share.Connections = n*(i+1)/clients - n*i/clients
		all[i] = startClient(b, r, share)
		defer all[i].end()
	}
	var open int
	var took float64
	for _, c := range all {
		o := answer[opened](b, c)
		if o.Stopped != "" {
			b.Logf("it stops: %s", o.Stopped)
		}
		open, took = open+o.Open, max(took, o.Took)
	}
	if open == 0 {
		b.FailNow()
	}
	after := memory(b, r, kinds)
	b.ReportMetric(float64(open), "open")
	b.ReportMetric(float64(open)/took, "opened/s")
	b.ReportMetric(float64(len(t.Proxies)), "proxies")
	for _, kind := range kinds {
		b.ReportMetric((after[kind]-before[kind])/float64(open), kind+"-KB/conn")
	}
	b.ReportMetric((slabKB(b)-slab)/float64(open), "kernel-KB/conn")

	for _, c := range all {
		if _, err := io.WriteString(c.stdin, "\n"); err != nil {
			b.Fatal(err)
		}
	}
	var times []float64
	for _, c := range all {
		p := answer[pinged](b, c)
		if p.Failed != "" {
			b.Errorf("not all pings were answered: %s", p.Failed)
		}
		times = append(times, p.Times...)
		c.end()
	}
	slices.Sort(times)
	if len(times) > 0 {
		b.ReportMetric(times[len(times)/2], "ping-ms")
		b.ReportMetric(times[len(times)*99/100], "ping-p99-ms")
		b.ReportMetric(times[len(times)-1], "ping-most-ms")
	}
	r.must("down")
	r.awaitNone()
}

// connectionsClient is a process that has connections.
type connectionsClient struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *json.Decoder
}

func startClient(b *testing.B, r *netnsRig, t target) *connectionsClient {
	b.Helper()
	text, err := json.Marshal(t)
	if err != nil {
		b.Fatal(err)
	}
	c := &connectionsClient{cmd: r.command("exec", "alice", "--", "env", connectionsVariable+"="+string(text), os.Args[0])}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	c.answers, c.cmd.Stderr = json.NewDecoder(stdout), os.Stderr
	if err := c.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return c
}

// answer waits for what the client says next.
func answer[T any](b *testing.B, c *connectionsClient) (a T) {
	b.Helper()
	if err := c.answers.Decode(&a); err != nil {
		b.Fatalf("the client ended: %v", err)
	}
	return a
}

// end ends the client, which may have ended.
func (c *connectionsClient) end() {
	_ = c.stdin.Close()
	_ = c.cmd.Wait()
}

// memory is what the processes of nodes have resident by kind, in KB (proc(5), status).
func memory(b *testing.B, r *netnsRig, kinds []string) map[string]float64 {
	b.Helper()
	all := make(map[string]float64)
	for _, p := range r.processes() {
		pid, _, _ := strings.Cut(p, " ")
		environ, err := os.ReadFile(filepath.Join("/proc", pid, "environ"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
		for _, kind := range kinds {
			if strings.Contains(string(environ), `"kind":"`+kind+`"`) {
				all[kind] += field(b, filepath.Join("/proc", pid, "status"), "VmRSS:")
			}
		}
	}
	for _, kind := range kinds {
		if all[kind] == 0 {
			b.Fatalf("no process of a %s", kind)
		}
	}
	return all
}

// slabKB is the kernel's own memory that cannot be taken away from it.
func slabKB(b *testing.B) float64 { return field(b, "/proc/meminfo", "SUnreclaim:") }

// field reads a figure of a file of /proc.
func field(b *testing.B, file, key string) float64 {
	b.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == key {
			n, err := strconv.ParseFloat(words[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("%s has no %s", file, key)
	return 0
}
