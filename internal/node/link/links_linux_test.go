package link_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node/link"
	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/topology"
)

func TestMain(m *testing.M) { nodetest.Main(m) }

// pair is two machines with a cable between them, and the conditions of the second.
type pair struct {
	t     testing.TB
	a, b  *nodetest.Host
	links *link.Links
}

func newPair(t testing.TB) *pair {
	t.Helper()
	p := &pair{t: t, a: nodetest.NewHost(t, "a"), b: nodetest.NewHost(t, "b")}
	nodetest.Cable(t, p.a, "10.0.0.1/24", p.b, "10.0.0.2/24")
	place := nodetest.Interface("lan", "10.0.0.2/24")
	var names []string
	p.b.MustDo(t, func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			if i.Flags&net.FlagLoopback == 0 {
				names = append(names, i.Name)
			}
		}
		return err
	})
	p.links = link.New("b", []topology.Interface{place}, names, 1, nil)
	t.Cleanup(func() { p.b.MustDo(t, p.links.Close) })
	return p
}

func (p *pair) set(c link.Conditions) {
	p.t.Helper()
	p.b.MustDo(p.t, func() error { return p.links.Set(context.Background(), link.Place{Network: "lan"}, c) })
}

// sockets are a UDP socket of b at a port, and one of a that is connected to it.
func (p *pair) sockets(port int) (server, client *net.UDPConn) {
	p.t.Helper()
	p.b.MustDo(p.t, func() (err error) {
		server, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: port})
		return err
	})
	p.a.MustDo(p.t, func() (err error) {
		client, err = net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
		return err
	})
	return server, client
}

// carries sends bytes from a to b over TCP, and checks that all of them arrive.
func (p *pair) carries(size int64) {
	p.t.Helper()
	l := p.b.Listen(p.t, "10.0.0.2:80")
	client := p.a.MustDial(p.t, "10.0.0.2:80")
	server := nodetest.Accept(p.t, l)
	go func() {
		_, _ = client.Write(make([]byte, size))
		_ = client.CloseWrite()
	}()
	_ = server.SetReadDeadline(time.Now().Add(2 * nodetest.Patience))
	if n, err := io.Copy(io.Discard, server); err != nil || n != size {
		p.t.Errorf("%d bytes, %v", n, err)
	}
}

// echo is a UDP echo at b, and a socket of a that is connected to it.
func (p *pair) echo() *net.UDPConn {
	p.t.Helper()
	server, client := p.sockets(7)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 2000)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = server.WriteToUDPAddrPort(buffer[:n], from)
			}
		}
	}()
	p.t.Cleanup(func() { _ = client.Close(); _ = server.Close(); <-done })
	return client
}

// trip sends a datagram and returns how long its echo took.
func trip(t testing.TB, c *net.UDPConn) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if _, err := c.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// The delay acts on every packet, the handshake of TCP included.
func TestDelayOfEveryPacket(t *testing.T) {
	p := newPair(t)
	l := p.b.Listen(t, "10.0.0.2:80")
	c := p.echo()
	const delay = 200 * time.Millisecond
	p.set(link.Conditions{Delay: delay})
	if d := trip(t, c); d < delay {
		t.Errorf("a datagram and its echo took %s, one way has to take %s", d, delay)
	}
	start := time.Now()
	_ = p.a.MustDial(t, "10.0.0.2:80")
	if d := time.Since(start); d < delay {
		t.Errorf("the handshake took %s, the SYN alone has to take %s", d, delay)
	}
	_ = nodetest.Accept(t, l)
	if shown := p.links.Show(); len(shown) != 1 || shown[0].Conditions.Delay != delay || shown[0].Counts.Packets < 3 {
		t.Errorf("%+v", shown)
	}
	p.set(link.Conditions{})
	if shown := p.links.Show(); len(shown) != 0 {
		t.Errorf("cleared: %+v", shown)
	}
	trip(t, c)
}

