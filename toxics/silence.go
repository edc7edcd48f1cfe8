package toxics

import (
	"sync"
	"time"
)

// silence is a timer that is not reset by activity, which costs nothing then: when
// it fires it asks how long the silence has lasted, and waits for the rest.
type silence struct {
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// watchSilence calls f once silentFor returns at least limit.
func watchSilence(limit time.Duration, silentFor func() time.Duration, f func()) *silence {
	s := &silence{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(limit-silentFor(), func() { s.check(limit, silentFor, f) })
	return s
}

func (s *silence) check(limit time.Duration, silentFor func() time.Duration, f func()) {
	rest := limit - silentFor()
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return
	}
	if rest > 0 {
		s.timer.Reset(rest)
		s.mu.Unlock()
		return
	}
	s.stopped = true
	s.mu.Unlock()
	f()
}

// stop ends the watch; f may be running still. A zero silence may be stopped.
func (s *silence) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
