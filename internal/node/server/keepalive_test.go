package server

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
)

func TestDemanded(t *testing.T) {
	for query, want := range map[string]demand{
		"session=a":                            {},
		"interval=1s":                          {},
		"keepalive=carrier-pigeon&interval=1s": {},
		"keepalive=ping&interval=54s&timeout=6s": {
			means: meansPing, interval: 54 * time.Second, timeout: 6 * time.Second,
		},
		"keepalive=heartbeat&interval=3s&silence=1m&timeout=-1s": {
			means: meansHeartbeat, interval: 3 * time.Second, silence: time.Minute,
		},
		"keepalive=ping&interval=1ns": {means: meansPing},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, demanded(values), cmp.AllowUnexported(demand{})); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

// dialWith opens a connection whose server is asked for keepalive.
func dialWith(t *testing.T, r *rig, query string) *websocket.Conn {
	t.Helper()
	ws, response, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+r.http+"/?session=a&"+query, nil)
	if response != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

func closedByServer(e trace.Event) bool { return e.Type == trace.ServerClosed }

func TestServerBeatsOnDemand(t *testing.T) {
	r := start(t)
	ws := dialWith(t, r, "keepalive=heartbeat&interval=5ms&timeout=1m")
	for want := range 3 {
		_, data, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		var m message
		if err := json.Unmarshal(data, &m); err != nil || m.Type != typeBeat {
			t.Fatalf("got %s, %v", data, err)
		}
		m.Type = typeBeatAck
		if err := ws.WriteMessage(websocket.TextMessage, m.text()); err != nil {
			t.Fatalf("answer %d: %v", want, err)
		}
	}
}

func TestServerGivesUpWhoDoesNotAnswer(t *testing.T) {
	for _, c := range []struct{ query, why string }{
		{"keepalive=heartbeat&interval=5ms&timeout=5ms", "its heartbeat got no answer in time"},
		{"keepalive=ping&interval=5ms&timeout=5ms", "its ping got no answer in time"},
		{"keepalive=ping&silence=5ms", "the client was silent for too long"},
	} {
		t.Run(c.query, func(t *testing.T) {
			r := start(t)
			dialWith(t, r, c.query) // nobody reads: no ping is answered
			e := r.await("the end", closedByServer)
			if e.By != byKeepalive || e.Code != websocket.CloseAbnormalClosure || e.Detail != c.why {
				t.Errorf("by %s, %d, %q", e.By, e.Code, e.Detail)
			}
		})
	}
}
