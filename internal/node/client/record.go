package client

import (
	"sync"
	"time"
)

// Record is a client's own account of a session, in numbers.
type Record struct {
	// Sent counts the numbered messages that were written, Acked those whose echo came back.
	Sent  int `json:"sent"`
	Acked int `json:"acked"`
	// Pushes counts the different pushes that arrived, PushDuplicates those that came again.
	Pushes         int `json:"pushes"`
	PushDuplicates int `json:"push_duplicates"`
	// Connections that were opened.
	Connections int `json:"connections"`
	// Open says that one is open now; LastAcked that the newest message sent over
	// it was answered.
	Open      bool `json:"open"`
	LastAcked bool `json:"last_acked"`
	// GaveUp says that the strategy does not try to connect any more.
	GaveUp bool `json:"gave_up"`
}

// account keeps a record. It is safe for concurrent use.
type account struct {
	mu      sync.Mutex
	record  Record
	last    int64 // the newest message's number
	current int   // the open connection's number
	// newest is the newest message that was written to the open connection, 0 if none was.
	newest  int64
	pending map[int64]*sending
	pushes  map[int64]bool
}

// sending is a message that is being written, or waits for its echo.
type sending struct {
	start time.Time
	// written is closed when it was, or could not be.
	written chan struct{}
}

func newAccount() *account {
	return &account{pending: make(map[int64]*sending), pushes: make(map[int64]bool)}
}

// next begins a new message. Its echo may come before done is called.
func (a *account) next() (seq int64, s *sending) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	s = &sending{start: time.Now(), written: make(chan struct{})}
	a.pending[a.last] = s
	return a.last, s
}

// done notes that a message was written over a connection.
func (a *account) done(seq int64, conn int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record.Sent++
	if conn == a.current {
		a.newest, a.record.LastAcked = seq, false
	}
}

// drop forgets a message that could not be written. Its number is not used again:
// part of it may have arrived.
func (a *account) drop(seq int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pending, seq)
}

// awaited returns the message whose echo came, once; nil if nobody waits for it.
func (a *account) awaited(seq int64) *sending {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.pending[seq]
	delete(a.pending, seq)
	return s
}

// acked notes an echo.
func (a *account) acked(seq int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record.Acked++
	if seq == a.newest {
		a.record.LastAcked = true
	}
}

// pushed notes a push. It reports whether it came before.
func (a *account) pushed(seq int64) (duplicate bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pushes[seq] {
		a.record.PushDuplicates++
		return true
	}
	a.pushes[seq] = true
	a.record.Pushes++
	return false
}

// opened and closed note the connections.
func (a *account) opened(conn int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record.Connections++
	a.record.Open, a.record.LastAcked = true, false
	a.current, a.newest = conn, 0
}

func (a *account) closed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record.Open, a.record.LastAcked = false, false
	a.current, a.newest = 0, 0
}

func (a *account) gaveUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record.GaveUp = true
}

func (a *account) read() Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.record
}
