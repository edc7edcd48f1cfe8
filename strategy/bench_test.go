package strategy

import (
	"context"
	"testing"

	"github.com/gorilla/websocket"
)

// BenchmarkRoundTrip is what a strategy adds to a message and its answer: compare the others with none.
func BenchmarkRoundTrip(b *testing.B) {
	for _, name := range []string{"none", "firewall-aware", "adaptive", "none+resume", "adaptive+resume"} {
		b.Run(name, func(b *testing.B) {
			s, ok := Find(name)
			if !ok {
				b.Fatalf("no strategy %s", name)
			}
			peers := &Peers{OnMessage: func(p *Peer, opcode int, data []byte) { _ = p.Send(opcode, data) }}
			n := newNetwork(b, func(ws *websocket.Conn) { _ = peers.Serve(ws) })
			defer n.close()
			opened, back := make(chan struct{}), make(chan struct{}, 1)
			session := New(s, n.dial, Options{
				OnEvent: func(e Event) {
					if e.Type == Opened {
						close(opened)
					}
				},
				OnMessage: func(Message) { back <- struct{}{} },
			})
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- session.Run(ctx) }()
			<-opened
			for b.Loop() {
				if _, err := session.Send(websocket.TextMessage, []byte("hello")); err != nil {
					b.Fatal(err)
				}
				<-back
			}
			stop()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
	}
}
