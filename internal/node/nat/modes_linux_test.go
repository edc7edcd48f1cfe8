package nat

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// TestMeasured is what was measured of Linux's own NAT after an established connection
// had been silent for longer than its timeout, each row with the settings that give it.
//
// The one row that no settings give is masquerade with nf_conntrack_tcp_loose=0 and
// nothing dropped: there the segment leaves untranslated, which no NAT of the field does.
func TestMeasured(t *testing.T) {
	for _, row := range []struct {
		name     string
		settings Settings
		check    func(t *testing.T, l *lab, client, server *net.TCPConn)
	}{
		{"masquerade, the client speaks: recovers with the same port", Settings{OnExpiry: Recover, Ports: Keep},
			func(t *testing.T, l *lab, client, server *net.TCPConn) {
				nodetest.Pass(t, client, server, "still there?")
				nodetest.Pass(t, server, client, "yes")
				created := 0
				l.node.Await(t, func(e trace.Event) bool {
					if is(trace.MappingCreated, relay.Opened(client))(e) {
						created++
						if *e.Next != relay.Accepted(server) {
							t.Errorf("the mapping is to %v", e.Next)
						}
					}
					return created == 2
				})
			}},
		{"masquerade fully-random, the client speaks: RST at once, the server stays half-open", Settings{OnExpiry: Recover, Ports: Random},
			func(t *testing.T, l *lab, client, server *net.TCPConn) {
				_, _ = client.Write([]byte("still there?"))
				nodetest.Reset(t, client)
				nodetest.Nothing(t, server)
			}},
		{"strangers dropped, the client speaks: black hole, ETIMEDOUT by TCP_USER_TIMEOUT", Settings{OnExpiry: Drop},
			func(t *testing.T, l *lab, client, server *net.TCPConn) {
				if err := setUserTimeout(client, 2*time.Second); err != nil {
					t.Fatal(err)
				}
				_, _ = client.Write([]byte("still there?"))
				nodetest.Nothing(t, server)
				_ = client.SetReadDeadline(time.Now().Add(nodetest.Patience))
				if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
					t.Errorf("the client is told %v", err)
				}
			}},
		{"nothing dropped, the server pushes: RST to the server, the client never learns", Settings{OnExpiry: Recover},
			func(t *testing.T, l *lab, client, server *net.TCPConn) {
				_, _ = server.Write([]byte("push"))
				nodetest.Reset(t, server)
				nodetest.Nothing(t, client)
			}},
		{"strangers dropped, the server pushes: black hole, the client never learns", Settings{OnExpiry: Drop},
			func(t *testing.T, l *lab, client, server *net.TCPConn) {
				_, _ = server.Write([]byte("push"))
				l.node.Await(t, is(trace.Blocked, relay.Opened(client)))
				nodetest.Nothing(t, server)
				nodetest.Nothing(t, client)
			}},
		// The rows of vendors whose NAT answers: AWS NAT gateway.
		{"strangers reset, the client speaks: RST at once, the server stays half-open", Settings{OnExpiry: Reset},
			func(t *testing.T, l *lab, client, server *net.TCPConn) {
				_, _ = client.Write([]byte("still there?"))
				nodetest.Reset(t, client)
				nodetest.Nothing(t, server)
			}},
		{"strangers reset, the server pushes: black hole, the client never learns", Settings{OnExpiry: Reset},
			func(t *testing.T, l *lab, client, server *net.TCPConn) {
				_, _ = server.Write([]byte("push"))
				l.node.Await(t, is(trace.Blocked, relay.Opened(client)))
				nodetest.Nothing(t, server)
				nodetest.Nothing(t, client)
			}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.settings.IdleTimeout = idle
			l := newLabWith(t, row.settings)
			client, server := l.expire()
			row.check(t, l, client, server)
		})
	}
	for _, onExpiry := range []string{Drop, Reset, Recover} {
		t.Run(onExpiry+", TCP keepalive: survives", func(t *testing.T) {
			t.Parallel()
			l := newLab(t, onExpiry)
			client, server := l.connect()
			err := client.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2*idle + time.Second) // silence is what is tested
			nodetest.Pass(t, client, server, "pull")
			if n := l.node.Count(trace.MappingExpired); n != 0 {
				t.Errorf("%d mappings expired", n)
			}
		})
	}
}

