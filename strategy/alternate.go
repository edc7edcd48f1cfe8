package strategy

import (
	"context"
	"sync"

	"github.com/gorilla/websocket"
)

// otherEvery is which of several attempts in a row is made another way although one is known that works.
const otherEvery = 4

// Alternate returns a [DialFunc] that goes one of several ways: as long as none has succeeded they take turns, in
// their order; then the one that succeeded last is gone, and another every fourth attempt in a row. There has to be
// at least one.
func Alternate(ways ...DialFunc) DialFunc {
	var a alternation
	return func(ctx context.Context) (*websocket.Conn, error) {
		way := a.choose(len(ways))
		ws, err := ways[way](ctx)
		if err == nil {
			a.succeeded(way)
		}
		return ws, err
	}
}

// alternation is who chooses between ways. It is safe for concurrent use.
type alternation struct {
	mu sync.Mutex
	// good is the way that succeeded last, known says that there is one.
	good  int
	known bool
	// turn counts the attempts since then, others those of them that went another way.
	turn, others int
}

// choose returns the way of the next attempt.
func (a *alternation) choose(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn++
	switch {
	case !a.known:
		return (a.turn - 1) % n
	case n == 1 || a.turn%otherEvery != 0:
		return a.good
	}
	a.others++
	return (a.good + 1 + (a.others-1)%(n-1)) % n
}

// succeeded notes the way of an attempt that did.
func (a *alternation) succeeded(way int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.good, a.known, a.turn = way, true, 0
}
