package strategy

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// Whatever a path bears, what is learned stays under it, and comes near.
func TestLearnedStaysUnderWhatThePathBears(t *testing.T) {
	a := *Strategy{Keepalive: Keepalive{Adaptive: &Adaptive{}}}.WithDefaults().Keepalive.Adaptive
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		limit := a.Least + 1 + time.Duration(random.Int64N(int64(a.Most)))
		var l Learned
		lost := 0
		for range 300 {
			l.bound(a)
			if l.Quiet < limit {
				l.borne(l.Quiet, a)
			} else {
				l.broken(l.Quiet, a)
				lost++
			}
		}
		if l.Quiet >= limit || float64(l.Quiet) < 0.8*min(float64(limit), float64(a.Most)) || lost > 8 {
			t.Errorf("a path that bears %s: %+v after %d lost connections", limit, l, lost)
		}
	}
}

func TestLearnedWhenThePathChanges(t *testing.T) {
	a := *Strategy{Keepalive: Keepalive{Adaptive: &Adaptive{}}}.WithDefaults().Keepalive.Adaptive
	l := Learned{}
	for range 30 {
		l.bound(a)
		l.borne(l.Quiet, a)
	}
	long := l.Quiet
	l.broken(20*time.Second, a)
	if l.Quiet != long {
		t.Errorf("one connection that was lost for another reason: %+v", l)
	}
	l.broken(20*time.Second, a)
	if l.Quiet != 10*time.Second || l.Broken != 20*time.Second {
		t.Errorf("a path that bears less than it did: %+v", l)
	}
}

func TestLearnedOfData(t *testing.T) {
	a := *Strategy{Keepalive: Keepalive{Adaptive: &Adaptive{Heartbeat: true}}}.WithDefaults().Keepalive.Adaptive
	l := Learned{}
	l.starved(time.Minute, a)
	if l.hungry(a) != 48*time.Second {
		t.Errorf("%+v", l)
	}
	l.starved(40*time.Second, a) // with a heartbeat every 48 s it cannot have been that
	if l.hungry(a) != 0 {
		t.Errorf("%+v", l)
	}
	a.Heartbeat = false
	l.starved(time.Minute, a)
	if l.hungry(a) != 0 {
		t.Errorf("it may not send any: %+v", l)
	}
}

func TestMemoryForgetsTheOldestPath(t *testing.T) {
	var m Memory
	for i := range mostPaths + 1 {
		m.use(string(rune('A'+i)), func(l *Learned) { l.Quiet = time.Duration(i) })
		m.use("B", func(*Learned) {})
	}
	paths := m.Paths()
	_, a := paths["A"]
	_, b := paths["B"]
	if len(paths) != mostPaths || a || !b {
		t.Errorf("%d paths, A %v, B %v", len(paths), a, b)
	}
}

