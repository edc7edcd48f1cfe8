package strategy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run is a session at work on a network.
type run struct {
	*Session
	t      *testing.T
	start  time.Time
	stop   func() error
	mu     sync.Mutex
	events []string
	got    []string
}

var typeNames = map[EventType]string{
	DialStart: "dial", DialFailed: "failed", Opened: "opened", Closed: "closed", KeepaliveSent: "sent", KeepaliveAnswered: "answered",
	KeepaliveTimeout: "timeout", KeepaliveLate: "late", Waiting: "waiting", GaveUp: "gave up",
	Doubted: "doubted", Trusted: "trusted", DialDropped: "dropped", Resumed: "resumed",
}

// line is an event as tests expect it: the second since the start, the type, what matters of the rest.
func (r *run) line(e Event) string {
	words := []string{fmt.Sprintf("%.1fs", e.Time.Sub(r.start).Seconds()), typeNames[e.Type]}
	switch e.Type {
	case DialStart, DialFailed, DialDropped:
		words = append(words, fmt.Sprint(e.Attempt))
	case Opened, Doubted, Trusted:
		words = append(words, fmt.Sprint(e.Conn))
	case Closed:
		words = append(words, fmt.Sprint(e.Conn), fmt.Sprint(e.Code), e.By)
	case Waiting:
		words = append(words, e.Dur.String())
	case Resumed:
		words = append(words, fmt.Sprint(e.Conn), fmt.Sprint(e.Count), "("+e.Text+")")
	case GaveUp:
		words = append(words, "("+e.Text+")")
	default:
		words = append(words, e.Means, fmt.Sprint(e.Seq))
		if e.Type == KeepaliveAnswered || e.Type == KeepaliveLate {
			words = append(words, e.Dur.String())
		}
	}
	return strings.Join(words, " ")
}

// begin runs a strategy on a network, inside a bubble of virtual time.
func begin(t *testing.T, n *network, s Strategy) *run { return beginWith(t, n, s, Options{}) }

func beginWith(t *testing.T, n *network, s Strategy, o Options) *run {
	return beginDialling(t, s, n.dial, o)
}

func beginDialling(t *testing.T, s Strategy, dial DialFunc, o Options) *run {
	r := &run{t: t, start: time.Now()}
	o.Seed = 1
	o.OnEvent = func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, r.line(e))
	}
	if o.OnMessage == nil {
		o.OnMessage = func(m Message) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.got = append(r.got, string(m.Data))
		}
	}
	r.Session = New(s, dial, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = func() error {
		cancel()
		return <-done
	}
	synctest.Wait()
	return r
}

// count counts the events of a type.
func (r *run) count(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if strings.Fields(e)[1] == name {
			n++
		}
	}
	return n
}

// at waits for a second of the run.
func (r *run) at(second float64) {
	time.Sleep(time.Until(r.start.Add(time.Duration(second * float64(time.Second)))))
	synctest.Wait()
}

// expect compares the events so far.
func (r *run) expect(want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.events, want) {
		r.t.Errorf("events:\n%s\nwant:\n%s", strings.Join(r.events, "\n"), strings.Join(want, "\n"))
	}
}

func builtin(t *testing.T, name string) Strategy {
	t.Helper()
	for _, n := range Builtin() {
		if n.Name == name {
			return n.Strategy
		}
	}
	t.Fatalf("no strategy %s", name)
	return Strategy{}
}

func TestNoneHearsNothingOfABlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "none"))
		n.hole.Store(true)
		if _, err := r.Send(websocket.TextMessage, []byte("x")); err != nil {
			t.Errorf("send into a black hole: %v", err)
		}
		r.at(3600)
		r.expect("0.0s dial 1", "0.0s opened 1")
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		// Nobody answers the close frame: the connection is dropped after CloseTimeout.
		r.expect("0.0s dial 1", "0.0s opened 1", "3605.0s closed 1 1006 caller")
	})
}

func TestClosingHandshakeWhenTheCallerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, Strategy{})
		if _, err := r.Send(websocket.TextMessage, []byte("hello")); err != nil {
			t.Error(err)
		}
		r.at(1)
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		r.expect("0.0s dial 1", "0.0s opened 1", "1.0s closed 1 1000 caller")
		if !slices.Equal(r.got, []string{"hello"}) {
			t.Errorf("got %q", r.got)
		}
		if _, err := r.Send(websocket.TextMessage, nil); !errors.Is(err, ErrNotConnected) {
			t.Errorf("send after the end: %v", err)
		}
	})
}

func TestPingNoticesABlackHoleAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "ws-ping"))
		r.at(16)
		n.hole.Store(true)
		r.at(60)
		r.expect("0.0s dial 1", "0.0s opened 1", "15.0s sent ping 1", "15.0s answered ping 1 0s",
			"30.0s sent ping 2", "40.0s timeout ping 2", "40.0s closed 1 1006 strategy",
			"40.0s gave up (the strategy does not reconnect)")
		if err := r.stop(); !errors.Is(err, ErrGaveUp) {
			t.Errorf("run: %v", err)
		}
	})
}

func TestHeartbeatAnswersAreKeptFromTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "heartbeat"))
		n.latency.Store(int64(50 * time.Millisecond))
		r.at(41)
		_ = r.stop()
		r.expect("0.0s dial 1", "0.0s opened 1", "20.0s sent heartbeat 1", "20.1s answered heartbeat 1 100ms",
			"40.0s sent heartbeat 2", "40.1s answered heartbeat 2 100ms", "41.1s closed 1 1000 caller")
		if len(r.got) != 0 {
			t.Errorf("got %q", r.got)
		}
	})
}

func TestFalseAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "twitchy"))
		n.latency.Store(int64(1200 * time.Millisecond))
		r.at(11)
		r.expect("0.0s dial 1", "0.0s opened 1", "5.0s sent ping 1", "7.0s timeout ping 1", "7.0s closed 1 1006 strategy",
			"7.0s waiting 1s", "7.4s late ping 1 2.4s", "8.0s dial 1", "10.4s opened 2")
		_ = r.stop()
	})
}

func TestNewConnectionDoesNotWaitForTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, func(ws *websocket.Conn) {
			pong := ws.PingHandler()
			ws.SetPingHandler(func(payload string) error {
				time.Sleep(4 * time.Second)
				return pong(payload)
			})
			echo(ws)
		})
		defer n.close()
		r := begin(t, n, builtin(t, "twitchy"))
		r.at(9.5)
		r.expect("0.0s dial 1", "0.0s opened 1", "5.0s sent ping 1", "7.0s timeout ping 1", "7.0s closed 1 1006 strategy",
			"7.0s waiting 1s", "8.0s dial 1", "8.0s opened 2", "9.0s late ping 1 4s")
		_ = r.stop()
	})
}

// Once a connection was given up its messages are not the caller's any more.
func TestMessagesOfAnAbandonedConnectionAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "ws-ping"))
		n.latency.Store(int64(6 * time.Second))
		r.at(22)
		if _, err := r.Send(websocket.TextMessage, []byte("late")); err != nil {
			t.Error(err)
		}
		r.at(60)
		r.expect("0.0s dial 1", "0.0s opened 1", "15.0s sent ping 1", "25.0s timeout ping 1", "25.0s closed 1 1006 strategy",
			"25.0s gave up (the strategy does not reconnect)", "27.0s late ping 1 12s")
		if len(r.got) != 0 {
			t.Errorf("got %q", r.got)
		}
		_ = r.stop()
	})
}

func TestReconnectAfterAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "reconnect-only"))
		r.at(10)
		n.refuse.Store(true)
		n.reset()
		r.at(12)
		n.refuse.Store(false)
		r.at(14)
		if conn, err := r.Send(websocket.TextMessage, []byte("again")); err != nil || conn != 2 {
			t.Errorf("send: connection %d, %v", conn, err)
		}
		synctest.Wait()
		// It has not lasted for five seconds yet: the count goes on.
		n.reset()
		r.at(16)
		_ = r.stop()
		r.expect("0.0s dial 1", "0.0s opened 1", "10.0s closed 1 1006 network",
			"10.0s waiting 1s", "11.0s dial 1", "11.0s failed 1", "11.0s waiting 2s", "13.0s dial 2", "13.0s opened 2",
			"14.0s closed 2 1006 network", "14.0s waiting 4s")
	})
}

// tellsOnce is a connection that was reset: as of a kernel's socket, a write is told, and
// who reads sees the end of the stream.
type tellsOnce struct {
	net.Conn
	reset *atomic.Bool
}

func (c tellsOnce) Write(b []byte) (int, error) {
	if !c.reset.Load() {
		return c.Conn.Write(b)
	}
	_ = c.SetReadDeadline(time.Now())
	return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
}

func (c tellsOnce) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.reset.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF
	}
	return n, err
}

func TestAResetThatAWriteIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		var reset atomic.Bool
		var ended error
		s := New(Strategy{}, func(ctx context.Context) (*websocket.Conn, error) {
			d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) {
				c, err := n.connect()
				return tellsOnce{c, &reset}, err
			}}
			ws, _, err := d.DialContext(ctx, "ws://server/", nil)
			return ws, err
		}, Options{OnEvent: func(e Event) {
			if e.Type == Closed {
				ended = e.Err
			}
		}})
		done := make(chan error, 1)
		go func() { done <- s.Run(t.Context()) }()
		synctest.Wait()
		reset.Store(true)
		if _, err := s.Send(websocket.TextMessage, []byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("send: %v", err)
		}
		if err := <-done; !errors.Is(err, ErrGaveUp) { // it has no reconnect
			t.Errorf("the session ended with %v", err)
		}
		if !errors.Is(ended, syscall.ECONNRESET) {
			t.Errorf("the connection ended with %v", ended)
		}
	})
}

func TestGivesUpAfterItsTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "reconnect-only"))
		r.at(10)
		n.refuse.Store(true)
		n.reset()
		r.at(100)
		r.expect("0.0s dial 1", "0.0s opened 1", "10.0s closed 1 1006 network",
			"10.0s waiting 1s", "11.0s dial 1", "11.0s failed 1",
			"11.0s waiting 2s", "13.0s dial 2", "13.0s failed 2",
			"13.0s waiting 4s", "17.0s dial 3", "17.0s failed 3",
			"17.0s waiting 8s", "25.0s dial 4", "25.0s failed 4",
			"25.0s waiting 16s", "41.0s dial 5", "41.0s failed 5", "41.0s gave up (5 tries failed)")
		if err := r.stop(); !errors.Is(err, ErrGaveUp) || !errors.Is(err, errRefused) {
			t.Errorf("run: %v", err)
		}
	})
}

func TestFirstConnectionIsTriedAgainToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		n.refuse.Store(true)
		r := begin(t, n, builtin(t, "reconnect-only"))
		r.at(0.5)
		n.refuse.Store(false)
		r.at(2)
		_ = r.stop()
		r.expect("0.0s dial 1", "0.0s failed 1", "0.0s waiting 1s", "1.0s dial 2", "1.0s opened 1", "2.0s closed 1 1000 caller")
	})
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		n.hole.Store(true)
		r := begin(t, n, Strategy{ConnectTimeout: 3 * time.Second})
		r.at(5)
		r.expect("0.0s dial 1", "3.0s failed 1", "3.0s gave up (the strategy does not reconnect)")
		if err := r.stop(); !errors.Is(err, ErrGaveUp) {
			t.Error(err)
		}
	})
}

func TestPeerCloses(t *testing.T) {
	for _, c := range []struct {
		code      int
		reconnect bool
	}{
		{websocket.CloseNormalClosure, false},
		{websocket.CloseGoingAway, true},
		{websocket.ClosePolicyViolation, false},
		{websocket.CloseServiceRestart, true},
		{4000, true},
	} {
		t.Run(fmt.Sprint(c.code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, func(ws *websocket.Conn) {
					time.Sleep(time.Second)
					_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(c.code, "why"), time.Now().Add(time.Second))
					_, _, _ = ws.ReadMessage()
				})
				defer n.close()
				r := begin(t, n, builtin(t, "reconnect-only"))
				r.at(1.5)
				want := []string{"0.0s dial 1", "0.0s opened 1", fmt.Sprintf("1.0s closed 1 %d peer", c.code)}
				if c.reconnect {
					want = append(want, "1.0s waiting 1s")
				} else {
					want = append(want, fmt.Sprintf("1.0s gave up (the peer closed with %d: %s)", c.code, CloseText(c.code)))
				}
				r.expect(want...)
				if err := r.stop(); (err == nil) != c.reconnect {
					t.Errorf("run: %v", err)
				}
			})
		})
	}
}

func TestPingAndHeartbeatAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "firewall-aware"))
		r.at(61)
		r.expect("0.0s dial 1", "0.0s opened 1",
			"25.0s sent heartbeat 1", "25.0s answered heartbeat 1 0s",
			"30.0s sent ping 1", "30.0s answered ping 1 0s",
			"50.0s sent heartbeat 2", "50.0s answered heartbeat 2 0s",
			"60.0s sent ping 2", "60.0s answered ping 2 0s")
		_ = r.stop()
	})
}

// A peer that reads nothing any more must hold neither keepalive nor the end up.
func TestPeerThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		n := newNetwork(t, func(*websocket.Conn) { <-release })
		defer n.close()
		defer close(release)
		r := begin(t, n, builtin(t, "heartbeat"))
		blocked := make(chan error, 1)
		go func() {
			for {
				if _, err := r.Send(websocket.TextMessage, []byte("x")); err != nil {
					blocked <- err
					return
				}
			}
		}()
		r.at(60)
		r.expect("0.0s dial 1", "0.0s opened 1", "20.0s sent heartbeat 1", "30.0s timeout heartbeat 1",
			"30.0s closed 1 1006 strategy", "30.0s gave up (the strategy does not reconnect)")
		if err := <-blocked; err == nil {
			t.Error("the blocked message was written")
		}
		_ = r.stop()
	})
}

func TestManySendersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		s := builtin(t, "firewall-aware").Scale(1000)
		r := begin(t, n, s)
		var senders sync.WaitGroup
		for i := range 20 {
			senders.Go(func() {
				for range 50 {
					if _, err := r.Send(websocket.TextMessage, []byte{'a' + byte(i)}); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		senders.Wait()
		synctest.Wait()
		_ = r.stop()
		if len(r.got) != 1000 {
			t.Errorf("%d of 1000 messages came back", len(r.got))
		}
	})
}