// TestPorts looks at the ports of connections from the server.
func TestPorts(t *testing.T) {
	t.Parallel()
	for _, ports := range []string{Keep, Random} {
		for _, intercepted := range []bool{false, true} {
			t.Run(ports+map[bool]string{true: ", intercepted"}[intercepted], func(t *testing.T) {
				l := newLabWith(t, Settings{IdleTimeout: time.Minute, OnExpiry: Drop, Ports: ports})
				if intercepted {
					l.intercept(true)
				}
				same := 0
				for range 4 {
					client, server := l.connect()
					nodetest.Pass(t, client, server, "hello")
					nodetest.Pass(t, server, client, "welcome")
					if server.RemoteAddr().(*net.TCPAddr).Port == client.LocalAddr().(*net.TCPAddr).Port {
						same++
					}
				}
				switch {
				case intercepted: // the relay's port is another one in any case
				case ports == Keep && same != 4:
					t.Errorf("%d of 4 connections have kept their port", same)
				case ports == Random && same == 4:
					t.Error("all connections have kept their port")
				}
			})
		}
	}
}

// TestTransitoryTimeout half closes a connection and is silent.
func TestTransitoryTimeout(t *testing.T) {
	t.Parallel()
	l := newLabWith(t, Settings{IdleTimeout: time.Minute, TransitoryTimeout: idle, OnExpiry: Drop})
	kept, keptServer := l.connect()
	client, server := l.connect()
	nodetest.Pass(t, client, server, "hello")
	_ = client.CloseWrite()
	_ = server.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	nodetest.Pass(t, server, client, "half closed")
	start := time.Now()
	closed := l.node.Await(t, is(trace.MappingClosed, relay.Opened(client)))
	if after := closed.Time.Sub(start); after < idle-100*time.Millisecond || after > idle+2*time.Second {
		t.Errorf("forgotten %v after the last packet", after)
	}
	_, _ = server.Write([]byte("still half closed?"))
	if e := l.node.Await(t, is(trace.Blocked, relay.Opened(client))); e.By != "server" || e.Detail != noMapping {
		t.Errorf("blocked: %v", e)
	}
	nodetest.Nothing(t, client)
	nodetest.Pass(t, kept, keptServer, "established")
}

// TestTimeoutsBySysctl looks at what the kernel is told, and that it is told Linux's own
// figures when the settings are taken back.
func TestTimeoutsBySysctl(t *testing.T) {
	t.Parallel()
	l := newLabWith(t, Settings{IdleTimeout: time.Minute, TransitoryTimeout: 240 * time.Second, UDPTimeout: 300 * time.Second, OnExpiry: Drop})
	look := func(want map[string]string) {
		t.Helper()
		for name, value := range want {
			if got := l.nat.Sysctl(t, "net.netfilter.nf_conntrack_"+name); got != value {
				t.Errorf("%s is %s, not %s", name, got, value)
			}
		}
	}
	look(map[string]string{
		"tcp_timeout_syn_sent": "240", "tcp_timeout_syn_recv": "240", "tcp_timeout_fin_wait": "240", "tcp_timeout_close_wait": "240",
		"tcp_timeout_last_ack": "240", "tcp_timeout_time_wait": "240", "tcp_timeout_established": "60", "tcp_timeout_close": "10",
		"udp_timeout": "300", "udp_timeout_stream": "300",
	})
	l.node.Call(t, "configure", map[string]any{"settings": map[string]any{"transitory_timeout": nil, "udp_timeout": nil}}, nil)
	l.node.Call(t, "status", nil, nil)
	look(map[string]string{
		"tcp_timeout_syn_sent": "120", "tcp_timeout_fin_wait": "120", "tcp_timeout_close_wait": "60", "tcp_timeout_established": "60",
		"udp_timeout": "30", "udp_timeout_stream": "120",
	})
}

// TestUDPTimeout lets a mapping of UDP expire.
func TestUDPTimeout(t *testing.T) {
	t.Parallel()
	l := newLabWith(t, Settings{IdleTimeout: time.Minute, UDPTimeout: idle, OnExpiry: Drop})
	l.client.MustDo(t, func() error { return sendUDP("10.20.0.2:4000", "203.0.113.2:9") })
	of := func(typ trace.Type) trace.Event {
		return l.node.Await(t, func(e trace.Event) bool { return e.Type == typ && e.Detail == "udp" })
	}
	created := of(trace.MappingCreated)
	if after := of(trace.MappingExpired).Time.Sub(created.Time); after < idle-100*time.Millisecond || after > idle+2*time.Second {
		t.Errorf("expired after %v", after)
	}
}

