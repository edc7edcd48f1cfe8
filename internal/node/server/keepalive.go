package server

import (
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// byKeepalive is how server.closed says that the server has given a client up.
const byKeepalive = "keepalive"

// The means of a demand.
const (
	meansPing      = "ping"
	meansHeartbeat = "heartbeat"
)

// leastInterval bounds what a client may ask for.
const leastInterval = time.Millisecond

// demand is what a client asks the server to do to keep its connections alive, as the
// servers of some libraries do: in the query of its URL, in wall time.
//
//	?session=NAME&keepalive=ping|heartbeat&interval=25s&timeout=20s&silence=1m
//
// A time that is left out, or is none, is 0.
type demand struct {
	means string
	// interval from one to the next; 0 sends none.
	interval time.Duration
	// timeout after which a client that did not answer is given up; 0 never does.
	timeout time.Duration
	// silence after which a client that sent nothing is given up; 0 never does.
	silence time.Duration
}

func demanded(query url.Values) demand {
	read := func(name string) time.Duration {
		d, err := time.ParseDuration(query.Get(name))
		if err != nil || d < leastInterval {
			return 0
		}
		return d
	}
	switch means := query.Get("keepalive"); means {
	case meansPing, meansHeartbeat:
		return demand{means, read("interval"), read("timeout"), read("silence")}
	}
	return demand{}
}

// keepalive is what is known of a client's answers. Its zero value is usable.
type keepalive struct {
	mu sync.Mutex
	// last is when the client was last heard of.
	last time.Time
	// waiting is the key of the probe that is not answered yet, "" if there is none.
	waiting string
}

// heard notes that something came.
func (k *keepalive) heard() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = time.Now()
}

// ask notes a probe.
func (k *keepalive) ask(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = key
}

// answered notes an answer.
func (k *keepalive) answered(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = time.Now()
	if key == k.waiting {
		k.waiting = ""
	}
}

// open says whether a probe is not answered yet.
func (k *keepalive) open(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return key != "" && k.waiting == key
}

func (k *keepalive) silentFor() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Since(k.last)
}

// keepAlive does what the client has asked for until the connection ends, or is given up. A
// probe that is due while one is not answered yet waits for that.
func (c *connection) keepAlive(d demand) {
	if d.interval == 0 && d.silence == 0 {
		return
	}
	next, expiry, quiet := newTimer(d.interval), newTimer(0), newTimer(d.silence)
	defer next.Stop()
	defer expiry.Stop()
	defer quiet.Stop()
	for n, key := int64(1), ""; ; {
		select {
		case <-c.done:
			return
		case <-next.C:
			if !c.stream.hangs() && (d.timeout == 0 || !c.keepalive.open(key)) {
				key = strconv.FormatInt(n, 10)
				n++
				c.keepalive.ask(key)
				c.probe(d.means, key)
				if d.timeout > 0 {
					expiry.Reset(d.timeout)
				}
			}
			next.Reset(d.interval)
		case <-expiry.C:
			if c.stream.hangs() {
				expiry.Reset(d.timeout) // who stands still gives nobody up
				continue
			}
			if c.keepalive.open(key) {
				c.giveUp(fmt.Sprintf("its %s got no answer in time", d.means))
				return
			}
		case <-quiet.C:
			silent := c.keepalive.silentFor()
			if c.stream.hangs() {
				quiet.Reset(d.silence)
				continue
			}
			if silent >= d.silence {
				c.giveUp("the client was silent for too long")
				return
			}
			quiet.Reset(d.silence - silent)
		}
	}
}

// newTimer returns a timer; one of 0 never fires unless it is reset.
func newTimer(d time.Duration) *time.Timer {
	t := time.NewTimer(max(d, time.Hour))
	t.Stop()
	if d > 0 {
		t.Reset(d)
	}
	return t
}

// probe asks the client for an answer.
func (c *connection) probe(means, key string) {
	if means == meansHeartbeat {
		c.write(message{Type: typeBeat, TS: key}.text())
		return
	}
	// If it cannot be written there will be no answer either.
	_ = c.ws.WriteControl(websocket.PingMessage, []byte(key), time.Now().Add(closePatience))
}

// giveUp ends the connection as servers do that have no hope for an answer.
func (c *connection) giveUp(why string) {
	c.said.CompareAndSwap(nil, &farewell{at: time.Now(), code: websocket.CloseAbnormalClosure, by: byKeepalive, detail: why})
	c.close()
}
