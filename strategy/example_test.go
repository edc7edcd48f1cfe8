package strategy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/strategy"
)

// A client that pings, reconnects, and says hello.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		for {
			opcode, data, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(opcode, data) != nil {
				return
			}
		}
	}))
	defer server.Close()

	s := strategy.Strategy{
		Keepalive: strategy.Keepalive{Ping: &strategy.Ping{Interval: 15 * time.Second}},
		Reconnect: &strategy.Reconnect{Jitter: 0.5},
	}
	url, err := s.URL("ws" + strings.TrimPrefix(server.URL, "http"))
	if err != nil {
		fmt.Println(err)
		return
	}
	dial := func(ctx context.Context) (*websocket.Conn, error) {
		ws, response, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
		if response != nil {
			_ = response.Body.Close()
		}
		return ws, err
	}

	ctx, stop := context.WithCancel(context.Background())
	opened := make(chan struct{}, 1)
	session := strategy.New(s, dial, strategy.Options{
		OnEvent: func(e strategy.Event) {
			switch e.Type {
			case strategy.Opened:
				fmt.Println("open")
				opened <- struct{}{}
			case strategy.Closed:
				fmt.Printf("closed with %d: %s\n", e.Code, strategy.CloseText(e.Code))
			}
		},
		OnMessage: func(m strategy.Message) {
			fmt.Printf("received %s\n", m.Data)
			stop()
		},
	})
	go func() {
		<-opened
		if _, err := session.Send(websocket.TextMessage, []byte("hello")); err != nil {
			fmt.Println(err)
		}
	}()
	if err := session.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// open
	// received hello
	// closed with 1000: normal closure: the purpose is fulfilled
}

// What one session has learned about a path the next one knows, even after the program was started anew.
func ExampleMemory() {
	memory := new(strategy.Memory)
	// A program would read this from a file, and write what json.Marshal(memory) returns back to it.
	if err := json.Unmarshal([]byte(`{"192.168.1.2 > 203.0.113.3": {"quiet": 48000000000, "broken": 60000000000}}`), memory); err != nil {
		fmt.Println(err)
		return
	}
	adaptive, _ := strategy.Find("adaptive")
	_ = strategy.New(adaptive, strategy.Dial(websocket.DefaultDialer, "wss://server.example/", nil), strategy.Options{Memory: memory})
	for path, l := range memory.Paths() {
		fmt.Printf("%s: a ping after %s of silence; after %s the connection is gone\n", path, l.Quiet, l.Broken)
	}
	// Output:
	// 192.168.1.2 > 203.0.113.3: a ping after 48s of silence; after 1m0s the connection is gone
}

// A session that outlives its connections: the server cuts them off while the client sends, and every
// message arrives once.
func ExampleResume() {
	arrived := make(chan string, 10)
	peers := &strategy.Peers{OnMessage: func(_ *strategy.Peer, _ int, data []byte) { arrived <- string(data) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		if len(arrived) < 6 {
			time.AfterFunc(50*time.Millisecond, func() { _ = ws.Close() })
		}
		_ = peers.Serve(ws) // that it ends is no news: the client comes back
	}))
	defer server.Close()

	s := strategy.Strategy{
		Keepalive: strategy.Keepalive{Adaptive: &strategy.Adaptive{}},
		Reconnect: &strategy.Reconnect{Adaptive: &strategy.AdaptiveReconnect{}, Base: 10 * time.Millisecond, Tries: -1},
		Resume:    &strategy.Resume{Acknowledge: 10 * time.Millisecond},
	}
	session := strategy.New(s, strategy.Dial(websocket.DefaultDialer, "ws"+strings.TrimPrefix(server.URL, "http"), nil), strategy.Options{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- session.Run(ctx) }()
	for n := range 9 {
		if _, err := session.Send(websocket.TextMessage, fmt.Append(nil, "message ", n)); err != nil {
			fmt.Println(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	for range 9 {
		fmt.Println(<-arrived)
	}
	stop()
	if err := <-done; err != nil {
		fmt.Println(err)
	}
	// Output:
	// message 0
	// message 1
	// message 2
	// message 3
	// message 4
	// message 5
	// message 6
	// message 7
	// message 8
}
