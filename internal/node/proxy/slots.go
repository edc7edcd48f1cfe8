package proxy

import (
	"context"
	"sync/atomic"

	"github.com/wslab/wslab/internal/trace"
)

// maxWaiting is how many clients may wait for a slot: real queues end as well.
const maxWaiting = 1024

// slots are the places for clients of a proxy. A nil one has no end of them.
type slots struct {
	taken   chan struct{}
	waiting atomic.Int64
}

func newSlots(n int) *slots { return &slots{taken: make(chan struct{}, n)} }

// enter takes a slot for a client, which leave gives back. Where there is none, full says what
// becomes of the client: fullRefuse or fullClose. A client that has to wait waits here.
func (s *slots) enter(ctx context.Context, h *httpClient) (leave func(), full string) {
	if s == nil {
		return func() {}, ""
	}
	give := func() { <-s.taken }
	select {
	case s.taken <- struct{}{}:
		return give, ""
	default:
	}
	e := trace.Event{Type: trace.RelayRefused, Flow: &h.flow, By: "max_connections", Detail: "the proxy is full and closes"}
	switch h.settings.OnFull {
	case fullClose:
		h.env.Record(e)
		return func() {}, fullClose
	case fullQueue:
		defer s.waiting.Add(-1)
		if s.waiting.Add(1) > maxWaiting {
			h.env.Record(e)
			return func() {}, fullClose
		}
		h.env.Record(trace.Event{Type: trace.RelayQueued, Flow: &h.flow, By: "max_connections"})
		select {
		case s.taken <- struct{}{}:
			return give, ""
		case <-ctx.Done():
			return func() {}, fullClose
		}
	}
	return func() {}, fullRefuse
}
