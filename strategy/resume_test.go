package strategy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// numbered is the text of message n.
func numbered(n int) []byte { return fmt.Appendf(nil, "%d", n) }

// inbox is what arrived at one end.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (i *inbox) take(data []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, string(data))
}

// isWhole reports what is not as it was sent: each message once, in its order.
func (i *inbox) isWhole(t *testing.T, who string, sent int) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, text := range i.got {
		if text != string(numbered(n)) {
			t.Errorf("%s: message %d is %q", who, n, text)
			return
		}
	}
	if len(i.got) != sent {
		t.Errorf("%s: %d of %d messages arrived", who, len(i.got), sent)
	}
}

// Connections end at any moment, in black holes and with a reset, while both ends send: everything arrives, once and
// in its order.
func TestResumedSessionsLoseNothing(t *testing.T) {
	for _, name := range []string{"adaptive", "twitchy", "firewall-aware", "phoenix"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var atClient, atServer inbox
				random := rand.New(rand.NewPCG(3, 4))
				var mu sync.Mutex
				var peer *Peer
				peers := &Peers{OnMessage: func(p *Peer, _ int, data []byte) {
					mu.Lock()
					peer = p
					mu.Unlock()
					atServer.take(data)
				}}
				n := newNetwork(t, func(ws *websocket.Conn) { _ = peers.Serve(ws) })
				defer n.close()
				n.latency.Store(int64(20 * time.Millisecond))
				s := builtin(t, name)
				s.Resume = &Resume{}
				s.Reconnect.Tries = -1
				r := beginWith(t, n, s, Options{OnMessage: func(m Message) { atClient.take(m.Data) }})
				sent, pushed := 0, 0
				for range 3000 {
					if _, err := r.Send(websocket.TextMessage, numbered(sent)); err == nil {
						sent++
					} else if !errors.Is(err, ErrFull) {
						t.Fatal(err)
					}
					mu.Lock()
					p := peer
					mu.Unlock()
					if p != nil && p.Send(websocket.TextMessage, numbered(pushed)) == nil {
						pushed++
					}
					switch random.IntN(300) {
					case 0:
						n.swallow()
					case 1:
						n.reset()
						synctest.Wait()
					}
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(2 * time.Minute)
				if left := r.Unacknowledged(); left != 0 {
					t.Errorf("%d messages are not acknowledged", left)
				}
				_ = r.stop()
				atServer.isWhole(t, "at the server", sent)
				atClient.isWhole(t, "at the client", pushed)
				if sent < 2000 || r.count("resumed") < 4 {
					t.Errorf("%d messages over %d connections", sent, r.count("resumed"))
				}
			})
		})
	}
}

// A server that was restarted has forgotten: it gets again what it had not acknowledged.
func TestResumedAtAServerThatKnowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var atServer inbox
		take := func(p *Peer, _ int, data []byte) {
			atServer.take(data)
			_ = p.Send(websocket.TextMessage, data)
		}
		var mu sync.Mutex
		peers := &Peers{OnMessage: take}
		n := newNetwork(t, func(ws *websocket.Conn) {
			mu.Lock()
			p := peers
			mu.Unlock()
			_ = p.Serve(ws)
		})
		defer n.close()
		s := builtin(t, "adaptive")
		s.Resume = &Resume{}
		r := begin(t, n, s)
		_, _ = r.Send(websocket.TextMessage, numbered(0))
		r.at(10)
		mu.Lock()
		peers = &Peers{OnMessage: take}
		mu.Unlock()
		n.reset()
		synctest.Wait()
		_, _ = r.Send(websocket.TextMessage, numbered(1))
		r.at(20)
		_ = r.stop()
		atServer.isWhole(t, "at the servers", 2)
		if !slices.Equal(r.got, []string{"0", "1"}) {
			t.Errorf("at the client: %v", r.got)
		}
		if !slices.ContainsFunc(r.events, func(e string) bool { return strings.Contains(e, "resumed 2 0 (the peer knew nothing") }) {
			t.Errorf("%v", r.events)
		}
	})
}

