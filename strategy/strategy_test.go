package strategy

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWaits(t *testing.T) {
	for _, c := range []struct {
		name   string
		r      Reconnect
		random float64
		want   []string
	}{
		{"defaults", Reconnect{}, 0.5, []string{"1s", "2s", "4s", "8s", "16s", "30s", "30s"}},
		{"factor", Reconnect{Base: 3 * time.Second, Factor: 1.5, Max: 10 * time.Second}, 0, []string{"3s", "4.5s", "6.75s", "10s"}},
		{"constant", Reconnect{Base: 5 * time.Second, Factor: 1}, 0, []string{"5s", "5s", "5s"}},
		{"equal jitter, least", Reconnect{Jitter: 0.5}, 0, []string{"500ms", "1s", "2s", "4s", "8s", "15s"}},
		{"equal jitter, half", Reconnect{Jitter: 0.5}, 0.5, []string{"750ms", "1.5s", "3s", "6s", "12s", "22.5s"}},
		{"full jitter, least", Reconnect{Jitter: 1}, 0, []string{"0s", "0s"}},
		{"full jitter, quarter", Reconnect{Jitter: 1}, 0.25, []string{"250ms", "500ms", "1s", "2s", "4s", "7.5s"}},
		{"socket.io, least", find("socket.io"), 0, []string{"500ms", "1s", "2s", "4s", "5s"}},
		{"socket.io, middle", find("socket.io"), 0.5, []string{"1s", "2s", "4s", "5s", "5s"}},
		{"reconnecting-websocket", find("reconnecting-websocket"), 0.25, []string{"2s", "2.6s", "3.38s", "4.394s"}},
		{"partysocket", find("partysocket"), 0.5, []string{"3s", "3.9s", "5.07s", "6.591s", "8.5683s", "10s"}},
		{"signalr", find("signalr"), 0.5, []string{"0s", "2s", "10s", "30s"}},
		{"phoenix", find("phoenix"), 0.5, []string{"10ms", "50ms", "100ms", "150ms", "200ms", "250ms", "500ms", "1s", "2s", "5s", "5s"}},
		{"actioncable", find("actioncable"), 0, []string{"6s", "6.9s", "7.934999999s"}},
		{"centrifuge-js", find("centrifuge-js"), 0.5, []string{"750ms", "1s", "1.5s", "2.5s", "4.5s", "8.5s", "10.5s", "10.5s"}},
		{"python-websockets", find("python-websockets"), 0.5, []string{"0s", "2.5s", "3.1s", "5.0158s"}},
		{"stompjs", find("stompjs"), 0.5, []string{"5s", "5s"}},
		{"graphql-ws", find("graphql-ws"), 0, []string{"1.3s", "2.3s", "4.3s", "8.3s", "16.3s"}},
		{"AWS, full", find("full-jitter"), 0.5, []string{"500ms", "1s", "2s", "4s", "8s", "15s", "15s"}},
		{"AWS, equal", find("equal-jitter"), 0.5, []string{"750ms", "1.5s", "3s", "6s", "12s", "22.5s"}},
		{"AWS, decorrelated", find("decorrelated-jitter"), 0.5, []string{"2s", "3.5s", "5.75s"}},
		{"base above the default maximum", Reconnect{Base: time.Minute}, 0, []string{"1m0s", "1m0s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			waits := c.r.Waits(func() float64 { return c.random })
			for n := range c.want {
				got = append(got, waits(n+1).String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// find returns how a built-in strategy reconnects.
func find(name string) Reconnect {
	s, _ := Find(name)
	return *s.Reconnect
}

func TestWaitsStayInTheirBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r := Reconnect{Jitter: 1}
	waits := r.Waits(random.Float64)
	for n := range 5000 {
		if d := waits(n); d < 0 || d > 30*time.Second {
			t.Fatalf("try %d: %s", n, d)
		}
	}
}

func TestScale(t *testing.T) {
	s := Strategy{
		Keepalive: Keepalive{
			Ping:      &Ping{Interval: 10 * time.Second},
			Heartbeat: &Heartbeat{},
			TCP:       &TCPKeepalive{Idle: 7 * time.Second, Interval: 30 * time.Second},
		},
		Reconnect: &Reconnect{Tries: -1},
	}
	want := Strategy{
		Keepalive: Keepalive{
			Ping:      &Ping{Interval: 2 * time.Second, Timeout: 2 * time.Second},
			Heartbeat: &Heartbeat{Interval: 5 * time.Second, Timeout: 2 * time.Second},
			TCP:       &TCPKeepalive{Idle: time.Second, Interval: 6 * time.Second, Count: 4},
		},
		Reconnect:      &Reconnect{Base: 200 * time.Millisecond, Max: 6 * time.Second, Factor: 2, Tries: -1, ResetAfter: time.Second, Spread: SpreadBelow},
		ConnectTimeout: 2 * time.Second,
	}
	if diff := cmp.Diff(want, s.Scale(5)); diff != "" {
		t.Error(diff)
	}
	if s.Keepalive.Ping.Timeout != 0 || s.Reconnect.Base != 0 {
		t.Error("Scale changed its receiver")
	}
	if diff := cmp.Diff(s.WithDefaults(), s.WithDefaults().WithDefaults()); diff != "" {
		t.Error(diff)
	}
}

func TestBuiltin(t *testing.T) {
	var names []string
	for _, n := range Builtin() {
		names = append(names, n.Name)
		if n.Summary == "" {
			t.Errorf("%s has no summary", n.Name)
		}
		raw, err := json.Marshal(n.Strategy)
		if err != nil {
			t.Fatal(err)
		}
		var back Strategy
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(n.Strategy, back); diff != "" {
			t.Errorf("%s through JSON: %s", n.Name, diff)
		}
	}
	want := []string{
		"none", "ws-ping", "heartbeat", "slow-ping", "twitchy", "tcp-keepalive", "reconnect-only", "firewall-aware", "adaptive",
		"gorilla-chat", "socket.io", "reconnecting-websocket", "partysocket", "signalr", "phoenix", "actioncable",
		"centrifuge-js", "python-websockets", "websocket-client", "aiohttp", "java-websocket", "okhttp", "stompjs",
		"graphql-ws", "backoff", "full-jitter", "equal-jitter", "decorrelated-jitter",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

func TestURL(t *testing.T) {
	plain, wss, both := Strategy{}, Strategy{ForceWSS: true}, Strategy{ForceWSS: true, StandardPorts: true}
	for _, c := range []struct {
		s         Strategy
		raw, want string // want "" is an error
	}{
		{plain, "ws://server:8080/x?y=z", "ws://server:8080/x?y=z"},
		{wss, "ws://server/", "wss://server/"},
		{wss, "ws://server:80/", "wss://server/"},
		{wss, "ws://server:8080/", "wss://server:8080/"},
		{wss, "wss://server:8443/", "wss://server:8443/"},
		{both, "ws://server:8080/chat", "wss://server/chat"},
		{both, "ws://[2001:db8::1]:8080/", "wss://[2001:db8::1]/"},
		{Strategy{StandardPorts: true}, "ws://server:8080/", "ws://server/"},
		{plain, "http://server/", ""},
		{plain, "server", ""},
		{plain, "ws://", ""},
		{plain, "ws://server/#part", ""},
		{plain, "ws://server:port/", ""},
	} {
		got, err := c.s.URL(c.raw)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v; want %q", c.raw, got, err, c.want)
		}
	}
}

func TestCloseText(t *testing.T) {
	seen := make(map[string]int)
	for code := 1000; code <= 1015; code++ {
		text := CloseText(code)
		if other, twice := seen[text]; twice || text == CloseText(0) {
			t.Errorf("%d: %q, as %d", code, text, other)
		}
		seen[text] = code
	}
	for code, want := range map[int]string{999: "not a close code", 1016: "not a close code", 3000: "registered for a library or an application", 4999: "private code of the application"} {
		if got := CloseText(code); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
}

func FuzzHeartbeatKey(f *testing.F) {
	f.Add([]byte(`{"type":"heartbeat","ts":"2026-01-02T03:04:05.678Z"}`))
	f.Add([]byte(`{"type":"echo","seq":1}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, ok := heartbeatKey(text); ok == (key == "") {
			t.Errorf("%q: %q, %v", text, key, ok)
		}
	})
}

func FuzzURL(f *testing.F) {
	f.Add("ws://server:80/x", true, true)
	f.Add("wss://[::1]:1/#", false, true)
	f.Fuzz(func(t *testing.T, raw string, wss, ports bool) {
		s := Strategy{ForceWSS: wss, StandardPorts: ports}
		once, err := s.URL(raw)
		if err != nil {
			return
		}
		if twice, err := s.URL(once); err != nil || twice != once {
			t.Errorf("%q: %q, then %q, %v", raw, once, twice, err)
		}
	})
}
