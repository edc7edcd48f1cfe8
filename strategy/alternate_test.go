package strategy

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/gorilla/websocket"
)

func TestAlternate(t *testing.T) {
	var tried []int
	works := -1
	way := func(i int) DialFunc {
		return func(context.Context) (*websocket.Conn, error) {
			tried = append(tried, i)
			if i == works {
				return new(websocket.Conn), nil
			}
			return nil, errors.New("no")
		}
	}
	dial := Alternate(way(0), way(1), way(2))
	attempts := func(n int) []int {
		tried = nil
		for range n {
			_, _ = dial(t.Context())
		}
		return tried
	}
	if got := attempts(5); !slices.Equal(got, []int{0, 1, 2, 0, 1}) {
		t.Errorf("before one has succeeded: %v", got)
	}
	works = 2
	if got := attempts(3); !slices.Equal(got, []int{2, 2, 2}) {
		t.Errorf("once one has: %v", got)
	}
	works = -1
	if got := attempts(12); !slices.Equal(got, []int{2, 2, 2, 0, 2, 2, 2, 1, 2, 2, 2, 0}) {
		t.Errorf("when it does no more: %v", got)
	}
	var one alternation
	for range 10 {
		if one.choose(1) != 0 {
			t.Error("one way is no choice")
		}
	}
}

func TestURLs(t *testing.T) {
	adaptive := builtin(t, "adaptive")
	for _, c := range []struct {
		s    Strategy
		raw  string
		want []string
	}{
		{adaptive, "ws://server:8080/", []string{"wss://server/", "ws://server:8080/"}},
		{adaptive, "wss://server:8443/x", []string{"wss://server/x", "wss://server:8443/x"}},
		{adaptive, "wss://server/", []string{"wss://server/"}},
		{builtin(t, "firewall-aware"), "ws://server:8080/", []string{"wss://server/"}},
		{adaptive, "http://server/", nil},
	} {
		if got, err := c.s.URLs(c.raw); !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%s: %v, %v", c.raw, got, err)
		}
	}
}