func TestMemoryInAFile(t *testing.T) {
	var m, back Memory
	m.use("10.0.0.1 > 10.0.0.2", func(l *Learned) { l.Quiet, l.Broken = 40*time.Second, time.Minute })
	text, err := m.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := back.UnmarshalJSON(text); err != nil || back.Paths()["10.0.0.1 > 10.0.0.2"].Quiet != 40*time.Second {
		t.Errorf("%s: %v, %v", text, back.Paths(), err)
	}
	for _, wrong := range []string{`[]`, `{"x":null}`, `{"x":{"quiet":-1}}`, `{"x":{"quiet":"1s"}}`} {
		if err := back.UnmarshalJSON([]byte(wrong)); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
	if len(back.Paths()) != 1 {
		t.Error("what was not taken has changed the memory")
	}
}

func FuzzMemory(f *testing.F) {
	f.Add([]byte(`{"a > b":{"quiet":25000000000,"broken":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m Memory
		if m.UnmarshalJSON(text) != nil {
			return
		}
		a := *Strategy{Keepalive: Keepalive{Adaptive: &Adaptive{}}}.WithDefaults().Keepalive.Adaptive
		for name := range m.Paths() {
			m.use(name, func(l *Learned) {
				l.bound(a)
				if l.Quiet < a.Least || l.Quiet > a.Most || l.patience(a) < a.Patience || l.patience(a) > 10*a.Patience {
					t.Errorf("%+v", l)
				}
				l.borne(l.Quiet, a)
				l.broken(l.Quiet, a)
			})
		}
	})
}

// pings are the seconds at which pings were sent.
func (r *run) pings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var at []string
	for _, e := range r.events {
		if before, _, ok := strings.Cut(e, " sent ping"); ok {
			at = append(at, before)
		}
	}
	return at
}

func TestAdaptiveAsksLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "adaptive"))
		r.at(300)
		_ = r.stop()
		// Three times 25 s, three times 31.25 s, three times 39.06 s, and so on.
		want := []string{"25.0s", "50.0s", "75.0s", "106.2s", "137.5s", "168.8s", "207.8s", "246.9s", "285.9s"}
		if got := r.pings(); !slices.Equal(got, want) {
			t.Errorf("pings at %v, want %v", got, want)
		}
	})
}

// A path that forgets after 40 s costs one connection; from then on what was learned holds, for the next
// session with the same memory as well.
func TestAdaptiveLearnsWhatThePathBears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		n.forgets.Store(int64(40 * time.Second))
		memory := new(Memory)
		r := beginWith(t, n, builtin(t, "adaptive"), Options{Memory: memory})
		r.at(3600)
		_ = r.stop()
		var l Learned
		for _, l = range memory.Paths() {
		}
		if l.Quiet >= 40*time.Second || l.Quiet < 30*time.Second || r.count("opened") > 3 {
			t.Errorf("%d connections, learned %+v", r.count("opened"), l)
		}
		again := beginWith(t, n, builtin(t, "adaptive"), Options{Memory: memory})
		again.at(3600)
		_ = again.stop()
		if again.count("opened") != 1 || len(again.pings()) > 3600/30 {
			t.Errorf("the next session needed %d connections and %d pings", again.count("opened"), len(again.pings()))
		}
	})
}

func TestAdaptiveIsQuietWhileOthersSpeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "adaptive"))
		for range 600 {
			_, _ = r.Send(websocket.TextMessage, []byte("x"))
			time.Sleep(100 * time.Millisecond)
		}
		_ = r.stop()
		if got := r.pings(); len(got) != 0 {
			t.Errorf("pings at %v", got)
		}
	})
}

// What the program has sent and nobody answers is asked about soon, and another connection is there three
// seconds later.
func TestAdaptiveInABlackHoleThatSwallowsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "adaptive"))
		r.at(10)
		n.swallow()
		_, _ = r.Send(websocket.TextMessage, []byte("x"))
		r.at(20)
		r.expect("0.0s dial 1", "0.0s opened 1", "11.5s sent ping 1", "14.5s doubted 1", "14.5s waiting 0s", "14.5s dial 1",
			"14.5s timeout ping 1", "14.5s closed 1 1006 strategy", "14.5s opened 2")
		_ = r.stop()
	})
}

// A server that never answers what the program sends is not asked after every message.
func TestAdaptiveWhereNobodyAnswersMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, func(ws *websocket.Conn) {
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
			}
		})
		defer n.close()
		r := begin(t, n, builtin(t, "adaptive"))
		for range 600 {
			_, _ = r.Send(websocket.TextMessage, []byte("x"))
			time.Sleep(time.Second)
		}
		_ = r.stop()
		if got := r.pings(); len(got) > 30 || r.count("opened") != 1 {
			t.Errorf("%d pings in ten minutes: %v", len(got), got)
		}
	})
}

// Slow is not dead: the old connection is heard of before there is another.
func TestAdaptiveInALatencyStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "adaptive"))
		r.at(1)
		n.latency.Store(int64(6 * time.Second))
		for range 60 {
			_, _ = r.Send(websocket.TextMessage, []byte("x"))
			time.Sleep(time.Second)
		}
		n.latency.Store(0)
		time.Sleep(30 * time.Second)
		_ = r.stop()
		if r.count("opened") != 1 || r.count("doubted") == 0 || r.count("doubted") != r.count("trusted") || len(r.got) != 60 {
			t.Errorf("%d messages came back; %v", len(r.got), r.events)
		}
	})
}

// A program that is busy with a message does not take its own silence for the peer's.
func TestAdaptiveWhileTheProgramIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		busy := make(chan struct{})
		var once bool
		r := beginWith(t, n, builtin(t, "adaptive"), Options{OnMessage: func(Message) {
			if !once {
				once = true
				<-busy
			}
		}})
		for range 3 {
			_, _ = r.Send(websocket.TextMessage, []byte("x"))
			time.Sleep(time.Second)
		}
		r.at(300)
		close(busy)
		r.at(310)
		_ = r.stop()
		if r.count("opened") != 1 || r.count("doubted") != 0 {
			t.Errorf("%v", r.events)
		}
	})
}

func TestAdaptiveWhenTheAddressIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		n.local.Store(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 1234})
		r := beginWith(t, n, builtin(t, "adaptive"), Options{Addresses: func() ([]net.Addr, error) {
			return []net.Addr{&net.IPNet{IP: n.local.Load().IP, Mask: net.CIDRMask(24, 32)}}, nil
		}})
		r.at(12)
		n.local.Store(&net.TCPAddr{IP: net.IPv4(192, 168, 1, 9), Port: 4321})
		r.at(18)
		_ = r.stop()
		r.expect("0.0s dial 1", "0.0s opened 1", "13.5s closed 1 1006 strategy", "13.5s waiting 0s", "13.5s dial 1", "13.5s opened 2",
			"18.0s closed 2 1000 caller")
	})
}

func TestAdaptiveAfterACleanEndAndARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		r := begin(t, n, builtin(t, "adaptive"))
		r.at(10)
		n.refuse.Store(true)
		n.reset()
		r.at(12)
		n.refuse.Store(false)
		r.at(13)
		_ = r.stop()
		if got := r.events[2:6]; !slices.Equal(got, []string{"10.0s closed 1 1006 network", "10.0s waiting 0s", "10.0s dial 1", "10.0s failed 1"}) || r.count("opened") != 2 {
			t.Errorf("%v", r.events)
		}
	})
}

// Attempts that nobody answers get others beside them, up to the number that is allowed.
func TestAdaptiveAttemptsBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		s := builtin(t, "adaptive")
		var started atomic.Int32
		r := beginDialling(t, s, func(ctx context.Context) (*websocket.Conn, error) {
			if started.Add(1) < 5 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return n.dial(ctx)
		}, Options{})
		r.at(10)
		_ = r.stop()
		slices.Sort(r.events) // what happens at the same time has no order
		// The oldest stays as long as there is none.
		r.expect("0.0s dial 1", "1.0s dial 2", "10.0s closed 1 1000 caller", "3.0s dial 3", "5.0s dial 4", "5.0s dropped 2",
			"7.0s dial 5", "7.0s dropped 1", "7.0s dropped 3", "7.0s dropped 4", "7.0s opened 1")
	})
}

// Without reconnect there is no other connection to be had: the old one gets the whole limit.
func TestAdaptiveWithoutReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, echo)
		defer n.close()
		s := builtin(t, "adaptive")
		s.Reconnect = nil
		r := begin(t, n, s)
		n.hole.Store(true)
		r.at(200)
		r.expect("0.0s dial 1", "0.0s opened 1", "25.0s sent ping 1", "85.0s timeout ping 1", "85.0s closed 1 1006 strategy",
			"85.0s gave up (the strategy does not reconnect)")
		if err := r.stop(); !errors.Is(err, ErrGaveUp) {
			t.Errorf("run: %v", err)
		}
	})
}

// A ping costs no byte that it does not need: it has a payload only while an earlier answer may still come.
func TestAdaptivePingsAreShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var payloads []string
		n := newNetwork(t, func(ws *websocket.Conn) {
			pong := ws.PingHandler()
			ws.SetPingHandler(func(payload string) error {
				payloads = append(payloads, payload)
				if len(payloads) == 1 {
					return ws.WriteMessage(websocket.TextMessage, []byte("anything"))
				}
				return pong(payload)
			})
			echo(ws)
		})
		defer n.close()
		r := begin(t, n, builtin(t, "adaptive"))
		r.at(76)
		_ = r.stop()
		r.expect("0.0s dial 1", "0.0s opened 1", "25.0s sent ping 1", "50.0s sent ping 2", "50.0s answered ping 2 0s",
			"75.0s sent ping 3", "75.0s answered ping 3 0s", "76.0s closed 1 1000 caller")
		if len(payloads) != 3 || payloads[0] != "" || payloads[1] == "" || payloads[2] != "" {
			t.Errorf("payloads %q", payloads)
		}
	})
}
