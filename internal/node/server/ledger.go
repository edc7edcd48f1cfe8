package server

import (
	"fmt"
	"sync"
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
	lastPush int64
	// newest is the connection that pushes go to: the one opened last.
	newest *connection
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
	c.number = s.entry.Connections
	return id
}

// session returns the session of that name, which it makes if need be. The lock is held.
func (l *ledger) session(id string) *session {
	s, ok := l.sessions[id]
	if !ok {
		s = &session{received: make(map[int64]bool), acked: make(map[int64]bool)}
		l.sessions[id] = s
	}
	return s
}

func (l *ledger) closed(id string, c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session(id)
	s.entry.Open--
	if s.newest == c {
		s.newest = nil
	}
}

// arrived notes a numbered message.
func (l *ledger) arrived(id string, seq int64) (duplicate bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session(id)
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
	if !s.acked[seq] {
		s.acked[seq] = true
		s.entry.PushAcked++
	}
}

// push hands the next numbered push to the session's newest connection. A session
// that has none is not pushed to: what was never written cannot be lost. record is
// called before the push can arrive anywhere.
func (l *ledger) push(id string, record func(seq int64, number int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, known := l.sessions[id]
	if !known || s.newest == nil || !s.newest.takes() {
		return
	}
	s.lastPush++
	s.entry.Pushed++
	record(s.lastPush, s.newest.number)
	s.newest.write(encode(typePush, s.lastPush))
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