// What is lost and what arrives is what was counted, and the share is what was asked for.
func TestLossIsCounted(t *testing.T) {
	p := newPair(t)
	p.set(link.Conditions{Loss: 10, Seed: 3})
	server, client := p.sockets(9)
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	const packets = 2000
	arrived := make([]bool, packets)
	want := p.links.Lost(link.Place{Network: "lan"}, link.Conditions{Loss: 10, Seed: 3}, packets)
	for i := range packets {
		if _, err := client.Write([]byte{byte(i >> 8), byte(i)}); err != nil {
			t.Fatal(err)
		}
		if want[i] {
			continue
		}
		var b [2]byte
		_ = server.SetReadDeadline(time.Now().Add(nodetest.Patience))
		if _, err := server.Read(b[:]); err != nil {
			t.Fatalf("packet %d is not one that the seed loses: %v", i, err)
		}
		arrived[int(b[0])<<8|int(b[1])] = true
	}
	counts := p.links.Show()[0].Counts
	var n uint64
	for _, a := range arrived {
		if a {
			n++
		}
	}
	if counts.Packets != packets || counts.Lost+n != packets || counts.Lost < 150 || counts.Lost > 250 {
		t.Errorf("%+v, %d arrived", counts, n)
	}
}

// A share of the packets arrives twice, which are those that the seed says, in every run.
func TestDuplicatesArriveTwice(t *testing.T) {
	const packets = 10_000
	run := func() []byte {
		p := newPair(t)
		c := link.Conditions{Duplicate: 10, Seed: 3}
		p.set(c)
		server, client := p.sockets(9)
		t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
		twice := p.links.Twice(link.Place{Network: "lan"}, c, packets)
		came := make([]byte, packets)
		for i := range packets {
			if _, err := client.Write([]byte{byte(i >> 8), byte(i)}); err != nil {
				t.Fatal(err)
			}
			copies := 1
			if twice[i] {
				copies = 2
			}
			for range copies {
				var b [2]byte
				_ = server.SetReadDeadline(time.Now().Add(nodetest.Patience))
				if _, err := server.Read(b[:]); err != nil {
					t.Fatalf("packet %d, of %d: %v", i, copies, err)
				}
				came[int(b[0])<<8|int(b[1])]++
			}
		}
		for i, n := range came {
			if (n == 2) != twice[i] {
				t.Errorf("packet %d came %d times, twice: %v", i, n, twice[i])
			}
		}
		counts := p.links.Show()[0].Counts
		if counts.Packets != packets || counts.Duplicated < 900 || counts.Duplicated > 1100 {
			t.Errorf("%+v", counts)
		}
		return came
	}
	if one, two := run(), run(); !bytes.Equal(one, two) {
		t.Error("two runs with one seed differ")
	}
}

// Copies go through the other conditions by themselves, and TCP lives with them.
func TestDuplicatesWithOtherConditions(t *testing.T) {
	p := newPair(t)
	const delay = 50 * time.Millisecond
	set := func(of link.Place, c link.Conditions) {
		t.Helper()
		p.b.MustDo(t, func() error { return p.links.Set(context.Background(), of, c) })
	}
	set(link.Place{Network: "lan"}, link.Conditions{Duplicate: 100})
	set(link.Place{Network: "lan", Node: "b"}, link.Conditions{Delay: delay})
	c := p.echo()
	if d := trip(t, c); d < delay {
		t.Errorf("it took %s", d)
	}
	if n, err := c.Read(make([]byte, 10)); err != nil || n != 4 { // the copy's echo
		t.Errorf("%d bytes, %v", n, err)
	}
	if shown := p.links.Show(); shown[0].Counts.Packets != 1 || shown[1].Counts.Packets != 2 {
		t.Errorf("copies have to be counted behind the place that makes them: %+v", shown)
	}
	p.carries(1 << 20)
	p.b.MustDo(t, p.links.Close)
	p.b.MustDo(t, func() error {
		all, err := net.Interfaces()
		if len(all) != 2 { // lo and its own
			t.Errorf("interfaces are left: %v", all)
		}
		return err
	})
}

// A link that is down carries nothing, and connections go on when it is up again.
func TestDownAndUp(t *testing.T) {
	p := newPair(t)
	l := p.b.Listen(t, "10.0.0.2:80")
	client := p.a.MustDial(t, "10.0.0.2:80")
	server := nodetest.Accept(t, l)
	p.set(link.Conditions{Down: true})
	if _, err := client.Write([]byte("through")); err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := server.Read(make([]byte, 10)); err == nil {
		t.Errorf("%d bytes came through", n)
	}
	p.set(link.Conditions{})
	got := make([]byte, 7)
	_ = server.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if _, err := io.ReadFull(server, got); err != nil || string(got) != "through" {
		t.Errorf("%q, %v", got, err)
	}
}

