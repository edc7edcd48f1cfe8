package strategy

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// TimeoutError says that a keepalive was not answered in time.
type TimeoutError struct {
	// Means of keepalive: MeansPing or MeansHeartbeat.
	Means   string
	Timeout time.Duration
}

// Error names the means and the timeout.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("no answer to a %s within %s", e.Means, e.Timeout)
}

// prober is one means of keepalive on one connection. At most one of its probes is
// under way.
type prober struct {
	link              *link
	means             string
	interval, timeout time.Duration
	// probe returns the key of a new probe, which its answer has too, and what writes it.
	probe func(seq int64) (key string, write func(deadline time.Time) error)

	mu sync.Mutex
	// The probe under way; key is "" when there is none.
	key      string
	seq      int64
	sent     time.Time
	answer   chan struct{}
	timedOut bool
}

func newPing(l *link, s Ping) *prober {
	p := &prober{link: l, means: MeansPing, interval: s.Interval, timeout: s.Timeout}
	p.probe = func(seq int64) (string, func(time.Time) error) {
		key := strconv.FormatInt(seq, 10)
		return key, func(deadline time.Time) error {
			return l.ws.WriteControl(websocket.PingMessage, []byte(key), deadline)
		}
	}
	l.ws.SetPongHandler(func(payload string) error {
		p.answered(payload)
		return nil
	})
	return p
}

// heartbeat is the message of [Heartbeat].
type heartbeat struct {
	Type string `json:"type"`
	TS   string `json:"ts"`
}

func newHeartbeat(l *link, s Heartbeat) *prober {
	p := &prober{link: l, means: MeansHeartbeat, interval: s.Interval, timeout: s.Timeout}
	p.probe = func(int64) (string, func(time.Time) error) {
		key := time.Now().UTC().Format(time.RFC3339Nano)
		return key, func(deadline time.Time) error {
			text, err := json.Marshal(heartbeat{Type: MeansHeartbeat, TS: key})
			if err != nil {
				return err
			}
			return l.send(websocket.TextMessage, text, deadline)
		}
	}
	return p
}

// heartbeatKey returns the timestamp of a heartbeat; ok is false for any other text.
func heartbeatKey(text []byte) (key string, ok bool) {
	var h heartbeat
	if json.Unmarshal(text, &h) != nil || h.Type != MeansHeartbeat || h.TS == "" {
		return "", false
	}
	return h.TS, true
}

// run probes until ctx ends or a probe is not answered in time.
func (p *prober) run(ctx context.Context) error {
	for seq := int64(1); ; seq++ {
		if !sleep(ctx, p.interval-time.Since(p.lastSent())) {
			return nil
		}
		answer, write, deadline := p.begin(seq)
		// If it cannot be written there will be no answer either; and if that
		// is because the connection has ended, so does ctx.
		_ = write(deadline)
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-answer:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
			if p.expire() {
				return &TimeoutError{Means: p.means, Timeout: p.timeout}
			}
		}
	}
}

// lastSent is when the last probe was sent, or when the connection opened.
func (p *prober) lastSent() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent.IsZero() {
		return p.link.opened
	}
	return p.sent
}

// begin notes a new probe. It is reported before it is written, so that its answer
// cannot be reported first.
func (p *prober) begin(seq int64) (answer <-chan struct{}, write func(time.Time) error, deadline time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, write = p.probe(seq)
	p.seq, p.sent, p.answer = seq, time.Now(), make(chan struct{})
	p.report(Event{Type: KeepaliveSent, Time: p.sent})
	return p.answer, write, p.sent.Add(p.timeout)
}

// answered notes an answer. It reports whether it belongs to the probe under way.
func (p *prober) answered(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if key == "" || key != p.key {
		return false
	}
	p.key = ""
	e := Event{Type: KeepaliveAnswered, Dur: time.Since(p.sent)}
	if p.timedOut {
		e.Type = KeepaliveLate
	}
	p.report(e)
	close(p.answer)
	return true
}

// expire gives the probe under way up. It reports false if its answer came at the last moment.
func (p *prober) expire() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key == "" {
		return false
	}
	p.timedOut = true
	p.report(Event{Type: KeepaliveTimeout, Dur: p.timeout})
	return true
}

// report fills in what all events of the prober have in common. The lock is held.
func (p *prober) report(e Event) {
	e.Conn, e.Means, e.Seq = p.link.number, p.means, p.seq
	p.link.report(e)
}
