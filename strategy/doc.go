// Package strategy keeps a WebSocket connection alive and gets it back: keepalive
// and reconnect around a connection of github.com/gorilla/websocket.
//
// A [Strategy] is data: it combines how to keep a connection alive ([Keepalive]) with how to
// get a new one ([Reconnect]) and what becomes of messages that were on their way ([Resume]), choices that have
// nothing to do with each other. [Builtin] lists the strategies that come with the package, among
// them those of well-known libraries; [Find] returns one by name. [New] puts a strategy to
// work around a dial function of one's own, and [Session.Run] does the rest:
//
//	s, _ := strategy.Find("adaptive")
//	session := strategy.New(s, strategy.Dial(websocket.DefaultDialer, "wss://server.example/", nil), strategy.Options{
//		OnMessage: func(m strategy.Message) { ... },
//	})
//	go session.Run(ctx)
//	session.Send(websocket.TextMessage, []byte("hello"))
//
// # Adaptive
//
// The strategy "adaptive" has no fixed figures. [Adaptive] pings only when nothing was heard, after a time that
// grows until a path has shown that it does not bear more, and asks soon after something was sent that
// nobody answers. A connection that does not answer is not given up at once: another one is opened beside it, and
// whichever is heard of first is kept, so that a short patience costs no false alarms. [AdaptiveReconnect]
// tries at once after a clean end, more slowly after a refusal. What was learned about a path is in a
// [Memory], which a program may hand to its next session, or keep in a file.
//
// # Sessions that outlive their connections
//
// With [Resume] what the other end has not acknowledged is sent again over the next connection. The other end has to
// do its part: a server does with [Peers].
package strategy
