package strategy

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// Five hundred clients of one strategy lose their connections at the same moment, and the server refuses them for
// thirty seconds: the strategies without jitter come back as one, the others spread out, the further the more of their
// wait is random.
func TestHerd(t *testing.T) {
	if testing.Short() {
		t.Skip("2000 sessions")
	}
	type herd struct {
		attempts float64
		peak     int
	}
	var herds []herd
	for _, name := range []string{"phoenix", "socket.io", "reconnecting-websocket", "full-jitter"} {
		synctest.Test(t, func(t *testing.T) {
			attempts, peak := returning(t, builtin(t, name), 500, 30*time.Second)
			t.Logf("%s: %.1f attempts per client, at most %d arrivals in 100 ms", name, attempts, peak)
			herds = append(herds, herd{attempts, peak})
		})
	}
	if herds[0].peak != 500 {
		t.Errorf("phoenix has no jitter, and %d of 500 clients came together", herds[0].peak)
	}
	for i := 1; i < len(herds); i++ {
		if herds[i].peak >= herds[i-1].peak {
			t.Errorf("the peaks are %+v, and should fall", herds)
		}
	}
	if least := slices.MinFunc(herds, func(a, b herd) int { return int(10 * (a.attempts - b.attempts)) }); herds[0].attempts < 1.5*least.attempts {
		t.Errorf("phoenix tries far more often than the others: %+v", herds)
	}
}

// returning lets clients lose their connections at the same moment and returns how often each tried, and how many
// came back within 100 ms at most.
func returning(t *testing.T, s Strategy, clients int, down time.Duration) (attempts float64, peak int) {
	s.Keepalive = Keepalive{} // nothing is quiet for long enough
	n := newNetwork(t, echo)
	defer n.close()
	var mu sync.Mutex
	tries := 0
	var arrivals []time.Time
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range clients {
		session := New(s, func(ctx context.Context) (*websocket.Conn, error) { return n.dial(ctx) }, Options{
			Seed: uint64(i + 1),
			OnEvent: func(e Event) {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case e.Type == DialStart && e.Conn == 2:
					tries++
				case e.Type == Opened && e.Conn == 2:
					arrivals = append(arrivals, e.Time)
				}
			},
		})
		running.Go(func() { _ = session.Run(ctx) })
	}
	synctest.Wait()
	n.refuse.Store(true)
	n.reset()
	time.Sleep(down - time.Nanosecond)
	n.refuse.Store(false)
	time.Sleep(time.Minute)
	cancel()
	running.Wait()
	if len(arrivals) != clients {
		t.Errorf("%d of %d clients came back", len(arrivals), clients)
	}
	slices.SortFunc(arrivals, time.Time.Compare)
	first := 0
	for i, at := range arrivals {
		for at.Sub(arrivals[first]) >= 100*time.Millisecond {
			first++
		}
		peak = max(peak, i-first+1)
	}
	return float64(tries) / float64(clients), peak
}
