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
	// Means of keepalive: MeansPing, MeansHeartbeat or MeansSilence.
	Means   string
	Timeout time.Duration
}

// Error names the means and the timeout.
func (e *TimeoutError) Error() string {
	if e.Means == MeansSilence {
		return fmt.Sprintf("nothing was heard for %s", e.Timeout)
	}
	return fmt.Sprintf("no answer to a %s within %s", e.Means, e.Timeout)
}

// prober is one means of keepalive on one connection. At most one of its probes is
// under way.
type prober struct {
	link              *link
	means             string
	interval, timeout time.Duration
	// oneWay: nobody answers.
	oneWay bool
	// probe returns a new probe.
	probe func(seq int64) probe

	mu sync.Mutex
	// The probe under way; key is "" when there is none.
	key      string
	seq      int64
	sent     time.Time
	answer   chan struct{}
	timedOut bool
}

// probe is a message that asks for an answer.
type probe struct {
	// key is in the answer, too.
	key string
	// payload is how many bytes the message has.
	payload int
	write   func(deadline time.Time) error
}

func newPing(l *link, s Ping) *prober {
	p := &prober{link: l, means: MeansPing, interval: s.Interval, timeout: s.Timeout}
	p.probe = func(seq int64) probe {
		key := strconv.FormatInt(seq, 10)
		return probe{key, len(key), func(deadline time.Time) error {
			return l.ws.WriteControl(websocket.PingMessage, []byte(key), deadline)
		}}
	}
	return p
}

// heartbeat is the message of [Heartbeat].
type heartbeat struct {
	Type string `json:"type"`
	TS   string `json:"ts"`
	// OneWay says that no answer is expected.
	OneWay bool `json:"one_way,omitempty"`
}

func (h heartbeat) text() []byte {
	text, err := json.Marshal(h)
	if err != nil {
		panic(err) // a struct of texts always encodes
	}
	return text
}

func newHeartbeat(l *link, s Heartbeat) *prober {
	p := &prober{link: l, means: MeansHeartbeat, interval: s.Interval, timeout: s.Timeout, oneWay: s.OneWay}
	p.probe = func(int64) probe {
		key := time.Now().UTC().Format(time.RFC3339Nano)
		text := heartbeat{Type: MeansHeartbeat, TS: key, OneWay: s.OneWay}.text()
		return probe{key, len(text), func(deadline time.Time) error {
			return l.send(websocket.TextMessage, text, deadline)
		}}
	}
	return p
}

// heartbeatKey returns the timestamp of a heartbeat; ok is false for any other text.
func heartbeatKey(text []byte) (key string, ok bool) { return timestamp(text, MeansHeartbeat) }

// wantsAnswer says whether a text is a heartbeat that is to be sent back.
func wantsAnswer(text []byte) bool {
	var h heartbeat
	return json.Unmarshal(text, &h) == nil && h.Type == MeansHeartbeat && h.TS != "" && !h.OneWay
}

// timestamp returns that of a message of a type.
func timestamp(text []byte, kind string) (ts string, ok bool) {
	var h heartbeat
	if json.Unmarshal(text, &h) != nil || h.Type != kind || h.TS == "" {
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
		if p.oneWay {
			continue
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-answer:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
			if p.expire(p.timeout) {
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
	probe := p.probe(seq)
	p.key, p.seq, p.sent, p.answer = probe.key, seq, time.Now(), make(chan struct{})
	p.report(Event{Type: KeepaliveSent, Time: p.sent, Bytes: frameBytes(probe.payload, true)})
	return p.answer, probe.write, p.sent.Add(p.timeout)
}

// answered notes an answer. It reports whether it belongs to the probe under way.
func (p *prober) answered(key string, payload int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if key == "" || key != p.key {
		return false
	}
	p.key = ""
	e := Event{Type: KeepaliveAnswered, Dur: time.Since(p.sent), Bytes: frameBytes(payload, false)}
	if p.timedOut {
		e.Type = KeepaliveLate
	}
	p.report(e)
	close(p.answer)
	return true
}

// expire gives the probe under way up, after so long a wait. It reports false if its answer came at the last moment.
func (p *prober) expire(after time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key == "" {
		return false
	}
	p.timedOut = true
	p.report(Event{Type: KeepaliveTimeout, Dur: after})
	return true
}

// frameBytes is the length of a WebSocket frame (RFC 6455, section 5.2): that of a client is
// masked.
func frameBytes(payload int, masked bool) int {
	n := 2 + payload
	switch {
	case payload > 0xffff:
		n += 8
	case payload > 125:
		n += 2
	}
	if masked {
		n += 4
	}
	return n
}

// report fills in what all events of the prober have in common. The lock is held.
func (p *prober) report(e Event) {
	e.Conn, e.Means, e.Seq = p.link.number, p.means, p.seq
	p.link.report(e)
}
