package strategy_test

import (
	"context"
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
