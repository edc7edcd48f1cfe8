package strategy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// mostPaths bounds how many paths a [Memory] holds; the one that was used longest ago is forgotten.
const mostPaths = 64

// Memory is what sessions with an [Adaptive] keepalive have learned about paths, each from a local
// address to a remote one. The program owns it: it hands one to as many sessions as it likes
// ([Options.Memory]), and may keep it in a file, as JSON. The zero Memory has learned
// nothing. Its methods are safe for concurrent use.
type Memory struct {
	mu    sync.Mutex
	paths map[string]*Learned
	// recent are the paths, the one used last at the end.
	recent []string
}

// Learned is what is known about one path. Zero fields are not known yet.
type Learned struct {
	// Quiet is how long nothing may be heard before a ping is due.
	Quiet time.Duration `json:"quiet"`
	// Borne is the longest silence that a connection has outlived, Broken the shortest that one has not.
	Borne  time.Duration `json:"borne,omitempty"`
	Broken time.Duration `json:"broken,omitempty"`
	// NoData is the shortest time without a message that a connection has not outlived
	// although pings passed.
	NoData time.Duration `json:"no_data,omitempty"`
	// Answer is how long answers take, and Deviation how far they are from it, both smoothed as
	// TCP's round trips are (RFC 6298).
	Answer    time.Duration `json:"answer,omitempty"`
	Deviation time.Duration `json:"deviation,omitempty"`

	// confirmed counts how often in a row Quiet was borne, doubted how often a silence that was borne
	// before was not, refuted how often NoData turned out wrong.
	confirmed, doubted, refuted int
	// early is a silence that was not borne although it was shorter than Quiet.
	early time.Duration
}

// Paths returns what was learned, by "local > remote" with IP addresses.
func (m *Memory) Paths() map[string]Learned {
	m.mu.Lock()
	defer m.mu.Unlock()
	paths := make(map[string]Learned, len(m.paths))
	for name, l := range m.paths {
		paths[name] = *l
	}
	return paths
}

// MarshalJSON encodes what [Memory.Paths] returns; times are in nanoseconds.
func (m *Memory) MarshalJSON() ([]byte, error) { return json.Marshal(m.Paths()) }

// UnmarshalJSON takes what MarshalJSON has written in place of what the memory holds. Times under 0 are
// an error; what is out of the bounds of a strategy is brought into them when it is used.
func (m *Memory) UnmarshalJSON(data []byte) error {
	var paths map[string]*Learned
	if err := json.Unmarshal(data, &paths); err != nil {
		return fmt.Errorf("memory of a strategy: %w", err)
	}
	for name, l := range paths {
		if l == nil || min(l.Quiet, l.Borne, l.Broken, l.NoData, l.Answer, l.Deviation) < 0 {
			return fmt.Errorf("memory of a strategy: path %q has a time under 0, or none", name)
		}
	}
	recent := slices.Sorted(maps.Keys(paths))
	for _, name := range recent[:max(0, len(recent)-mostPaths)] {
		delete(paths, name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paths, m.recent = paths, recent[max(0, len(recent)-mostPaths):]
	return nil
}

// use calls f with what is known about a path.
func (m *Memory) use(path string, f func(*Learned)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, known := m.paths[path]
	if !known {
		if m.paths == nil {
			m.paths = make(map[string]*Learned)
		}
		if len(m.recent) == mostPaths {
			delete(m.paths, m.recent[0])
			m.recent = m.recent[1:]
		}
		l = new(Learned)
		m.paths[path] = l
	} else if i := slices.Index(m.recent, path); i >= 0 {
		m.recent = slices.Delete(m.recent, i, i+1)
	}
	m.recent = append(m.recent, path)
	f(l)
}

// longer is by how much a quiet time grows that was borne often enough, and closer how near to one
// that was not borne another is still tried.
const (
	longer = 1.25
	closer = 1.1
)

// bound brings what is known into the bounds of a strategy.
func (l *Learned) bound(a Adaptive) {
	if l.Quiet == 0 {
		l.Quiet = a.First
	}
	l.Quiet = min(max(l.Quiet, a.Least), a.Most)
}

// borne notes that a connection outlived a silence.
func (l *Learned) borne(silence time.Duration, a Adaptive) {
	l.bound(a)
	l.Borne = max(l.Borne, silence)
	if silence >= l.early {
		l.early = 0 // it was something else
	}
	if l.Broken > 0 && l.Broken <= l.Borne {
		l.Broken = 0 // it was something else
	}
	if float64(silence) < 0.9*float64(l.Quiet) {
		return
	}
	l.doubted = 0
	if l.confirmed++; l.confirmed < a.Confirm {
		return
	}
	l.confirmed = 0
	next := time.Duration(float64(l.Quiet) * longer)
	if l.Broken > 0 && next >= l.Broken {
		next = (l.Quiet + l.Broken) / 2
		if float64(next) < float64(l.Quiet)*closer {
			return // near enough
		}
	}
	l.Quiet = min(next, a.Most)
}

// broken notes that a connection did not outlive a silence.
func (l *Learned) broken(silence time.Duration, a Adaptive) {
	l.bound(a)
	if silence < a.Least {
		return // no path forgets so soon
	}
	if float64(silence) < 0.9*float64(l.Quiet) && silence > l.Borne && l.early == 0 {
		l.early = silence // once may be chance
		return
	}
	l.confirmed, l.early = 0, 0
	if silence <= l.Borne {
		// Silences like this were outlived: it was something else, or the path is another one now.
		if l.doubted++; l.doubted < 2 {
			return
		}
		l.Borne, l.doubted = 0, 0
	}
	if l.Broken == 0 || silence < l.Broken {
		l.Broken = silence
	}
	l.Quiet = max(a.Least, min(l.Quiet, silence/2))
	if l.Borne > 0 {
		l.Quiet = max(a.Least, min(l.Borne, a.Most))
	}
}

// starved notes that a connection ended after a time without a message, and after so short a
// silence that it cannot have been that.
func (l *Learned) starved(noData time.Duration, a Adaptive) {
	switch {
	case !a.Heartbeat || noData < 2*a.Least:
	case l.NoData > 0 && noData < l.NoData:
		// Messages passed often enough, and it ended all the same.
		l.NoData = 0
		l.refuted++
	case l.NoData == 0 && l.refuted < 2:
		l.NoData = noData
	}
}

// answered notes how long an answer took.
func (l *Learned) answered(took time.Duration) {
	if l.Answer == 0 {
		l.Answer, l.Deviation = took, took/2
		return
	}
	l.Deviation += ((took - l.Answer).Abs() - l.Deviation) / 4
	l.Answer += (took - l.Answer) / 8
}

// patience is how long the answer to a ping may take.
func (l *Learned) patience(a Adaptive) time.Duration {
	return min(max(a.Patience, l.Answer+4*l.Deviation), 10*a.Patience)
}

// hungry is how long no message may have passed before a heartbeat is due; 0 is for ever.
func (l *Learned) hungry(a Adaptive) time.Duration {
	if !a.Heartbeat || l.NoData == 0 {
		return 0
	}
	return max(a.Least, l.NoData*4/5)
}
