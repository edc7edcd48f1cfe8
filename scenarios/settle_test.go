package scenarios

import (
	"testing"

	"github.com/wslab/wslab/internal/trace"
)

// TestOutstanding: of several connections that a client tried at once it keeps one. What the server has
// pushed over another that it held for the newest is nothing to wait for.
func TestOutstanding(t *testing.T) {
	event := func(typ trace.Type, conn int, seq int64) trace.Event {
		return trace.Event{Type: typ, Session: "s", Conn: conn, Seq: seq}
	}
	begin := []trace.Event{event(trace.Accepted, 1, 0), event(trace.Open, 1, 0)}
	tests := []struct {
		name   string
		events []trace.Event
		want   int
	}{
		{"nothing", nil, 0},
		{"a push on its way", []trace.Event{event(trace.ServerPushed, 1, 1)}, 1},
		{"a push that the server has given up with its connection", []trace.Event{event(trace.ServerPushed, 1, 1), event(trace.ServerClosed, 1, 0)}, 1},
		{"a push over one that nobody wanted", []trace.Event{
			event(trace.Accepted, 2, 0), event(trace.Open, 2, 0), event(trace.Accepted, 3, 0), event(trace.ServerPushed, 3, 1),
			event(trace.ServerClosed, 1, 0), event(trace.ServerClosed, 3, 0), event(trace.ServerPushed, 2, 2), event(trace.Received, 2, 2), event(trace.Answered, 2, 2),
		}, 0},
	}
	for _, tt := range tests {
		events := append(begin[:2:2], tt.events...)
		if got := outstanding(events, "s"); got != tt.want {
			t.Errorf("%s: %d outstanding, want %d", tt.name, got, tt.want)
		}
		if got := unansweredPushes(events, "s"); got != tt.want {
			t.Errorf("%s: %d pushes unanswered, want %d", tt.name, got, tt.want)
		}
	}
}
