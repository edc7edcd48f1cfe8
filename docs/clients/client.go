// A client in Go (gorilla/websocket). It keeps its connection alive with pings, gives it up when one is
// not answered, and opens another one when it is lost. HTTPS_PROXY is heeded.
package main

import (
	"os"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

type message struct {
	Type string `json:"type"`
	Seq  int64  `json:"seq"`
}

func main() {
	speed, _ := strconv.ParseFloat(os.Getenv("WSLAB_SPEED"), 64) // the lab's minutes are shorter by that
	for second := time.Duration(float64(time.Second) / speed); ; time.Sleep(second) {
		ws, _, err := websocket.DefaultDialer.Dial(os.Getenv("WSLAB_URL"), nil)
		if err != nil {
			continue
		}
		keepAlive(ws, 20*second)
		for m := (message{}); ws.ReadJSON(&m) == nil; {
			if m.Type == "push" {
				_ = ws.WriteJSON(message{"push-ack", m.Seq}) // the reader learns of a lost connection, too
			}
		}
		_ = ws.Close()
	}
}

func keepAlive(ws *websocket.Conn, every time.Duration) {
	alive := func(string) error { return ws.SetReadDeadline(time.Now().Add(2 * every)) }
	_ = alive("")
	ws.SetPongHandler(alive)
	go func() {
		for ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(every)) == nil {
			time.Sleep(every)
		}
	}()
}
