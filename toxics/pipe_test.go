package toxics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wslab/wslab/topology"
)

func TestMain(m *testing.M) {
	if upstream := os.Getenv(relayVariable); upstream != "" {
		if err := serveRelay(upstream); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if upstream := os.Getenv(bareVariable); upstream != "" {
		if err := serveBare(upstream); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if os.Getenv(sinkVariable) != "" {
		if err := serveSink(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// path is a client and a server with a pipe between them.
type path struct {
	chain          *Chain
	client, server *net.TCPConn
	outcome        chan Outcome
	cancel         context.CancelFunc
	fired          chan string
}

func tcpPair(t testing.TB) (dialled, accepted *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(); _ = a.Close() })
	return d.(*net.TCPConn), a.(*net.TCPConn)
}

func newPath(t testing.TB, chain *Chain, idle time.Duration) *path {
	t.Helper()
	client, left := tcpPair(t)
	right, server := tcpPair(t)
	ctx, cancel := context.WithCancel(context.Background())
	p := &path{chain, client, server, make(chan Outcome, 1), cancel, make(chan string, 16)}
	open := chain.Pairs()
	go func() {
		p.outcome <- chain.Pipe(ctx, left, right, Options{Idle: idle, OnFire: func(s topology.ToxicSpec) { p.fired <- s.Type }})
	}()
	t.Cleanup(func() {
		cancel()
		_ = client.Close()
		_ = server.Close()
	})
	for chain.Pairs() == open && len(p.outcome) == 0 {
		time.Sleep(time.Millisecond)
	}
	return p
}

func spec(typ, stream, attributes string) topology.ToxicSpec {
	return topology.ToxicSpec{Type: typ, Stream: stream, Toxicity: 1, Attributes: json.RawMessage(attributes)}
}

func add(t testing.TB, c *Chain, s topology.ToxicSpec) topology.ToxicSpec {
	t.Helper()
	got, err := c.Add(s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func echo(t testing.TB, from, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatalf("write: %v", err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatalf("read: %v", err)
	}
	if string(got) != text {
		t.Fatalf("got %q, want %q", got, text)
	}
}

func wantReset(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := io.Copy(io.Discard, c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read ended with %v, want a RST", err)
	}
}

func wantEOF(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("read ended with %v, want the end of the stream", err)
	}
}

func wantSilence(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read gave %d bytes and %v, want silence", n, err)
	}
	_ = c.SetReadDeadline(time.Time{})
}

func (p *path) wait(t testing.TB) Outcome {
	t.Helper()
	select {
	case o := <-p.outcome:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("the pair is not over")
		return Outcome{}
	}
}

func TestHalfCloseIsCarriedBothWays(t *testing.T) {
	p := newPath(t, NewChain(1), 0)
	echo(t, p.client, p.server, "hello")
	if err := p.client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantEOF(t, p.server)
	echo(t, p.server, p.client, "still here")
	if err := p.server.Close(); err != nil {
		t.Fatal(err)
	}
	wantEOF(t, p.client)
	if o := p.wait(t); o.By != ByClient || o.Err != nil || o.Reset || o.Upstream != 5 || o.Downstream != 10 {
		t.Errorf("outcome %+v", o)
	}
}

func TestResetIsCarried(t *testing.T) {
	for _, by := range []string{ByClient, ByServer} {
		t.Run(by, func(t *testing.T) {
			p := newPath(t, NewChain(1), 0)
			from, to := p.client, p.server
			if by == ByServer {
				from, to = to, from
			}
			echo(t, from, to, "hello")
			_ = from.SetLinger(0)
			_ = from.Close()
			wantReset(t, to)
			if o := p.wait(t); o.By != by || !errors.Is(o.Err, syscall.ECONNRESET) || !o.Reset {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestBytesBeforeAResetArrive(t *testing.T) {
	chain := NewChain(1)
	add(t, chain, spec("latency", "upstream", `{"latency": 100000000}`))
	p := newPath(t, chain, 0)
	if _, err := io.WriteString(p.client, "last words"); err != nil {
		t.Fatal(err)
	}
	_ = p.client.SetLinger(0)
	_ = p.client.Close()
	got := make([]byte, 10)
	if _, err := io.ReadFull(p.server, got); err != nil || string(got) != "last words" {
		t.Fatalf("got %q, %v", got, err)
	}
	wantReset(t, p.server)
	p.wait(t)
}

func TestResetPassesAReceiverThatDoesNotRead(t *testing.T) {
	p := newPath(t, NewChain(1), 0)
	fill(p.client)
	_ = p.client.SetLinger(0)
	_ = p.client.Close()
	// The server does not read, but writes: into a connection that is dead.
	_ = p.server.SetWriteDeadline(time.Now().Add(20 * time.Second))
	for {
		if _, err := p.server.Write([]byte("hello?")); err != nil {
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("write ended with %v, want a RST", err)
			}
			break
		}
		time.Sleep(time.Millisecond)
	}
	if o := p.wait(t); o.By != ByClient || !o.Reset {
		t.Errorf("outcome %+v", o)
	}
}

// fill writes until nothing more is taken, or as much as no buffers hold.
func fill(c net.Conn) (n int) {
	block := make([]byte, 64<<10)
	for n < 64<<20 {
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		m, err := c.Write(block)
		n += m
		if err != nil {
			break
		}
	}
	_ = c.SetWriteDeadline(time.Time{})
	return n
}

func TestContextEndClosesAndLeavesNothing(t *testing.T) {
	for name, attributes := range map[string]string{
		"latency":          `{"latency": 3600000000000}`,
		"bandwidth":        `{"rate": 1}`,
		"slow_close":       `{"delay": 3600000000000}`,
		"timeout":          `{}`,
		"reset_peer":       `{"timeout": 3600000000000}`,
		"slicer":           `{"average_size": 1, "delay": 3600000000000}`,
		"limit_data":       `{"bytes": 1000000000}`,
		"nat_idle_timeout": `{"timeout": 3600000000000}`,
		"reset":            `{"after": 3600000000000}`,
	} {
		t.Run(name, func(t *testing.T) {
			chain := NewChain(1)
			add(t, chain, spec(name, "upstream", attributes))
			p := newPath(t, chain, 0)
			fill(p.client) // nobody reads
			p.cancel()
			if o := p.wait(t); o.By != ByNode {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestIdleClosesBothSides(t *testing.T) {
	p := newPath(t, NewChain(1), 100*time.Millisecond)
	echo(t, p.client, p.server, "hello")
	wantEOF(t, p.client)
	wantEOF(t, p.server)
	if o := p.wait(t); o.By != ByIdle || o.Reset {
		t.Errorf("outcome %+v", o)
	}
}

func TestChainReset(t *testing.T) {
	chain := NewChain(1)
	p, q := newPath(t, chain, 0), newPath(t, chain, 0)
	if n := chain.Reset(); n != 2 {
		t.Errorf("reset %d pairs, want 2", n)
	}
	for _, p := range []*path{p, q} {
		wantReset(t, p.client)
		wantReset(t, p.server)
		if o := p.wait(t); o.By != ByNode || !o.Reset {
			t.Errorf("outcome %+v", o)
		}
	}
}

func TestRemoveIsBoundedWhenNobodyReads(t *testing.T) {
	for name, attributes := range map[string]string{
		"latency":   `{"latency": 1000000}`,
		"bandwidth": `{"rate": 100000000}`,
		"slicer":    `{"average_size": 100}`,
	} {
		t.Run(name, func(t *testing.T) {
			chain := NewChain(1)
			p := newPath(t, chain, 0)
			add(t, chain, topology.ToxicSpec{Name: "x", Type: name, Stream: "upstream", Toxicity: 1, Attributes: json.RawMessage(attributes)})
			data := pattern(16 << 20)
			sent := make(chan error, 1)
			go func() {
				_, err := p.client.Write(data)
				_ = p.client.CloseWrite()
				sent <- err
			}()
			// Let it come to a standstill: no byte has moved for a while.
			for last := int64(-1); ; {
				now := p.written()
				if now == last {
					break
				}
				last = now
				time.Sleep(100 * time.Millisecond)
			}
			done := make(chan error, 1)
			go func() {
				if _, err := chain.Update(topology.ToxicSpec{Name: "x", Type: name, Stream: "upstream", Toxicity: 1, Attributes: json.RawMessage(attributes)}); err != nil {
					done <- err
					return
				}
				_, err := chain.Remove("x")
				done <- err
			}()
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("Remove hangs behind a receiver that does not read")
			}
			got, err := io.ReadAll(p.server)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("got %d bytes (equal: %v), %v", len(got), bytes.Equal(got, data), err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func (p *path) written() int64 {
	p.chain.mu.Lock()
	defer p.chain.mu.Unlock()
	n := int64(0)
	for pr := range p.chain.pairs {
		n += pr.links[0].bytes.Load()
	}
	return n
}

// pattern is data in which every position can be told.
func pattern(n int) []byte {
	data := make([]byte, n)
	x := uint32(1)
	for i := range data {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	return data
}
