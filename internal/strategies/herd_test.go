package strategies

import (
	"math"
	"testing"
	"time"

	"github.com/wslab/wslab/strategy"
)

// TestHerd holds the crowd of a thousand clients and a minute to known figures. Those of strategies that draw at random
// depend on the seed: they are met to within a fifth, or a dozen.
func TestHerd(t *testing.T) {
	herds := make(map[string]Herd)
	for _, h := range (Crowd{Clients: 1000, Down: time.Minute, Seed: 1}).Gather(strategy.Builtin()) {
		herds[h.Strategy] = h
	}
	for _, want := range []Herd{
		{"phoenix", 21, 1000, 1000, 4300 * time.Millisecond},
		{"partysocket", 9, 1000, 1000, 7100 * time.Millisecond},
		{"stompjs", 12, 1000, 1000, 0},
		{"socket.io", 14.1, 46, 1000, 5 * time.Second},
		{"reconnecting-websocket", 9.1, 21, 1000, 10 * time.Second},
		{"centrifuge-js", 10.5, 15, 1000, 19700 * time.Millisecond},
		{"python-websockets", 8, 29, 1000, 30 * time.Second},
		{"full-jitter", 8.6, 12, 1000, 29700 * time.Millisecond},
		{"signalr", 4, 0, 0, 0},
		{"graphql-ws", 5, 0, 0, 0},
	} {
		got := herds[want.Strategy]
		near := func(a, b, slack float64) bool { return math.Abs(a-b) <= max(slack, b/5) }
		if got.Back != want.Back || !near(got.Attempts, want.Attempts, .15) || !near(float64(got.Peak), float64(want.Peak), 12) ||
			!near(got.Last.Seconds(), want.Last.Seconds(), 1) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if none, ok := herds["none"]; ok {
		t.Errorf("a strategy that does not reconnect: %+v", none)
	}
}

func BenchmarkHerd(b *testing.B) {
	for b.Loop() {
		(Crowd{Clients: 1000, Down: time.Minute, Seed: 1}).Gather(strategy.Builtin())
	}
}
