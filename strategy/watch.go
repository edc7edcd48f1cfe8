package strategy

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// The types of the messages by which a server keeps a connection alive; see [Server].
const (
	typeBeat    = "beat"
	typeBeatAck = "beat-ack"
)

// silence knows when something was last heard. It is safe for concurrent use.
type silence struct {
	mu sync.Mutex
	// frame is when any frame came, keepalive when the server's own keepalive did.
	frame, keepalive time.Time
}

// begin counts from the opening of the connection.
func (s *silence) begin(opened time.Time) { s.frame, s.keepalive = opened, opened }

// broken notes that a frame came, and whether it was the server's keepalive.
func (s *silence) broken(keepalive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frame = time.Now()
	if keepalive {
		s.keepalive = s.frame
	}
}

// since returns when what is heeded was last heard.
func (s *silence) since(heed string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if heed == HeedKeepalive {
		return s.keepalive
	}
	return s.frame
}

// watch is a [Watch] at work on one connection.
type watch struct {
	Watch
	link   *link
	random *rand.Rand
}

func newWatch(l *link, w Watch, random *rand.Rand) *watch {
	return &watch{Watch: w, link: l, random: random}
}

// run watches until ctx ends or the silence is too long.
func (w *watch) run(ctx context.Context) error {
	for {
		due := time.Now().Add(w.next())
		if !sleep(ctx, time.Until(due)) {
			return nil
		}
		// Who was asleep reads first what has come meanwhile. In a browser it is up to chance whether that
		// or a timer is first.
		if moment := w.Timeout / 10; time.Since(due) > moment && !sleep(ctx, moment) {
			return nil
		}
		if time.Since(w.link.silence.since(w.Heed)) >= w.Timeout {
			w.link.report(Event{Type: KeepaliveTimeout, Conn: w.link.number, Means: MeansSilence, Dur: w.Timeout})
			return &TimeoutError{Means: MeansSilence, Timeout: w.Timeout}
		}
	}
}

// next is how long the watch may look away.
func (w *watch) next() time.Duration {
	if w.Every == 0 {
		return time.Until(w.link.silence.since(w.Heed).Add(w.Timeout))
	}
	return time.Duration(float64(w.Every) * (1 - w.Jitter*w.random.Float64()))
}
