package proxy

import (
	"hash/fnv"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// stickyCookie names the upstream of a client, as HAProxy's examples call it.
const stickyCookie = "SERVERID"

// upstreams are the servers behind a reverse proxy. It is safe for concurrent use.
type upstreams struct {
	names   []string
	balance string
	// out is how long (wall time) one that could not be reached is left out.
	out time.Duration

	mu   sync.Mutex
	next int
	// down are those that are left out, and until when.
	down map[string]time.Time
}

func newUpstreams(s *Settings, wall func(time.Duration) time.Duration) *upstreams {
	return &upstreams{names: s.Upstream, balance: s.Balance, out: wall(s.FailTimeout), down: make(map[string]time.Time)}
}

// order returns the upstreams in the order in which they are to be tried for a request:
// the one that is its own first, those that are left out not at all, unless all are.
func (u *upstreams) order(request *http.Request) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var up []string
	for _, name := range u.names {
		if time.Now().After(u.down[name]) {
			up = append(up, name)
		}
	}
	if len(up) == 0 {
		up = slices.Clone(u.names) // as nginx, which takes all of them back then
	}
	first := u.first(request, up)
	return slices.Concat(up[first:], up[:first])
}

// first returns the index of the request's own upstream.
func (u *upstreams) first(request *http.Request, up []string) int {
	switch u.balance {
	case balanceAddress:
		host, _, err := net.SplitHostPort(request.RemoteAddr)
		if err != nil {
			host = request.RemoteAddr
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(host)) // it takes everything
		return int(h.Sum32() % uint32(len(up)))
	case balanceCookie:
		if i := slices.Index(up, cookieOf(request)); i >= 0 {
			return i
		}
	}
	first := u.next % len(up)
	u.next++
	return first
}

// tried notes whether an upstream could be reached.
func (u *upstreams) tried(name string, reached bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if reached || u.out <= 0 || len(u.names) == 1 {
		delete(u.down, name)
		return
	}
	u.down[name] = time.Now().Add(u.out)
}

// cookieOf returns the upstream that a client names, "" if it names none.
func cookieOf(request *http.Request) string {
	c, err := request.Cookie(stickyCookie)
	if err != nil {
		return ""
	}
	return c.Value
}