// With a server that does not resume all is as without Resume, but that messages wait for a connection.
func TestResumeWithAPeerThatDoesNot(t *testing.T) {
	for name, serve := range map[string]func(*websocket.Conn){
		"sends everything back": echo,
		"is silent": func(ws *websocket.Conn) {
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, serve)
				defer n.close()
				s := builtin(t, "adaptive")
				s.Resume = &Resume{Messages: 2}
				r := begin(t, n, s)
				for i := range 10 {
					if _, err := r.Send(websocket.TextMessage, numbered(i)); err != nil {
						t.Errorf("message %d: %v", i, err)
					}
					time.Sleep(10 * time.Second)
				}
				n.reset()
				synctest.Wait()
				_, _ = r.Send(websocket.TextMessage, numbered(10))
				time.Sleep(10 * time.Second)
				_ = r.stop()
				if name == "sends everything back" && len(r.got) != 11 || r.count("resumed") != 2 || r.Unacknowledged() != 0 {
					t.Errorf("%v; %v", r.got, r.events)
				}
			})
		})
	}
}

func TestResumeRefusesWhatIsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, func(ws *websocket.Conn) { _ = new(Peers).Serve(ws) })
		defer n.close()
		s := builtin(t, "adaptive")
		s.Resume = &Resume{Messages: 3, Bytes: 10}
		r := begin(t, n, s)
		r.at(5)
		n.refuse.Store(true)
		n.reset()
		synctest.Wait()
		var errs []error
		for _, text := range []string{"a message that is longer than allowed", "x", "y"} {
			_, err := r.Send(websocket.TextMessage, []byte(text))
			errs = append(errs, err)
		}
		if errs[0] != nil || !errors.Is(errs[1], ErrFull) || !errors.Is(errs[2], ErrFull) {
			t.Errorf("%v", errs)
		}
		n.refuse.Store(false)
		r.at(60)
		if _, err := r.Send(websocket.TextMessage, []byte("x")); err != nil {
			t.Error(err)
		}
		_ = r.stop()
		if _, err := r.Send(websocket.TextMessage, []byte("x")); !errors.Is(err, ErrNotConnected) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Clients that do not resume are served, too, and sessions that stay away are forgotten.
func TestPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := &Peers{Keep: time.Minute, OnMessage: func(p *Peer, opcode int, data []byte) {
			_ = p.Send(opcode, append([]byte(p.Name()[:min(1, len(p.Name()))]), data...))
		}}
		n := newNetwork(t, func(ws *websocket.Conn) { _ = peers.Serve(ws) })
		defer n.close()
		s := Strategy{Keepalive: Keepalive{Heartbeat: &Heartbeat{}}}
		plain := begin(t, n, s)
		_, _ = plain.Send(websocket.TextMessage, []byte("x"))
		plain.at(60)
		_ = plain.stop()
		if !slices.Equal(plain.got, []string{"x"}) || plain.count("answered") != 2 {
			t.Errorf("%v, %v", plain.got, plain.events)
		}
		s.Resume = &Resume{}
		r := begin(t, n, s)
		synctest.Wait()
		_, _ = r.Send(websocket.TextMessage, []byte("x"))
		time.Sleep(time.Minute)
		_ = r.stop()
		if r.count("answered") != 2 || r.count("resumed") != 1 || len(r.got) != 1 || len(r.got[0]) != 2 {
			t.Errorf("%v, %v", r.got, r.events)
		}
		kept := func() int {
			peers.mu.Lock()
			defer peers.mu.Unlock()
			return len(peers.sessions)
		}
		if kept() != 1 {
			t.Errorf("%d sessions", kept())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if kept() != 0 {
			t.Errorf("%d sessions are not forgotten", kept())
		}
	})
}

func FuzzResumption(f *testing.F) {
	f.Add([]byte(`{"type":"resume","session":"x","received":3}`))
	f.Add([]byte(`{"type":"resumed","received":18446744073709551615,"fresh":true}`))
	f.Add([]byte(`{"type":"received"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, ok := ParseResumption(text)
		if !ok {
			return
		}
		r := NewReplay(Resume{})
		for range 3 {
			_, _ = r.Keep(websocket.TextMessage, text)
		}
		r.Acknowledged(m.Received)
		r.next(m.Received)
		if back, ok := ParseResumption(m.Text()); !ok || back != m {
			t.Errorf("%q: %+v, then %+v", text, m, back)
		}
	})
}
