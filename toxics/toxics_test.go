package toxics

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wslab/wslab/topology"
)

// inMemory runs f between two in-memory connections with the chain between them,
// under virtual time.
func inMemory(t *testing.T, chain *Chain, f func(client, server net.Conn), o Options) (out Outcome) {
	t.Helper()
	client, left := net.Pipe()
	right, server := net.Pipe()
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		out = chain.Pipe(ctx, left, right, o)
	}()
	synctest.Wait()
	f(client, server)
	cancel()
	<-done
	_ = client.Close()
	_ = server.Close()
	return out
}

func TestLatencyInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(2)
		add(t, chain, spec("latency", "upstream", `{"latency": 3600000000000}`))
		inMemory(t, chain, func(client, server net.Conn) {
			start := time.Now()
			echo(t, client, server, "up")
			if d := time.Since(start); d != 30*time.Minute {
				t.Errorf("an hour at speed 2 took %s", d)
			}
			start = time.Now()
			echo(t, server, client, "down")
			if d := time.Since(start); d != 0 {
				t.Errorf("the other direction took %s", d)
			}
			if _, err := chain.Remove("latency_upstream"); err != nil {
				t.Fatal(err)
			}
			start = time.Now()
			echo(t, client, server, "again")
			if d := time.Since(start); d != 0 {
				t.Errorf("without the toxic it took %s", d)
			}
		}, Options{})
	})
}

func TestNatIdleTimeoutDropsInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(1)
		add(t, chain, spec("nat_idle_timeout", "", `{"timeout": 30000000000, "on_expiry": "drop"}`))
		start := time.Now()
		var fired time.Duration
		out := inMemory(t, chain, func(client, server net.Conn) {
			// Either direction keeps the one timer.
			for range 4 {
				time.Sleep(20 * time.Second)
				echo(t, client, server, "up")
				time.Sleep(20 * time.Second)
				echo(t, server, client, "down")
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if fired != 190*time.Second {
				t.Errorf("fired after %s, want 190 s", fired)
			}
			swallows(t, client, server)
			swallows(t, server, client)
			// It stays so without the toxic: bytes are lost.
			if _, err := chain.Remove("nat_idle_timeout_downstream"); err != nil {
				t.Fatal(err)
			}
			swallows(t, client, server)
			_ = client.Close()
			synctest.Wait()
			swallows(t, server, client) // the end of one side does not reach the other
			if chain.Pairs() != 1 {
				t.Error("the pair is over while the server is still there")
			}
			_ = server.Close()
			synctest.Wait()
			if chain.Pairs() != 0 {
				t.Error("the pair is not over with both sides gone")
			}
		}, Options{OnFire: func(topology.ToxicSpec) { fired = time.Since(start) }})
		if out.By != ByToxic || out.Toxic.Type != "nat_idle_timeout" {
			t.Errorf("outcome %+v", out)
		}
	})
}

// swallows checks that what one side writes is taken and never comes.
func swallows(t *testing.T, from, to net.Conn) {
	t.Helper()
	if _, err := io.WriteString(from, "into the void"); err != nil {
		t.Errorf("write: %v", err)
	}
	_ = to.SetReadDeadline(time.Now().Add(time.Hour))
	n, err := to.Read(make([]byte, 1))
	var timeout net.Error
	if n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		if !errors.Is(err, io.ErrClosedPipe) { // our own end, closed by the test
			t.Errorf("read gave %d bytes and %v, want silence", n, err)
		}
	}
	_ = to.SetReadDeadline(time.Time{})
}

func TestNatIdleTimeoutRemovedInTimeLeavesTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(1)
		add(t, chain, spec("nat_idle_timeout", "", `{"timeout": 30000000000}`))
		inMemory(t, chain, func(client, server net.Conn) {
			time.Sleep(29 * time.Second)
			if _, err := chain.Remove("nat_idle_timeout_downstream"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(24 * time.Hour)
			echo(t, client, server, "up")
			echo(t, server, client, "down")
			// Added to an open connection, its timer begins then.
			add(t, chain, spec("nat_idle_timeout", "", `{"timeout": 30000000000}`))
			time.Sleep(29 * time.Second)
			echo(t, client, server, "up")
			// Silence so far counts when the timeout changes.
			time.Sleep(20 * time.Second)
			if _, err := chain.Update(spec("nat_idle_timeout", "", `{"timeout": 25000000000}`)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Second)
			echo(t, server, client, "down")
			time.Sleep(25 * time.Second)
			swallows(t, client, server)
		}, Options{})
	})
}