// TCP goes at full speed through a delay: packets are held where they arrive.
func TestBytesSurviveConditions(t *testing.T) {
	p := newPair(t)
	p.set(link.Conditions{Delay: 5 * time.Millisecond, Jitter: 4 * time.Millisecond, Loss: 1, Reorder: 5})
	p.carries(8 << 20)
}

func TestMTU(t *testing.T) {
	p := newPair(t)
	mtu := func() (n int) {
		p.b.MustDo(t, func() error {
			i, err := net.InterfaceByName(p.links.Interface())
			if err == nil {
				n = i.MTU
			}
			return err
		})
		return n
	}
	was := mtu()
	p.set(link.Conditions{MTU: 1280})
	if got := mtu(); got != 1280 {
		t.Errorf("mtu %d", got)
	}
	p.set(link.Conditions{Delay: time.Millisecond})
	if got := mtu(); got != was {
		t.Errorf("mtu %d, was %d", got, was)
	}
}

func TestSetRefuses(t *testing.T) {
	l := link.New("b", nil, nil, 1, nil)
	for _, c := range []struct{ params, want string }{
		{`{"network": "lan"}`, `link.set: node b is not on network "lan"`},
		{`{"conditions": {"loss": "1"}}`, `link.set: "1" is no share from 0% to 100%, such as 1.5%`},
		{`{"conditions": {"rate": "fast"}}`, `link.set: "fast" is no rate, such as 300kbit, 2mbit or 1gbit`},
	} {
		if _, err := l.HandleSet(t.Context(), json.RawMessage(c.params)); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.params, err, c.want)
		}
	}
}

// What one neighbour sends is held, what others send is not; stages add up.
func TestPlacesOfOthers(t *testing.T) {
	p := newPair(t)
	c := p.echo()
	var mac string
	p.a.MustDo(t, func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			if i.Flags&net.FlagLoopback == 0 {
				mac = i.HardwareAddr.String()
			}
		}
		return err
	})
	set := func(of link.Place, c link.Conditions) {
		t.Helper()
		p.b.MustDo(t, func() error { return p.links.Set(context.Background(), of, c) })
	}
	const delay = 100 * time.Millisecond
	other, a := link.Place{"lan", "c", "02:42:0a:00:00:63"}, link.Place{"lan", "a", mac}
	set(other, link.Conditions{Delay: nodetest.Patience})
	trip(t, c) // within patience
	set(a, link.Conditions{Delay: delay, Down: true})
	if d := trip(t, c); d < delay {
		t.Errorf("what a sends took %s", d)
	}
	set(link.Place{Network: "lan"}, link.Conditions{Delay: delay})
	set(link.Place{Network: "lan", Node: "b"}, link.Conditions{Delay: delay})
	if d := trip(t, c); d < 3*delay {
		t.Errorf("three delays of %s took %s", delay, d)
	}
	shown := p.links.Show()
	if len(shown) != 4 || shown[3].Node != "b" || shown[3].Counts.Packets != 1 || shown[0].Counts.Packets != 0 {
		t.Errorf("%+v", shown)
	}
	specs, err := p.links.Specs()
	if err != nil || len(specs) != 4 {
		t.Fatalf("%+v, %v", specs, err)
	}
	p.b.MustDo(t, p.links.Close)
	if shown := p.links.Show(); len(shown) != 0 {
		t.Errorf("closed: %+v", shown)
	}
	p.b.MustDo(t, func() error { return p.links.Start(context.Background(), specs) })
	if d := trip(t, c); d < 3*delay {
		t.Errorf("started anew: %s", d)
	}
}

// Every profile can be set.
func TestProfiles(t *testing.T) {
	for _, p := range link.Profiles() {
		c := *p.New().(*link.Conditions)
		if c.None() || c.Check() != nil || p.Summary == "" || len(p.Sources) == 0 {
			t.Errorf("%s: %v, %v", p.Name, c, c.Check())
		}
	}
}

// What is held when conditions are taken away goes on at once.
func TestClearLetsGo(t *testing.T) {
	p := newPair(t)
	c := p.echo()
	p.set(link.Conditions{Delay: 10 * nodetest.Patience})
	if _, err := c.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(nodetest.Patience); p.links.Show()[0].Counts.Packets == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the packet is not held")
		}
		time.Sleep(time.Millisecond) // between two looks
	}
	p.set(link.Conditions{})
	_ = c.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if _, err := c.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
}
