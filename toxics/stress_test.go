package toxics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/wslab/wslab/topology"
)

// harmless are toxics that delay and cut but lose nothing.
var harmless = []topology.ToxicSpec{
	{Type: "latency", Attributes: json.RawMessage(`{"latency": 3000000, "jitter": 2000000}`)},
	{Type: "bandwidth", Attributes: json.RawMessage(`{"rate": 20000}`)},
	{Type: "slow_close", Attributes: json.RawMessage(`{"delay": 5000000}`)},
	{Type: "slicer", Attributes: json.RawMessage(`{"average_size": 700, "size_variation": 300, "delay": 10000}`)},
	{Type: "limit_data", Attributes: json.RawMessage(`{"bytes": 1000000000000}`)},
	{Type: "nat_idle_timeout", Attributes: json.RawMessage(`{"timeout": 3600000000000}`)},
	{Type: "reset", Attributes: json.RawMessage(`{"after": 3600000000000}`)},
	{Type: "idle_close", Attributes: json.RawMessage(`{"timeout": 3600000000000}`)},
	{Type: "max_lifetime", Attributes: json.RawMessage(`{"lifetime": 3600000000000}`)},
	{Type: "latency_dist", Attributes: json.RawMessage(`{"distribution": "pareto", "latency": 1000000, "deviation": 1000000}`)},
	{Type: "ws_frames", Attributes: json.RawMessage(`{"opcodes": ["text"]}`)},
	{Type: "http_reply", Attributes: json.RawMessage(`{}`)},
	{Type: "reset_peer", Attributes: json.RawMessage(`{"timeout": 3600000000000}`)},
}

// change does one operation on the chain that op tells, of toxics that lose nothing.
func change(t testing.TB, chain *Chain, op byte) {
	t.Helper()
	kinds := len(harmless) - 1 // reset_peer drops data
	s := harmless[int(op>>2)%kinds]
	s.Stream = []string{"upstream", "downstream"}[int(op>>5)&1]
	s.Name = fmt.Sprintf("%s_%d", s.Type, op>>6)
	s.Toxicity = 1
	switch op & 3 {
	case 0, 1:
		_, _ = chain.Add(s) // a duplicate is refused
	case 2:
		if list := chain.List(); len(list) > 0 {
			if _, err := chain.Remove(list[int(op>>2)%len(list)].Name); err != nil {
				t.Errorf("remove: %v", err)
			}
		}
	case 3:
		if list := chain.List(); len(list) > 0 {
			if _, err := chain.Update(list[int(op>>2)%len(list)]); err != nil {
				t.Errorf("update: %v", err)
			}
		}
	}
}

// exchange sends data both ways over a path and checks that all of it comes, then the end.
func exchange(p *path, up, down []byte) error {
	results := make(chan error, 4)
	send := func(c *net.TCPConn, data []byte) {
		for len(data) > 0 {
			n := min(len(data), 1+rand.IntN(40<<10))
			if _, err := c.Write(data[:n]); err != nil {
				results <- err
				return
			}
			data = data[n:]
		}
		results <- c.CloseWrite()
	}
	receive := func(c *net.TCPConn, want []byte) {
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("%d bytes came, %d were sent, and they differ", len(got), len(want))
		}
		results <- err
	}
	go send(p.client, up)
	go send(p.server, down)
	go receive(p.client, down)
	go receive(p.server, up)
	var first error
	for range 4 {
		if err := <-results; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func TestNoByteIsLostWhileToxicsComeAndGo(t *testing.T) {
	chain := NewChain(1)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				change(t, chain, byte(rand.IntN(256)))
			}
		}
	}()
	const rounds, side = 4, 4
	for range rounds {
		errs := make(chan error, side)
		for i := range side {
			p := newPath(t, chain, 0)
			go func() {
				err := exchange(p, pattern(1<<20+i), pattern(700_000+i))
				if err == nil {
					if o := <-p.outcome; o.Reset || o.Err != nil || o.Upstream != int64(1<<20+i) {
						err = fmt.Errorf("outcome %+v", o)
					}
				}
				errs <- err
			}()
		}
		for range side {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	<-stopped
}

// Any two toxics that lose nothing, in either order, on connections that are open, removed in
// either order: all bytes come, then the end.
func TestEveryTwoToxics(t *testing.T) {
	kinds := harmless[:len(harmless)-1] // reset_peer drops data
	for _, first := range kinds {
		t.Run(first.Type, func(t *testing.T) {
			for i, second := range kinds {
				a, b := first, second
				a.Name, b.Name, a.Toxicity, b.Toxicity = "a", "b", 1, 1
				a.Stream, b.Stream = "upstream", []string{"upstream", "downstream"}[i%2]
				for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
					chain := NewChain(1)
					p := newPath(t, chain, 0)
					result := make(chan error, 1)
					go func() { result <- exchange(p, pattern(150_000), pattern(100_000)) }()
					add(t, chain, a)
					add(t, chain, b)
					for _, name := range order {
						if _, err := chain.Remove(name); err != nil {
							t.Fatal(err)
						}
					}
					if err := <-result; err != nil {
						t.Fatalf("with %s, removed %v: %v", b.Type, order, err)
					}
					if o := p.wait(t); o.Reset || o.Err != nil {
						t.Fatalf("with %s, removed %v: %+v", b.Type, order, o)
					}
				}
			}
		})
	}
}