func TestNatIdleTimeoutResetsWhoeverSpeaks(t *testing.T) {
	chain := NewChain(1)
	p := newPath(t, chain, 0)
	add(t, chain, spec("nat_idle_timeout", "", `{"timeout": 50000000, "on_expiry": "reset"}`))
	if typ := <-p.fired; typ != "nat_idle_timeout" {
		t.Fatalf("%s fired", typ)
	}
	wantSilence(t, p.client)
	wantSilence(t, p.server)
	if _, err := io.WriteString(p.client, "hello?"); err != nil {
		t.Fatal(err)
	}
	wantReset(t, p.client)
	wantSilence(t, p.server) // half-open: it learns nothing
	if _, err := io.WriteString(p.server, "hello?"); err != nil {
		t.Fatal(err)
	}
	wantReset(t, p.server)
	if o := p.wait(t); o.By != ByToxic {
		t.Errorf("outcome %+v", o)
	}
}

func TestResetToxic(t *testing.T) {
	chain := NewChain(1)
	idle := newPath(t, chain, 0)
	add(t, chain, spec("reset", "", `{}`))
	late := newPath(t, chain, 0)
	for _, p := range []*path{idle, late} {
		wantReset(t, p.client)
		wantReset(t, p.server)
		if o := p.wait(t); o.By != ByToxic || o.Toxic.Type != "reset" || !o.Reset {
			t.Errorf("outcome %+v", o)
		}
		if typ := <-p.fired; typ != "reset" {
			t.Errorf("%s fired", typ)
		}
	}
	if _, err := chain.Remove("reset_downstream"); err != nil {
		t.Fatal(err)
	}
	p := newPath(t, chain, 0)
	echo(t, p.client, p.server, "hello")
}

func TestResetAfterAWhileInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(1)
		add(t, chain, spec("reset", "", `{"after": 60000000000}`))
		out := inMemory(t, chain, func(client, server net.Conn) {
			time.Sleep(59 * time.Second)
			echo(t, client, server, "up")
			time.Sleep(time.Second)
			synctest.Wait()
			if _, err := client.Read(make([]byte, 1)); err == nil {
				t.Error("the connection is still there")
			}
		}, Options{})
		if out.By != ByToxic {
			t.Errorf("outcome %+v", out)
		}
	})
}

func TestResetPeer(t *testing.T) {
	t.Run("open connection", func(t *testing.T) {
		chain := NewChain(1)
		p := newPath(t, chain, 0)
		echo(t, p.client, p.server, "hello")
		add(t, chain, spec("reset_peer", "upstream", `{"timeout": 1000000}`))
		wantSilence(t, p.client) // nothing happens until data flow
		if _, err := io.WriteString(p.client, "boom"); err != nil {
			t.Fatal(err)
		}
		wantReset(t, p.client)
		wantReset(t, p.server)
		if o := p.wait(t); o.By != ByToxic || o.Toxic.Type != "reset_peer" {
			t.Errorf("outcome %+v", o)
		}
	})
	t.Run("removed while it waits", func(t *testing.T) {
		chain := NewChain(1)
		p := newPath(t, chain, 0)
		add(t, chain, spec("reset_peer", "upstream", `{"timeout": 3600000000000}`))
		if _, err := chain.Remove("reset_peer_upstream"); err != nil {
			t.Fatal(err)
		}
		echo(t, p.client, p.server, "hello")
	})
	t.Run("no TCP", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			chain := NewChain(1)
			add(t, chain, spec("reset_peer", "upstream", `{"timeout": 5000000000}`))
			out := inMemory(t, chain, func(client, server net.Conn) {
				if _, err := io.WriteString(client, "boom"); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if _, err := server.Read(make([]byte, 1)); err == nil {
					t.Error("the data came through")
				}
				if d := time.Since(start); d != 5*time.Second {
					t.Errorf("closed after %s", d)
				}
			}, Options{})
			if out.By != ByToxic {
				t.Errorf("outcome %+v", out)
			}
		})
	})
}

func TestTimeoutClosesWhenRemoved(t *testing.T) {
	chain := NewChain(1)
	p := newPath(t, chain, 0)
	add(t, chain, spec("timeout", "upstream", `{}`))
	if _, err := io.WriteString(p.client, "lost"); err != nil {
		t.Fatal(err)
	}
	wantSilence(t, p.server)
	if _, err := chain.Remove("timeout_upstream"); err != nil {
		t.Fatal(err)
	}
	wantEOF(t, p.server)
	if o := p.wait(t); o.By != ByToxic || o.Toxic.Type != "timeout" || o.Reset {
		t.Errorf("outcome %+v", o)
	}
}

func TestLimitDataLetsItsBytesThrough(t *testing.T) {
	chain := NewChain(1)
	add(t, chain, spec("limit_data", "upstream", `{"bytes": 5}`))
	p := newPath(t, chain, 0)
	if _, err := io.WriteString(p.client, "hello world"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(p.server)
	if string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if o := p.wait(t); o.By != ByToxic || o.Toxic.Type != "limit_data" {
		t.Errorf("outcome %+v", o)
	}
}

func TestSlowCloseInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(1)
		add(t, chain, spec("slow_close", "upstream", `{"delay": 10000000000}`))
		inMemory(t, chain, func(client, server net.Conn) {
			echo(t, client, server, "up")
			_ = client.Close()
			start := time.Now()
			if _, err := server.Read(make([]byte, 1)); err == nil {
				t.Error("read data")
			}
			if d := time.Since(start); d != 10*time.Second {
				t.Errorf("closed after %s", d)
			}
		}, Options{})
	})
}

func TestBandwidthInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(10)
		add(t, chain, spec("bandwidth", "upstream", `{"rate": 1}`))
		inMemory(t, chain, func(client, server net.Conn) {
			start := time.Now()
			go func() { _, _ = client.Write(pattern(100_000)) }()
			if _, err := io.ReadFull(server, make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start).Round(time.Second); d != 10*time.Second {
				t.Errorf("100 kB at 1 kB/s and speed 10 took %s", d)
			}
		}, Options{})
	})
}

func TestSlicer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(1)
		add(t, chain, spec("slicer", "upstream", `{"average_size": 10, "size_variation": 9, "delay": 1000000}`))
		inMemory(t, chain, func(client, server net.Conn) {
			want := string(pattern(5000))
			go func() { _, _ = io.WriteString(client, want) }()
			got, pieces := "", 0
			for len(got) < len(want) {
				buffer := make([]byte, 5000)
				n, err := server.Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
				got += string(buffer[:n])
				pieces++
			}
			if got != want || pieces < 100 {
				t.Errorf("%d pieces, equal: %v", pieces, got == want)
			}
		}, Options{})
	})
}

func TestPairsCountAgainstToxicity(t *testing.T) {
	chain := NewChain(1)
	none := spec("reset", "", `{}`)
	none.Toxicity = 0
	add(t, chain, none)
	p := newPath(t, chain, 0)
	echo(t, p.client, p.server, "hello")
}

func TestAddRefuses(t *testing.T) {
	chain := NewChain(1)
	add(t, chain, spec("latency", "upstream", `{"latency": 1000000}`))
	half := spec("reset", "", "")
	half.Toxicity = 1.5
	for name, s := range map[string]topology.ToxicSpec{
		`no toxic of type "lag"`: spec("lag", "", ""),
		`toxic "latency_upstream": there is a toxic of that name already`:                        spec("latency", "upstream", ""),
		`toxic "latency_sideways": stream is "sideways", not upstream or downstream`:             spec("latency", "sideways", ""),
		`toxic "latency_downstream": latency is -1ns, which is negative`:                         spec("latency", "", `{"latency": -1}`),
		`toxic "latency_downstream": there is no attribute "lag"; latency has: latency, jitter`:  spec("latency", "", `{"lag": 1}`),
		`toxic "latency_downstream": attribute jitter cannot be a JSON string`:                   spec("latency", "", `{"jitter": "5ms"}`),
		`toxic "slicer_downstream": size_variation is 10, not from 0 to below average_size (10)`: spec("slicer", "", `{"average_size": 10, "size_variation": 10}`),
		`toxic "slicer_downstream": average_size is 0, not at least 1`:                           spec("slicer", "", `{"average_size": 0}`),
		`toxic "bandwidth_downstream": rate is 0, not from 1 to 100000000 KB/s`:                  spec("bandwidth", "", `{"rate": 0}`),
		`toxic "nat_idle_timeout_downstream": on_expiry is "recover", not drop or reset`:         spec("nat_idle_timeout", "", `{"on_expiry": "recover"}`),
		`toxic "nat_idle_timeout_downstream": timeout is 0s, not above 0`:                        spec("nat_idle_timeout", "", `{"timeout": 0}`),
		`toxic "reset_downstream": toxicity is 1.5, not from 0 to 1`:                             half,
	} {
		if _, err := chain.Add(s); err == nil || err.Error() != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
	if _, err := chain.Remove("nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := chain.Update(spec("latency", "downstream", "")); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestDefaultsAndList(t *testing.T) {
	chain := NewChain(1)
	for _, typ := range Types() {
		if _, err := chain.Add(topology.ToxicSpec{Type: typ.Name, Toxicity: 1}); err != nil {
			t.Errorf("%s does not live on its defaults: %v", typ.Name, err)
		}
	}
	list := chain.List()
	if len(list) != len(Types()) || list[0].Name != "latency_downstream" || list[0].Stream != "downstream" {
		t.Errorf("list %+v", list)
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct {
		speed float64
		d     time.Duration
		want  int64
	}{
		{1, 0, 0},
		{1, 40 * time.Millisecond, 40},
		{5, 40 * time.Millisecond, 8},
		{100, 40 * time.Millisecond, 1},
		{10, 46 * time.Millisecond, 5},
	} {
		if got := scale(c.speed).milliseconds(c.d); got != c.want {
			t.Errorf("%s at speed %v is %d ms, want %d", c.d, c.speed, got, c.want)
		}
	}
}
