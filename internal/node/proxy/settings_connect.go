package proxy

import "time"

// ConnectSettings are the keys of proxies about the connections that they open.
type ConnectSettings struct {
	ConnectTimeout time.Duration `json:"connect_timeout" doc:"How long it tries to connect to the server ; 0 is 10 s of real time. After it a client sees SOCKS5 reply 06, or 504. The kernel may know earlier: an answer to no ARP request is one after 3 s." min:"0s"`
}