func sendUDP(from, to string) error {
	dialer := net.Dialer{}
	if from != "" {
		addr, err := net.ResolveUDPAddr("udp4", from)
		if err != nil {
			return err
		}
		dialer.LocalAddr = addr
	}
	c, err := dialer.Dial("udp4", to)
	if err != nil {
		return err
	}
	_, err = c.Write([]byte("hello"))
	return errors.Join(err, c.Close())
}

// refused tries to connect to an address and expects that nothing comes of it.
func (l *lab) refused(host *nodetest.Host, address string) {
	l.t.Helper()
	err := host.Do(func() error {
		c, err := net.DialTimeout("tcp4", address, 500*time.Millisecond)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	if err == nil {
		l.t.Errorf("%s connected to %s", host.Name, address)
	}
}

// TestFullTable fills the table: those that are in it live, nobody else gets in until one
// of them has closed its connection.
func TestFullTable(t *testing.T) {
	for _, intercepted := range []bool{false, true} {
		t.Run(map[bool]string{false: "forwarded", true: "intercepted"}[intercepted], func(t *testing.T) {
			t.Parallel()
			const most = 3
			l := newLabWith(t, Settings{IdleTimeout: time.Minute, OnExpiry: Drop, MaxEntries: most, OnFull: DropNew})
			if intercepted {
				l.intercept(true)
			}
			var clients, servers []*net.TCPConn
			for range most {
				c, s := l.connect()
				clients, servers = append(clients, c), append(servers, s)
			}
			for range 3 {
				l.refused(l.client, serverAddr)
			}
			e := l.node.Await(t, func(e trace.Event) bool { return e.Type == trace.Blocked })
			if e.Detail != tableFull || e.By != "client" || e.Flow.Dst.String() != serverAddr {
				t.Errorf("blocked: %v", e)
			}
			for i := range most {
				nodetest.Pass(t, clients[i], servers[i], "still there?")
				nodetest.Pass(t, servers[i], clients[i], "yes")
			}
			_, _ = clients[0].Close(), servers[0].Close()
			l.node.AwaitType(t, trace.MappingClosed)
			if intercepted { // the client's own leg may close a moment later
				l.node.AwaitType(t, trace.RelayClosed)
			}
			c, s := l.connect() // its SYN may have to be sent again
			nodetest.Pass(t, c, s, "in")
			l.refused(l.client, serverAddr)
			if n := l.node.Count(trace.MappingEvicted); n != 0 {
				t.Errorf("%d mappings were evicted", n)
			}
		})
	}
}

// TestEvict fills the table of a NAT that makes room: what has been silent for longest goes.
func TestEvict(t *testing.T) {
	for _, intercepted := range []bool{false, true} {
		t.Run(map[bool]string{false: "forwarded", true: "intercepted"}[intercepted], func(t *testing.T) {
			t.Parallel()
			l := newLabWith(t, Settings{IdleTimeout: time.Minute, OnExpiry: Drop, MaxEntries: 2, OnFull: Evict})
			if intercepted {
				l.intercept(true)
			}
			first, firstServer := l.connect()
			second, secondServer := l.connect()
			time.Sleep(time.Second) // silence is what counts
			nodetest.Pass(t, first, firstServer, "not silent")
			time.Sleep(300 * time.Millisecond) // for the counters to be read
			third, thirdServer := l.connect()
			e := l.node.AwaitType(t, trace.MappingEvicted)
			if *e.Next != relay.Accepted(secondServer) {
				t.Errorf("evicted %v, not %v", e.Next, relay.Accepted(secondServer))
			}
			if e.Dur < 900*time.Millisecond || e.Dur > 10*time.Second {
				t.Errorf("evicted, as it says, %v after the last packet", e.Dur)
			}
			if intercepted {
				l.node.AwaitType(t, trace.RelayClosed)
			}
			_, _ = second.Write([]byte("still there?"))
			l.node.Await(t, is(trace.Blocked, relay.Opened(second)))
			nodetest.Nothing(t, secondServer)
			nodetest.Pass(t, first, firstServer, "still there?")
			nodetest.Pass(t, third, thirdServer, "still there?")
			if n := l.node.Count(trace.MappingEvicted); n != 1 {
				t.Errorf("%d mappings were evicted", n)
			}
		})
	}
}

// TestForward connects to the client's own machine by a port forward: from the outside,
// and from the inside where the NAT hairpins.
func TestForward(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		t.Run(map[bool]string{false: "no hairpin", true: "hairpin"}[hairpin], func(t *testing.T) {
			t.Parallel()
			const service = natAddr + ":8443"
			l := &lab{t: t, client: nodetest.NewHost(t, "client"), nat: nodetest.NewHost(t, "nat"), server: nodetest.NewHost(t, "server")}
			nodetest.Cable(t, l.client, "10.20.0.2/24", l.nat, "10.20.0.1/24")
			nodetest.Cable(t, l.nat, natAddr+"/24", l.server, "203.0.113.2/24")
			l.client.Route(t, "203.0.113.0/24", "10.20.0.1")
			l.node = l.nat.Start(t, Kind(), &Settings{
				IdleTimeout: idle, OnExpiry: Drop, Forward: map[string]string{"tcp/8443": "bob:443"}, Hairpin: hairpin,
			}, topology.NodeSpec{
				Interfaces: []topology.Interface{nodetest.Interface("home", "10.20.0.1/24"), nodetest.Interface("internet", natAddr+"/24")},
				Hosts:      map[string]netip.Addr{"bob": netip.MustParseAddr("10.20.0.2")},
			})
			l.listener = l.client.Listen(t, "10.20.0.2:443")

			out := l.server.MustDial(t, service)
			in := nodetest.Accept(t, l.listener)
			nodetest.Pass(t, out, in, "from the outside")
			nodetest.Pass(t, in, out, "welcome")
			if got := in.RemoteAddr().String(); got != out.LocalAddr().String() {
				t.Errorf("who is forwarded comes from %s, not %s", got, out.LocalAddr())
			}
			created := l.node.Await(t, is(trace.MappingCreated, relay.Opened(out)))
			if *created.Next != relay.Accepted(in) {
				t.Errorf("created %v, bob sees %v", created.Next, relay.Accepted(in))
			}
			l.refused(l.server, natAddr+":8444")

			if hairpin {
				own := l.client.MustDial(t, service)
				in := nodetest.Accept(t, l.listener)
				nodetest.Pass(t, own, in, "from the inside")
				nodetest.Pass(t, in, own, "welcome")
				if got := in.RemoteAddr().(*net.TCPAddr).IP.String(); got != natAddr {
					t.Errorf("who is inside comes from %s", got)
				}
				l.node.Call(t, "intercept", map[string]bool{"on": true}, nil) // which leaves it alone
				nodetest.Pass(t, own, in, "still there")
				own = l.client.MustDial(t, service)
				in = nodetest.Accept(t, l.listener)
				nodetest.Pass(t, own, in, "from the inside")
			} else {
				l.refused(l.client, service)
				e := l.node.Await(t, func(e trace.Event) bool { return e.Type == trace.Blocked && e.Detail == noHairpin })
				if e.By != "client" || e.Flow.Dst.String() != service {
					t.Errorf("blocked: %v", e)
				}
			}

			l.node.Await(t, is(trace.MappingExpired, relay.Opened(out)))
			_, _ = in.Write([]byte("push"))
			_, _ = out.Write([]byte("anyone?"))
			e := l.node.Await(t, is(trace.Blocked, relay.Opened(out)))
			if e.Detail != noMapping {
				t.Errorf("blocked: %v", e)
			}
		})
	}
}

// TestManyMappings has ten thousand of them and looks at what following them costs.
func TestManyMappings(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 mappings in -short")
	}
	l := newLabWith(t, Settings{IdleTimeout: time.Minute, UDPTimeout: time.Minute, OnExpiry: Drop})
	client, server := l.connect()
	const many = 10000
	l.client.MustDo(t, func() error {
		for port := range many {
			if err := sendUDP("10.20.0.2:"+strconv.Itoa(20000+port), "203.0.113.2:9"); err != nil {
				return err
			}
		}
		return nil
	})
	created := 0
	l.node.Await(t, func(e trace.Event) bool {
		if e.Type == trace.MappingCreated {
			created++
		}
		return created == many+1
	})
	before := processorTime(t, l.node.PID())
	const watched = 5 * time.Second
	time.Sleep(watched) // what it costs to do nothing is what is tested
	used := processorTime(t, l.node.PID()) - before
	t.Logf("%d mappings: %v of processor time in %v", many, used, watched)
	if used > watched {
		t.Errorf("it takes a processor to follow %d mappings", many)
	}
	nodetest.Pass(t, client, server, "still there?")
	var result struct {
		Mappings int `json:"mappings"`
	}
	l.node.Call(t, "flush", nil, &result)
	if result.Mappings != many+1 {
		t.Errorf("flushed %d mappings", result.Mappings)
	}
}

// processorTime is what a process has used, as proc_pid_stat(5) has it.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, system, tick = 11, 12, 10 * time.Millisecond
	var sum time.Duration
	for _, i := range []int{user, system} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(n) * tick
	}
	return sum
}