// TestChaos ends pairs in every way while toxics of every type come and go: nothing
// may hang, panic or leak.
func TestChaos(t *testing.T) {
	chain := NewChain(1)
	for range 60 {
		p := newPath(t, chain, time.Duration(rand.IntN(3))*20*time.Millisecond)
		writing := make(chan struct{}, 2)
		for _, c := range []*net.TCPConn{p.client, p.server} {
			go func() {
				_ = c.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
				_, _ = c.Write(pattern(rand.IntN(4 << 20)))
				writing <- struct{}{}
			}()
		}
		for range rand.IntN(12) {
			s := harmless[rand.IntN(len(harmless))]
			if rand.IntN(3) == 0 {
				s = []topology.ToxicSpec{
					spec("timeout", "", `{"timeout": 2000000}`),
					spec("reset", "", `{"after": 3000000}`),
					spec("reset_peer", "", `{"timeout": 1000000}`),
					spec("limit_data", "", `{"bytes": 100000}`),
					spec("nat_idle_timeout", "", `{"timeout": 1000000}`),
					spec("nat_idle_timeout", "", `{"timeout": 1000000, "on_expiry": "reset"}`),
					spec("idle_close", "", `{"timeout": 1000000}`),
					spec("max_lifetime", "", `{"lifetime": 2000000}`),
					spec("blackhole", "", `{}`),
					spec("blackhole", "", `{"on_heal": "deliver"}`),
				}[rand.IntN(10)]
			}
			s.Toxicity = float64(rand.IntN(3)) / 2
			s.Stream = []string{"upstream", "downstream"}[rand.IntN(2)]
			_, _ = chain.Add(s)
			if rand.IntN(3) == 0 {
				for _, s := range chain.List() {
					_, _ = chain.Update(s)
				}
			}
			if rand.IntN(2) == 0 {
				for _, s := range chain.List() {
					_, _ = chain.Remove(s.Name)
				}
			}
		}
		switch rand.IntN(6) {
		case 0:
			p.cancel()
		case 1:
			_ = p.client.SetLinger(0)
			_ = p.client.Close()
		case 2:
			_ = p.client.CloseWrite()
			_ = p.server.CloseWrite()
		case 3:
			chain.Reset()
		case 4:
			_ = p.server.Close()
		case 5:
			go func() { _, _ = io.Copy(io.Discard, p.server) }()
			go func() { _, _ = io.Copy(io.Discard, p.client) }()
		}
		<-writing
		<-writing
		p.cancel()
		p.wait(t)
		for _, s := range chain.List() {
			if _, err := chain.Remove(s.Name); err != nil {
				t.Error(err)
			}
		}
	}
}

// FuzzOperations changes toxics in any order while bytes flow; all must come.
func FuzzOperations(f *testing.F) {
	f.Add([]byte{0, 4, 2, 8, 3, 12, 2, 2})
	f.Add([]byte{0, 32, 64, 96, 128, 2, 6, 10, 14})
	f.Add([]byte("add, remove, add"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		chain := NewChain(1)
		p := newPath(t, chain, 0)
		result := make(chan error, 1)
		go func() { result <- exchange(p, pattern(200_000), pattern(100_000)) }()
		for _, op := range ops[:min(len(ops), 64)] {
			change(t, chain, op)
		}
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		p.wait(t)
	})
}
