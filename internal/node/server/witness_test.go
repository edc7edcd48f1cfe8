package server

import (
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
)

// TestWitness: what a client answers is told once, with the pushes that a pong proves.
func TestWitness(t *testing.T) {
	w := new(witness)
	w.pushed(1)
	w.pushed(2)
	talk := w.ask(talkPing)
	w.pushed(3)
	check := func(what string, got []trace.Event, want ...trace.Event) {
		t.Helper()
		for i := range got {
			if got[i].Type != trace.Answered || got[i].Dur <= 0 {
				t.Errorf("%s: %+v", what, got[i])
			}
			got[i] = trace.Event{Seq: got[i].Seq, Detail: got[i].Detail}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	check("push-ack", w.acknowledged(2), trace.Event{Seq: 2, Detail: byPushAck})
	check("again", w.acknowledged(2))
	check("pong", w.ponged(talk), trace.Event{Seq: 1, Detail: byPong}, trace.Event{Detail: byPong})
	check("again", w.ponged(talk))
	check("somebody else's", w.ponged("hello"))
	check("probe", w.ponged(w.ask(probePing)), trace.Event{Seq: 3, Detail: byPong}, trace.Event{Detail: byProbe})
}

// TestWitnessedClient: one that asked to be watched is recorded, whether it speaks the numbered echo or only
// connects; to one that does not answer the first push nothing but pings is sent.
func TestWitnessedClient(t *testing.T) {
	r := start(t)
	ws := r.dial("/?session=only&witness=1")
	texts := make(chan string, 10)
	go func() {
		defer close(texts)
		for {
			_, text, err := ws.ReadMessage() // which answers pings
			if err != nil {
				return
			}
			texts <- string(text)
		}
	}()
	ids := []string{"only"}
	r.await("accepted", func(e trace.Event) bool { return e.Type == trace.Accepted })
	answered := func(n int, detail string) {
		t.Helper()
		r.await(detail, func(trace.Event) bool {
			seen := 0
			for _, e := range r.events {
				if e.Type == trace.Answered && e.Session == "only" && e.Detail == detail && e.Flow != nil && e.Conn == 1 {
					seen++
				}
			}
			return seen >= n
		})
	}
	r.call("talk", map[string]any{"ids": ids, "interval": time.Hour}, nil)
	answered(2, byPong) // the push and the ping behind it
	r.call("talk", map[string]any{"ids": ids, "interval": time.Hour}, nil)
	answered(3, byPong)
	r.call("probe", map[string]any{"ids": ids}, nil)
	answered(1, byProbe)
	if e := r.entry("only"); e.Pushed != 1 {
		t.Errorf("%+v", e)
	}
	for _, send := range []string{`{"type":"push-ack","seq":1}`, `{"type":"heartbeat"}`, "hello"} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(send)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{heardHeartbeat, heardMessage, heardPing} {
		r.await(what, func(e trace.Event) bool { return e.Type == trace.Heard && e.Detail == what })
	}
	r.call("talk", map[string]any{"ids": ids, "interval": time.Hour}, nil)
	for text := range texts {
		if text == `{"type":"push","seq":2}` {
			break
		}
	}
	r.call("quiet", map[string]any{"ids": ids}, nil)
}
