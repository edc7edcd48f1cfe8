package server

import (
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
)

// expect reads a message, beside which the server may tell what has arrived.
func expect(t *testing.T, ws *websocket.Conn, want string) {
	t.Helper()
	for {
		_, got, err := ws.ReadMessage()
		if m, ok := strategy.ParseResumption(got); ok && m.Type == "received" {
			continue
		}
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		return
	}
}

// exchange writes a message and reads another.
func exchange(t *testing.T, ws *websocket.Conn, opcode int, send, want string) {
	t.Helper()
	if err := ws.WriteMessage(opcode, []byte(send)); err != nil {
		t.Fatal(err)
	}
	expect(t, ws, want)
}

func TestSessionIsResumed(t *testing.T) {
	r := start(t)
	ws := r.dial("/?session=a")
	exchange(t, ws, websocket.TextMessage, `{"type":"resume","session":"x","received":7}`, `{"type":"resumed","received":0,"fresh":true}`)
	exchange(t, ws, websocket.TextMessage, `{"type":"message","seq":1}`, `{"type":"echo","seq":1}`)
	exchange(t, ws, websocket.TextMessage, `{"type":"heartbeat","ts":"t"}`, `{"type":"heartbeat","ts":"t"}`)
	exchange(t, ws, websocket.BinaryMessage, "as it came", "as it came")
	r.call("talk", map[string]any{"ids": []string{"a"}, "interval": time.Hour}, nil)
	expect(t, ws, `{"type":"push","seq":1}`)
	_ = ws.Close()
	r.await("closed", func(e trace.Event) bool { return e.Type == trace.ServerClosed })
	// A session without a connection is pushed to all the same.
	r.call("talk", map[string]any{"ids": []string{"a"}, "interval": time.Hour}, nil)
	r.await("second push", func(e trace.Event) bool { return e.Type == trace.ServerPushed && e.Seq == 2 })

	// The first echo has arrived, and nothing else.
	ws = r.dial("/?session=a")
	exchange(t, ws, websocket.TextMessage, `{"type":"resume","session":"x","received":1}`, `{"type":"resumed","received":2}`)
	resumed := r.await("resumed", func(e trace.Event) bool { return e.Type == trace.ServerResumed && e.Detail == "" })
	if resumed.Conn != 2 || resumed.Count != 2 {
		t.Errorf("%+v", resumed)
	}
	for _, want := range []string{"as it came", `{"type":"push","seq":1}`, `{"type":"push","seq":2}`} {
		expect(t, ws, want)
	}
	// A third connection takes the place of the second, whose messages do not count any more.
	third := r.dial("/?session=a")
	exchange(t, third, websocket.TextMessage, `{"type":"resume","session":"x","received":4}`, `{"type":"resumed","received":2}`)
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"message","seq":2}`)); err != nil {
		t.Fatal(err)
	}
	exchange(t, third, websocket.TextMessage, `{"type":"message","seq":2}`, `{"type":"echo","seq":2}`)
	_ = ws.Close()
	r.await("second closed", func(e trace.Event) bool { return e.Type == trace.ServerClosed && e.Conn == 2 })
	if got := r.entry("a"); got.Received != 2 || got.Duplicates != 0 || got.Pushed != 2 {
		t.Errorf("%+v", got)
	}
	// Pushes go to the connection that is open.
	r.call("talk", map[string]any{"ids": []string{"a"}, "interval": time.Hour}, nil)
	expect(t, third, `{"type":"push","seq":3}`)
}

// A connection that the client dropped, having opened it beside another, is not where pushes go to.
func TestPushesGoToTheConnectionThatIsLeft(t *testing.T) {
	r := start(t)
	first, second := r.dial("/?session=a"), (*websocket.Conn)(nil)
	r.exchange(first, websocket.TextMessage, "x", "x")
	second = r.dial("/?session=a")
	r.exchange(second, websocket.TextMessage, "x", "x")
	_ = second.Close()
	r.await("closed", func(e trace.Event) bool { return e.Type == trace.ServerClosed })
	r.call("talk", map[string]any{"ids": []string{"a"}, "interval": time.Hour}, nil)
	expect(t, first, `{"type":"push","seq":1}`)
}

// What says that it resumes without naming a session is no resumption.
func TestWhatIsNoResumption(t *testing.T) {
	r := start(t)
	ws := r.dial("/?session=a")
	for _, text := range []string{`{"type":"resume"}`, `{"type":"received","received":3}`, `{"type":"resumed","received":-1}`} {
		r.exchange(ws, websocket.TextMessage, text, text)
	}
}
