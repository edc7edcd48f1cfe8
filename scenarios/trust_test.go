package scenarios

import (
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

func TestUntrusted(t *testing.T) {
	margins := []margin{{4 * time.Second, "outages"}, {600 * time.Millisecond, "the ping of twitchy"}, {5 * time.Second, "the heartbeat"}}
	const ms = time.Millisecond
	type late map[string]time.Duration
	tests := []struct {
		name   string
		runner time.Duration
		nodes  late
		speed  float64
		want   string
	}{
		{"nothing measured", 0, nil, 15, ""},
		{"as any machine", 29 * ms, late{"nat": 29 * ms, "alice": 28 * ms}, 15, ""},
		{"under half of the least margin", 59 * ms, late{"nat": 29 * ms}, 5, ""},
		{"half of it", 29 * ms, late{"nat": 60 * ms}, 5, "node nat was woken up to 60ms late, 300ms of lab time: too late to tell (the ping of twitchy)"},
		{"the runner", 70 * ms, late{"nat": 60 * ms}, 5, "wslab was woken up to 70ms late, 350ms of lab time: too late to tell (the ping of twitchy)"},
		{"a node and the runner", 59 * ms, late{"nat": 59 * ms}, 5, ""},
		{"two nodes", 59 * ms, late{"alice": 31 * ms, "server": 30 * ms, "nat": 40 * ms}, 5,
			"nodes nat and alice together were woken up to 71ms late, 360ms of lab time: too late to tell (the ping of twitchy)"},
		{"the same in real time", 60 * ms, late{"nat": 60 * ms, "alice": 60 * ms}, 1, ""},
	}
	for _, tt := range tests {
		if got := untrusted(tt.runner, tt.nodes, tt.speed, margins); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestOpenedApart: what is opened in the steps does not count.
func TestOpenedApart(t *testing.T) {
	start := time.Now()
	open := func(before time.Duration) trace.Event {
		return trace.Event{Type: trace.Open, Time: start.Add(-before)}
	}
	tests := []struct {
		name   string
		events []trace.Event
		want   string
	}{
		{"none", nil, ""},
		{"one, long before", []trace.Event{open(3 * time.Second)}, ""},
		{"near each other", []trace.Event{open(3 * time.Second), open(2600 * time.Millisecond), open(-time.Second)}, ""},
		{"far apart", []trace.Event{open(time.Second), open(400 * time.Millisecond)}, "the first session was open 6s of lab time before the last one: too far apart to tell what their keepalives do"},
	}
	for _, tt := range tests {
		if got := openedApart(tt.events, start, 10); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestMargins: what a client does in time, and how much time there is.
func TestMargins(t *testing.T) {
	lab := newFakeLab(t, 10)
	p, err := newPlayer(lab, Play{Scenario: &Scenario{Name: "x"}, Expect: []Expectation{{Client: "heartbeat"}, {Client: "slow-ping"}, {Client: "none"}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range p.margins() {
		all = append(all, m.of.String()+" "+m.why)
	}
	got := strings.Join(all, "\n")
	for _, want := range []string{
		"10s the heartbeat of heartbeat, every 20s, has the idle timeout of nat, 30s, to keep",
		"10s the heartbeat of heartbeat has to be answered within 10s",
		"10s the ping of slow-ping has to be answered within 10s",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "slow-ping, every") {
		t.Errorf("a ping that comes too late anyway has no margin:\n%s", got)
	}
}
