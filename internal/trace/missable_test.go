package trace

import (
	"testing"
	"time"
)

func TestMissable(t *testing.T) {
	kept, dropped, outside := flow("192.168.1.2:40001", "203.0.113.3:443"), flow("192.168.1.2:40002", "203.0.113.3:443"), flow("203.0.113.2:40002", "203.0.113.3:443")
	start := time.Now()
	events := []Event{
		{Type: MappingCreated, Node: "nat", Flow: dropped, Next: outside},
		{Type: Accepted, Session: "s", Conn: 1, Flow: kept},
		{Type: Accepted, Session: "s", Conn: 2, Flow: outside},
		{Type: Open, Session: "s", Conn: 1, Flow: kept},
		{Type: DialDropped, Session: "s", Conn: 1, Flow: dropped},
		{Type: ServerPushed, Session: "s", Conn: 2, Seq: 1},
		{Type: ServerPushed, Session: "s", Conn: 1, Seq: 2},
		{Type: ServerPushed, Session: "other", Conn: 1, Seq: 1},
		// A server that was restarted counts from 1 again.
		{Type: Accepted, Session: "s", Conn: 2, Flow: kept},
		{Type: ServerPushed, Session: "s", Conn: 2, Seq: 1},
	}
	for i := range events {
		events[i].Time = start.Add(time.Duration(i) * time.Millisecond)
	}
	trace := New(start, start.Add(time.Second), 1, events)
	var pushed []int64
	for _, e := range trace.Missable("s") {
		if e.Type == ServerPushed {
			pushed = append(pushed, e.Seq)
		}
	}
	if len(pushed) != 2 || pushed[0] != 2 || pushed[1] != 1 {
		t.Errorf("pushes %d are left", pushed)
	}
}
