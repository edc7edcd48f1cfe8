package strategy

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// The table of what real libraries take to notice a black hole on an idle connection:
// calculated from their defaults, and measured.
func TestDetection(t *testing.T) {
	for _, c := range []struct {
		name           string
		client, server string
	}{
		{"none", "never", "never"},
		{"ws-ping", "10 s to 25 s", "never"},
		{"firewall-aware", "10 s to 35 s", "never"},
		{"adaptive", "3 s to 28 s", "never"},
		{"gorilla-chat", "never", "6 s to 60 s"},
		{"reconnecting-websocket", "never", "never"},
		{"partysocket", "never", "never"},
		{"socket.io", "20 s to 45 s", "20 s to 45 s"},
		{"signalr", "15 s to 30 s", "15 s to 30 s"},
		{"phoenix", "30 s to 60 s", "30 s to 60 s"},
		{"actioncable", "3 s to 18 s", "never"},
		{"centrifuge-js", "10 s to 35 s", "8 s to 33 s"},
		{"python-websockets", "20 s to 40 s", "20 s to 40 s"},
		{"websocket-client", "30 s to 60 s", "never"},
		{"aiohttp", "15 s to 45 s", "never"}, // 0.5 H to 1.5 H
		{"java-websocket", "60 s to 120 s", "never"},
		{"okhttp", "30 s to 60 s", "never"}, // P to 2 P
		{"stompjs", "10 s to 30 s", "never"},
		{"graphql-ws", "never", "12 s to 24 s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := builtin(t, c.name)
			if got := s.Detection().String(); got != c.client {
				t.Errorf("the client: %s, want %s", got, c.client)
			}
			if got := s.ServerDetection().String(); got != c.server {
				t.Errorf("the server: %s, want %s", got, c.server)
			}
			if s.Keepalive.TCP != nil {
				return // the kernel's clock is not virtual
			}
			measureDetection(t, s)
		})
	}
}

// measureDetection opens black holes all over two minutes of an idle connection and
// compares how long each goes unnoticed with what was calculated.
func measureDetection(t *testing.T, s Strategy) {
	const phases = 400
	random := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	from, over := 2*time.Minute, 2*time.Minute
	if s.Keepalive.Adaptive != nil {
		from, over = 0, 3*s.Keepalive.Adaptive.First // then it has learned
	}
	for i := range phases {
		hole := from + time.Duration(i)*over/phases + time.Duration(random.Int64N(int64(250*time.Millisecond)))
		if d, noticed := detect(t, s, hole, random.Float64()); noticed {
			all = append(all, d)
		}
	}
	want := s.Detection()
	if want.Never() {
		if len(all) > 0 {
			t.Errorf("%d black holes were noticed", len(all))
		}
		return
	}
	if len(all) != phases {
		t.Fatalf("%d of %d black holes were noticed", len(all), phases)
	}
	least, most := all[0], all[0]
	for _, d := range all {
		least, most = min(least, d), max(most, d)
	}
	// Its ends are met as closely as the phases are apart; where the client looks
	// now and then they are rarely met at all.
	slack := time.Second
	if w := s.Keepalive.Watch; w != nil && w.Every > 0 {
		slack = 3 * time.Second
	}
	if least < want.Least-time.Millisecond || most > want.Most+time.Millisecond || least > want.Least+slack || most < want.Most-slack {
		t.Errorf("noticed after %s to %s, want %s", least, most, want)
	}
}

// detect opens a black hole and returns how long the client took to notice it.
func detect(t *testing.T, s Strategy, hole time.Duration, phase float64) (after time.Duration, noticed bool) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, func(ws *websocket.Conn) { serveKeepalive(ws, s.Keepalive.Server, phase) })
		defer n.close()
		var mu sync.Mutex
		var closed time.Time
		if s.Keepalive.Adaptive == nil {
			s.Reconnect = nil
		}
		session := New(s, n.dial, Options{OnEvent: func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			if (e.Type == KeepaliveTimeout || e.Type == Doubted) && closed.IsZero() {
				closed = e.Time
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- session.Run(ctx) }()
		time.Sleep(hole)
		n.hole.Store(true)
		began := time.Now()
		time.Sleep(3 * time.Minute)
		cancel()
		if err := <-done; err != nil && !errors.Is(err, ErrGaveUp) {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if noticed = !closed.IsZero(); noticed {
			after = closed.Sub(began)
		}
	})
	return after, noticed
}

// serveKeepalive is an echo that also sends what the strategy wants of its server.
// Both ends have clocks of their own: phase, from 0 to under 1, is how they differ.
func serveKeepalive(ws *websocket.Conn, v *Server, phase float64) {
	if v == nil || v.Interval == 0 {
		echo(ws)
		return
	}
	var writing sync.Mutex
	stop := make(chan struct{})
	var probing sync.WaitGroup
	probing.Go(func() {
		next := time.NewTimer(time.Duration(phase * float64(v.Interval)))
		defer next.Stop()
		for {
			select {
			case <-stop:
				return
			case <-next.C:
				next.Reset(v.Interval)
			}
			writing.Lock()
			if v.Means == MeansHeartbeat {
				_ = ws.WriteMessage(websocket.TextMessage, heartbeat{Type: typeBeat, TS: "1"}.text())
			} else {
				_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
			}
			writing.Unlock()
		}
	})
	for {
		opcode, data, err := ws.ReadMessage()
		if err != nil {
			break
		}
		if _, ok := timestamp(data, typeBeatAck); ok || opcode != websocket.TextMessage {
			continue
		}
		writing.Lock()
		_ = ws.WriteMessage(opcode, data)
		writing.Unlock()
	}
	close(stop)
	probing.Wait()
}
