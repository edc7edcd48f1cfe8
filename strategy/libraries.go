package strategy

import "time"

// libraries are the strategies of libraries, each with the settings that the library has
// unless told otherwise. Where a setting has no default, the note says which value was taken.
func libraries() []Named {
	never := []Codes{CodesNone}
	return []Named{
		{
			Name:    "gorilla-chat",
			Version: "gorilla/websocket v1.5.3, examples/chat",
			Strategy: Strategy{
				Summary: "The server pings every 54 s and gives a client up 60 s after its last pong; the page does nothing.",
				// pongWait 60 s, pingPeriod nine tenths of it: the next pong has six seconds.
				Keepalive: Keepalive{Server: &Server{Means: MeansPing, Interval: 54 * time.Second, Timeout: 6 * time.Second}},
			},
			Sources: []string{"https://github.com/gorilla/websocket/blob/v1.5.3/examples/chat/client.go"},
			Note:    "54 s is one second below Heroku's limit of 55 s, and longer than a NAT that forgets after 30 s bears.",
		},
		{
			Name:    "socket.io",
			Version: "socket.io-client 4.8, engine.io-client 6.6",
			Strategy: Strategy{
				Summary: "The server sends a heartbeat every 25 s, the client gives up 45 s after the last one; reconnects forever, between 1 and 5 s.",
				Keepalive: Keepalive{
					Server: &Server{Means: MeansHeartbeat, Interval: 25 * time.Second, Timeout: 20 * time.Second},
					// pingInterval + pingTimeout; only a ping sets the timer anew (_resetPingTimeout).
					Watch: &Watch{Timeout: 45 * time.Second, Heed: HeedKeepalive},
				},
				// From the fourth on each is 5 s but for what the jitter takes below: the cut comes after it.
				Reconnect: &Reconnect{
					Base: time.Second, Max: 5 * time.Second, Factor: 2, Tries: -1, Jitter: 0.5, Spread: SpreadAround,
					ResetAfter: time.Millisecond, StopOn: never,
				},
				ConnectTimeout: 20 * time.Second,
			},
			Sources: []string{
				"https://socket.io/docs/v4/server-options/#pinginterval",
				"https://socket.io/docs/v4/client-options/#reconnection",
				"https://github.com/socketio/socket.io/blob/main/packages/socket.io-client/lib/contrib/backo2.ts",
			},
			Note: "Its WebSocket transport alone: the real client begins with HTTP long-polling. A disconnect that the server asks for by a packet of Socket.IO is not replaced, a close of the WebSocket always is.",
		},
		{
			Name:    "reconnecting-websocket",
			Version: "reconnecting-websocket 4.4.0",
			Strategy: Strategy{
				Summary: "No keepalive; reconnects forever, first after 1 to 5 s (drawn once), then 1.3 times as long each time, up to 10 s.",
				Reconnect: &Reconnect{
					Base: time.Second, Max: 10 * time.Second, Factor: 1.3, Tries: -1, Jitter: 4, Spread: SpreadOnce,
					ResetAfter: 5 * time.Second, StopOn: never,
				},
				ConnectTimeout: 4 * time.Second,
			},
			Sources: []string{"https://github.com/pladaria/reconnecting-websocket/blob/master/reconnecting-websocket.ts"},
			Note:    "It needs a close event to begin (its issue 54): in a black hole a browser has none.",
		},
		{
			Name:    "partysocket",
			Version: "partysocket 1.3",
			Strategy: Strategy{
				Summary: "No keepalive; reconnects forever, first after 3 s, then 1.3 times as long each time, up to 10 s, without jitter.",
				Reconnect: &Reconnect{
					Base: 3 * time.Second, Max: 10 * time.Second, Factor: 1.3, Tries: -1,
					ResetAfter: 5 * time.Second, StopOn: never,
				},
				ConnectTimeout: 4 * time.Second,
			},
			Sources: []string{"https://github.com/partykit/partykit/blob/main/packages/partysocket/src/ws.ts"},
			Note:    "Versions before 1 drew the first wait from 1 to 5 s, as reconnecting-websocket does, which they came from.",
		},
		{
			Name:    "signalr",
			Version: "@microsoft/signalr 9, ASP.NET Core 9",
			Strategy: Strategy{
				Summary: "Both sides send every 15 s without an answer, and give up after 30 s of silence; tries at once, after 2, 10 and 30 s, then gives up.",
				Keepalive: Keepalive{
					Heartbeat: &Heartbeat{Interval: 15 * time.Second, OneWay: true},
					Server:    &Server{Means: MeansHeartbeat, Interval: 15 * time.Second, Silence: 30 * time.Second},
					Watch:     &Watch{Timeout: 30 * time.Second},
				},
				Reconnect: &Reconnect{
					First: []time.Duration{0, 2 * time.Second, 10 * time.Second, 30 * time.Second}, Tries: 4,
					ResetAfter: time.Millisecond, StopOn: never,
				},
			},
			Sources: []string{
				"https://learn.microsoft.com/aspnet/core/signalr/configuration",
				"https://learn.microsoft.com/aspnet/core/signalr/javascript-client#automatically-reconnect",
			},
			Note: "With withAutomaticReconnect(); without it the client stays away. A server that closes with allowReconnect=false in its message is not modelled.",
		},
		{
			Name:    "phoenix",
			Version: "phoenix 1.8 (JavaScript client)",
			Strategy: Strategy{
				Summary: "A heartbeat every 30 s that has 30 s to be answered; reconnects forever, first after 10 ms, from the tenth try on every 5 s, without jitter.",
				Keepalive: Keepalive{
					Heartbeat: &Heartbeat{Interval: 30 * time.Second, Timeout: 30 * time.Second},
					Server:    &Server{Silence: 60 * time.Second},
				},
				Reconnect: &Reconnect{
					First: []time.Duration{
						10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond,
						250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
					},
					Base: 5 * time.Second, Factor: 1, Tries: -1, ResetAfter: time.Millisecond,
					StopOn: []Codes{"1000"},
				},
			},
			Sources: []string{
				"https://github.com/phoenixframework/phoenix/blob/v1.8.0/assets/js/phoenix/socket.js",
				"https://hexdocs.pm/phoenix/Phoenix.Endpoint.html#socket/3 (timeout: 60_000)",
			},
			Note: "The next heartbeat goes 30 s after the answer to the last one, here 30 s after the last one itself.",
		},
		{
			Name:    "actioncable",
			Version: "@rails/actioncable 8.0",
			Strategy: Strategy{
				Summary: "The server sends a heartbeat every 3 s; the client looks every 6 to 12 s whether one came within 6 s; reconnects forever, after 6 to 12 s, then slowly less often.",
				Keepalive: Keepalive{
					Server: &Server{Means: MeansHeartbeat, Interval: 3 * time.Second},
					Watch:  &Watch{Timeout: 6 * time.Second, Every: 12 * time.Second, Jitter: 0.5, Heed: HeedAny},
				},
				Reconnect: &Reconnect{
					First: []time.Duration{12 * time.Second}, FirstJitter: 0.5,
					// 6 s * 1.15^n * (1 + up to 0.15), n from 1 to 10.
					Base: 6900 * time.Millisecond, Factor: 1.15, Max: 24273 * time.Millisecond, Jitter: 0.15, Spread: SpreadAbove,
					Tries: -1, ResetAfter: time.Millisecond, StopOn: never,
				},
			},
			Sources: []string{
				"https://github.com/rails/rails/blob/v8.0.0/actioncable/app/javascript/action_cable/connection_monitor.js",
				"https://github.com/rails/rails/blob/v8.0.0/actioncable/lib/action_cable/server/connections.rb (BEAT_INTERVAL)",
			},
			Note: "Its one timer looks for silence and tries again, so that it may skip a try that is due within 6 s of a close; here each try has its own wait.",
		},
		{
			Name:    "centrifuge-js",
			Version: "centrifuge-js 5, centrifuge 0.33 (server)",
			Strategy: Strategy{
				Summary: "The server sends a heartbeat every 25 s, the client gives up 10 s after one was due; reconnects forever with full jitter, from 0.5 up to 20 s.",
				Keepalive: Keepalive{
					Server: &Server{Means: MeansHeartbeat, Interval: 25 * time.Second, Timeout: 8 * time.Second},
					Watch:  &Watch{Timeout: 35 * time.Second},
				},
				Reconnect: &Reconnect{
					Base: 500 * time.Millisecond, Max: 20 * time.Second, Factor: 2, Tries: -1, Jitter: 1, Add: 500 * time.Millisecond,
					ResetAfter: time.Millisecond, StopOn: []Codes{"1009", "3500-3999", "4500-4999"},
				},
				ConnectTimeout: 5 * time.Second,
			},
			Sources: []string{
				"https://github.com/centrifugal/centrifuge-js/blob/master/src/centrifuge.ts",
				"https://centrifugal.dev/docs/transports/client_api#client-connection-states",
			},
		},
		{
			Name:    "python-websockets",
			Version: "websockets 17",
			Strategy: Strategy{
				Summary: "A ping every 20 s that has 20 s to be answered; reconnects forever: at once, after 0 to 5 s, then from 3.1 s 1.618 times as long each time, up to 90 s.",
				Keepalive: Keepalive{
					Ping:   &Ping{Interval: 20 * time.Second, Timeout: 20 * time.Second},
					Server: &Server{Means: MeansPing, Interval: 20 * time.Second, Timeout: 20 * time.Second},
				},
				Reconnect: &Reconnect{
					First: []time.Duration{0, 5 * time.Second}, FirstJitter: 1,
					Base: 3100 * time.Millisecond, Factor: 1.618, Max: 90 * time.Second, Tries: -1,
					ResetAfter: time.Millisecond, StopOn: never,
					// process_exception: 500, 502, 503 and 504 may pass, the rest is an error of the program.
					StopOnStatus: []Codes{"100-499", "501", "505-599"},
				},
			},
			Sources: []string{
				"https://websockets.readthedocs.io/en/stable/topics/keepalive.html",
				"https://github.com/python-websockets/websockets/blob/main/src/websockets/client.py (backoff)",
			},
			Note: "With \"async for websocket in connect(...)\"; a plain connect() stays away.",
		},
		{
			Name:    "websocket-client",
			Version: "websocket-client 1.9 (Python)",
			Strategy: Strategy{
				Summary:   "The kernel's TCP keepalive alone: after 30 s of silence three probes, 10 s apart; no reconnect.",
				Keepalive: Keepalive{TCP: &TCPKeepalive{Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}},
			},
			Sources: []string{"https://github.com/websocket-client/websocket-client/blob/master/websocket/_socket.py (DEFAULT_SOCKET_OPTION)"},
			Note:    "That helps at a NAT and at a load balancer of TCP, not at nginx or an ALB, which count data alone. run_forever has ping_interval and reconnect, both off.",
		},
		{
			Name:    "aiohttp",
			Version: "aiohttp 3.12",
			Strategy: Strategy{
				Summary:   "With heartbeat=30: a ping every 30 s that has 15 s to be answered; no reconnect.",
				Keepalive: Keepalive{Ping: &Ping{Interval: 30 * time.Second, Timeout: 15 * time.Second}},
			},
			Sources: []string{"https://github.com/aio-libs/aiohttp/blob/master/aiohttp/client_ws.py (_pong_heartbeat)"},
			Note:    "heartbeat is off unless it is given; any frame that comes sets its timers anew, here each ping goes when it is due.",
		},
		{
			Name:    "java-websocket",
			Version: "Java-WebSocket 1.6.0",
			Strategy: Strategy{
				Summary: "Looks every 60 s whether the last ping was answered and sends the next; no reconnect.",
				// A pong older than one and a half times the 60 s is too old: that is one that did
				// not come before the next look.
				Keepalive: Keepalive{Ping: &Ping{Interval: 60 * time.Second, Timeout: 60 * time.Second}},
			},
			Sources: []string{"https://github.com/TooTallNate/Java-WebSocket/blob/v1.6.0/src/main/java/org/java_websocket/AbstractWebSocket.java"},
			Note:    "60 s is just what nginx and an ALB bear: it is a race.",
		},
		{
			Name:    "okhttp",
			Version: "OkHttp 5",
			Strategy: Strategy{
				Summary:   "With pingInterval 30 s: a ping every 30 s, and the connection fails when the next is due before its pong came; no reconnect.",
				Keepalive: Keepalive{Ping: &Ping{Interval: 30 * time.Second, Timeout: 30 * time.Second}},
			},
			Sources: []string{"https://square.github.io/okhttp/5.x/okhttp/okhttp3/-ok-http-client/-builder/ping-interval.html"},
			Note:    "pingInterval is 0 unless it is given: no pings at all.",
		},
		{
			Name:    "stompjs",
			Version: "@stomp/stompjs 7",
			Strategy: Strategy{
				Summary: "Both sides send every 10 s; the client looks every 10 s whether something came within 20 s; reconnects forever, every 5 s.",
				Keepalive: Keepalive{
					Heartbeat: &Heartbeat{Interval: 10 * time.Second, OneWay: true},
					Server:    &Server{Means: MeansHeartbeat, Interval: 10 * time.Second},
					Watch:     &Watch{Timeout: 20 * time.Second, Every: 10 * time.Second},
				},
				Reconnect: &Reconnect{Base: 5 * time.Second, Factor: 1, Tries: -1, StopOn: never},
			},
			Sources: []string{
				"https://stomp-js.github.io/api-docs/latest/classes/Client.html",
				"https://stomp.github.io/stomp-specification-1.2.html#Heart-beating",
			},
			Note: "The client has no limit for one attempt to connect (connectionTimeout 0), here it has the 10 s of the package. A beat of STOMP is one byte.",
		},
		{
			Name:    "graphql-ws",
			Version: "graphql-ws 6",
			Strategy: Strategy{
				Summary: "The server pings every 12 s and gives up when no pong came 12 s later; the client sends nothing and tries 5 times, after 2^n s and 0.3 to 3 s more.",
				Keepalive: Keepalive{
					Server: &Server{Means: MeansPing, Interval: 12 * time.Second, Timeout: 12 * time.Second},
				},
				Reconnect: &Reconnect{
					Base: time.Second, Factor: 2, Tries: 5, Add: 300 * time.Millisecond, AddJitter: 2700 * time.Millisecond,
					ResetAfter: time.Millisecond,
					// Of 1000 to 1999 only those pass that say nothing against the client.
					StopOn: []Codes{"1002-1004", "1007-1011", "1015-1999", "4004", "4005", "4400", "4401", "4406", "4409", "4429", "4500"},
				},
			},
			Sources: []string{
				"https://github.com/enisdenjo/graphql-ws/blob/master/src/client.ts (retryAttempts, retryWait, isFatalInternalCloseCode)",
				"https://the-guild.dev/graphql/ws/docs/modules/use_ws (keepAlive)",
			},
			Note: "The client's own keepAlive is 0: it never asks.",
		},
		{
			Name:    "backoff",
			Version: "AWS Architecture Blog, 2015",
			Strategy: Strategy{
				Summary:   "No keepalive; reconnects forever with plain exponential backoff from 1 s to 30 s.",
				Reconnect: &Reconnect{Base: time.Second, Max: 30 * time.Second, Factor: 2, Tries: -1},
			},
			Sources: []string{awsJitter},
		},
		{
			Name:    "full-jitter",
			Version: "AWS Architecture Blog, 2015",
			Strategy: Strategy{
				Summary:   "As backoff, but each wait is between 0 and the exponential one.",
				Reconnect: &Reconnect{Base: time.Second, Max: 30 * time.Second, Factor: 2, Tries: -1, Jitter: 1},
			},
			Sources: []string{awsJitter},
		},
		{
			Name:    "equal-jitter",
			Version: "AWS Architecture Blog, 2015",
			Strategy: Strategy{
				Summary:   "As backoff, but each wait is between half of the exponential one and all of it.",
				Reconnect: &Reconnect{Base: time.Second, Max: 30 * time.Second, Factor: 2, Tries: -1, Jitter: 0.5},
			},
			Sources: []string{awsJitter},
		},
		{
			Name:    "decorrelated-jitter",
			Version: "AWS Architecture Blog, 2015",
			Strategy: Strategy{
				Summary:   "As backoff, but each wait is between 1 s and three times the one before.",
				Reconnect: &Reconnect{Base: time.Second, Max: 30 * time.Second, Tries: -1, Spread: SpreadDecorrelated},
			},
			Sources: []string{awsJitter},
		},
	}
}

// awsJitter is where the jitters have their names from.
const awsJitter = "https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/"
