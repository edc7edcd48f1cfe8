package server

import (
	"fmt"
	"slices"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/strategy"
)

// Entry is what the ledger knows of one session, in numbers.
type Entry struct {
	// Connections that the session has opened.
	Connections int `json:"connections"`
	// Open connections now.
	Open int `json:"open"`
	// Received counts the different numbered messages that arrived, Duplicates
	// those that came again.
	Received   int `json:"received"`
	Duplicates int `json:"duplicates"`
	// Pushed counts the pushes that were handed to a connection, PushAcked the
	// different ones that the client has acknowledged.
	Pushed    int `json:"pushed"`
	PushAcked int `json:"push_acked"`
}

// ledger is the record of every session. It is safe for concurrent use.
type ledger struct {
	mu        sync.Mutex
	sessions  map[string]*session
	anonymous int
}

// session is one client session, over all of its connections.
type session struct {
	entry    Entry
	received map[int64]bool
	acked    map[int64]bool
	// speaks the numbered echo, as far as it was heard.
	speaks   bool
	lastPush int64
	// newest is the connection that pushes go to: the one opened last.
	newest *connection
	// open are all that are open.
	open map[*connection]bool
	// replay is what is kept for a session that resumes, as the client calls it; nil for any other.
	replay *strategy.Replay
	named  string
}

// resume takes up a session as its client asks for it. fresh says that nothing was known of it.
func (l *ledger) resume(id, named string, r strategy.Resume) (replay *strategy.Replay, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session(id)
	if s.replay == nil || s.named != named {
		s.replay, s.named, fresh = strategy.NewReplay(r), named, true
	}
	return s.replay, fresh
}

func newLedger() *ledger { return &ledger{sessions: make(map[string]*session)} }

// opened notes a new connection of a session. A connection that does not say
// whose it is gets a session of its own.
func (l *ledger) opened(id string, c *connection) (session string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == "" {
		l.anonymous++
		id = fmt.Sprintf("anonymous-%d", l.anonymous)
	}
	s := l.session(id)
	s.entry.Connections++
	s.entry.Open++
	s.newest = c
	s.open[c] = true
	c.number = s.entry.Connections
	return id
}

// session returns the session of that name, which it makes if need be. The lock is held.
func (l *ledger) session(id string) *session {
	s, ok := l.sessions[id]
	if !ok {
		s = &session{received: make(map[int64]bool), acked: make(map[int64]bool), open: make(map[*connection]bool)}
		l.sessions[id] = s
	}
	return s
}

func (l *ledger) closed(id string, c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session(id)
	s.entry.Open--
	delete(s.open, c)
	if s.newest == c {
		s.newest = nil
		// The client may have dropped one that it had opened beside another.
		for other := range s.open {
			if s.newest == nil || other.number > s.newest.number {
				s.newest = other
			}
		}
	}
}

// open returns the open connections of these sessions, of all when ids is empty.
func (l *ledger) open(ids []string) []*connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*connection
	for id, s := range l.sessions {
		if len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		for c := range s.open {
			all = append(all, c)
		}
	}
	return all
}

// arrived notes a numbered message.
func (l *ledger) arrived(id string, seq int64) (duplicate bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session(id)
	s.speaks = true
	if s.received[seq] {
		s.entry.Duplicates++
		return true
	}
	s.received[seq] = true
	s.entry.Received++
	return false
}

func (l *ledger) pushAcked(id string, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session(id)
	s.speaks = true
	if !s.acked[seq] {
		s.acked[seq] = true
		s.entry.PushAcked++
	}
}

// push hands the next numbered push to the session's newest connection. A session
// that has none is not pushed to: what was never written cannot be lost; one that resumes keeps it until
// it has. record is called before the push can arrive anywhere. size is how many bytes it has beyond its number.
//
// A watched client is sent a ping behind the push. One that leaves the first push of a connection
// without an answer of the numbered echo may not read messages at all: it is only sent pings.
func (l *ledger) push(id string, size int, record func(seq int64, number int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, known := l.sessions[id]
	if !known {
		return
	}
	if s.replay != nil {
		l.keep(s, size, record)
		return
	}
	if s.newest == nil || !s.newest.takes() {
		return
	}
	c := s.newest
	if c.witness == nil || s.speaks || !c.tried {
		s.lastPush++
		s.entry.Pushed++
		record(s.lastPush, c.number)
		if c.witness != nil {
			c.witness.pushed(s.lastPush)
		}
		c.write(encodePush(s.lastPush, size))
		c.tried = true
	}
	if c.witness != nil {
		c.queue(websocket.PingMessage, []byte(c.witness.ask(talkPing)))
	}
}

// keep pushes to a session that resumes, unless too much is kept for it already. The lock is held.
func (l *ledger) keep(s *session, size int, record func(seq int64, number int)) {
	text := encodePush(s.lastPush+1, size)
	if s.replay.Full(len(text)) {
		return
	}
	s.lastPush++
	s.entry.Pushed++
	number := 0
	if s.newest != nil {
		number = s.newest.number
	}
	record(s.lastPush, number)
	_, _ = s.replay.Keep(websocket.TextMessage, text) // there is room for it, or for the next one
}

// entries returns the records of these sessions, of all when ids is empty.
func (l *ledger) entries(ids []string) map[string]Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]Entry)
	if len(ids) == 0 {
		for id, s := range l.sessions {
			out[id] = s.entry
		}
	}
	for _, id := range ids {
		if s, ok := l.sessions[id]; ok {
			out[id] = s.entry
		} else {
			out[id] = Entry{}
		}
	}
	return out
}

// forget drops the records of sessions that have no connection any more.
func (l *ledger) forget(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if s, ok := l.sessions[id]; ok && s.entry.Open == 0 {
			delete(l.sessions, id)
		}
	}
}
