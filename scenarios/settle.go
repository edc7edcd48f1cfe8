package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wslab/wslab/internal/trace"
)

var errUnsettled = errors.New("messages are still on their way")

// settle waits for what is still on its way over open connections, but not for
// long: what goes into a black hole never arrives.
func (p *player) settle(ctx context.Context) error {
	if err := p.allBack(ctx); err != nil {
		return err
	}
	if err := p.probe(ctx); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, max(p.wall(settleLab), settleWall), errUnsettled)
	defer cancel()
	err := p.rec.until(bounded, func(events []trace.Event) bool {
		for _, s := range p.sessions {
			if s.waiting(events) {
				return false
			}
		}
		return true
	})
	if errors.Is(err, errUnsettled) {
		return nil
	}
	return err
}

// allBack waits for nodes that are still being restarted.
func (p *player) allBack(ctx context.Context) error {
	p.mu.Lock()
	var waiting []chan struct{}
	for _, back := range p.down {
		waiting = append(waiting, back)
	}
	p.mu.Unlock()
	for _, back := range waiting {
		select {
		case <-back:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

// outstanding counts the messages, both ways, that were sent over the session's
// open connection and have not been answered. A session without one has none. What a session that resumes has
// sent over an earlier connection is still to be answered, unless the server has forgotten it.
func outstanding(events []trace.Event, session string) int {
	sent, pushed := tally{}, tally{}
	open := false
	accepted := accepted{}
	resumes := resumed(events, session)
	for _, e := range events {
		if e.Session != session {
			continue
		}
		switch e.Type {
		case trace.Open:
			open = true
			if !resumes {
				clear(sent)
			}
		case trace.Accepted:
			accepted.add(e)
			if !resumes {
				clear(pushed)
			}
		case trace.ServerClosed:
			if seqs := accepted.close(e); !resumes {
				for _, seq := range seqs {
					delete(pushed, seq)
				}
			}
		case trace.ServerResumed:
			if e.Detail == freshSession {
				clear(pushed)
			}
		case trace.Close:
			open = false
		case trace.Sent:
			sent[e.Seq]++
		case trace.Acked:
			delete(sent, e.Seq)
		case trace.ServerPushed:
			pushed[e.Seq]++
			accepted.push(e)
		case trace.Received:
			// The two come from different nodes, so either may be here first.
			pushed[e.Seq]--
		}
	}
	if !open {
		return 0
	}
	n := len(sent)
	for _, waiting := range pushed {
		n += max(0, waiting)
	}
	return n
}

// accepted are the connections of a session that the server has open, and the messages that it has
// pushed over each.
type accepted map[int][]int64

func (a accepted) add(e trace.Event) { a[e.Conn] = nil }

func (a accepted) push(e trace.Event) {
	if pushed, ok := a[e.Conn]; ok {
		a[e.Conn] = append(pushed, e.Seq)
	}
}

// close takes a connection away. It returns what was pushed over it, if there is another one: a client
// that has tried several times at once keeps one, which need not be the newest to the server, and hears
// of nothing that went over another.
func (a accepted) close(e trace.Event) []int64 {
	pushed := a[e.Conn]
	delete(a, e.Conn)
	if len(a) == 0 {
		return nil
	}
	return pushed
}

// freshSession is how a server says that it knew nothing of a session that was resumed.
const freshSession = "fresh"

// resumed says whether a server has taken up the session, so that what is kept for it arrives sooner or later.
func resumed(events []trace.Event, session string) bool {
	return slices.ContainsFunc(events, func(e trace.Event) bool { return e.Type == trace.ServerResumed && e.Session == session })
}

// errImbalance says that the last events have not arrived in time.
var errImbalance = errors.New("the trace is not complete")

// balance compares the events with the client's record and the servers' ledgers:
// a verdict must not be drawn from a trace that lacks events. A server that was restarted has
// lost its ledger and is not asked.
func (p *player) balance(ctx context.Context) error {
	bounded, cancel := context.WithTimeoutCause(ctx, booksLimit, errImbalance)
	defer cancel()
	for {
		from := p.rec.mark()
		books, err := p.books(ctx)
		if err != nil {
			return err
		}
		events := p.rec.snapshot()
		difference := compare(events, books)
		if difference == "" {
			return nil
		}
		// The events of what the nodes have counted already are about to come.
		err = p.rec.wait(bounded, from)
		if err == nil {
			err = context.Cause(bounded)
		}
		if errors.Is(err, errImbalance) {
			return fmt.Errorf("%w: %s", errImbalance, difference)
		}
		if err != nil {
			return err
		}
	}
}

// books are the counts that the nodes keep themselves.
type books struct {
	// sent by session, as the client says; received, as each server says.
	sent     map[string]int
	received map[string]map[string]int
}

func (p *player) books(ctx context.Context) (books, error) {
	b := books{sent: make(map[string]int), received: make(map[string]map[string]int)}
	ids := map[string]any{"ids": p.ids()}
	var records map[string]struct {
		Sent int `json:"sent"`
	}
	if own := own(p.sessions); len(own) > 0 {
		if err := p.call(ctx, p.client, "session.record", map[string]any{"ids": own}, &records); err != nil {
			return b, err
		}
	}
	for id, r := range records {
		b.sent[id] = r.Sent
	}
	for _, server := range p.servers() {
		var ledger map[string]struct {
			Received   int `json:"received"`
			Duplicates int `json:"duplicates"`
		}
		if err := p.call(ctx, server, "ledger", ids, &ledger); err != nil {
			return b, err
		}
		b.received[server] = make(map[string]int)
		for id, entry := range ledger {
			b.received[server][id] = entry.Received + entry.Duplicates
		}
	}
	return b, nil
}

// compare returns the first difference between events and books, or "".
func compare(events []trace.Event, b books) string {
	sent := make(map[string]int)
	received := make(map[string]map[string]int)
	restarted := make(map[string]bool)
	for _, e := range events {
		switch e.Type {
		case trace.Sent:
			sent[e.Session]++
		case trace.ServerReceived:
			if received[e.Node] == nil {
				received[e.Node] = make(map[string]int)
			}
			received[e.Node][e.Session]++
		case trace.Restarting:
			restarted[e.Node] = true
		}
	}
	for id, n := range b.sent {
		if sent[id] != n {
			return fmt.Sprintf("the client has sent %d messages of session %s, the trace has %d", n, id, sent[id])
		}
	}
	for server, ledger := range b.received {
		for id, n := range ledger {
			if !restarted[server] && received[server][id] != n {
				return fmt.Sprintf("%s has received %d messages of session %s, the trace has %d", server, n, id, received[server][id])
			}
		}
	}
	return ""
}
