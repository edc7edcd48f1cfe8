package control

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// writes keeps how many lines each write had.
type writes struct {
	mu    sync.Mutex
	lines []int
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}

func (w *writes) want(t *testing.T, when string, want ...int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.lines, want) {
		t.Errorf("%s: writes with %v lines, want %v", when, w.lines, want)
	}
}

// TestGather: an event after a pause goes out at once, those that follow closely go out together.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out writes
		s := NewServer(&out)
		record := func(n int) {
			for range n {
				s.Record(trace.Event{Type: trace.Sent})
			}
		}
		record(1)
		out.want(t, "the first", 1)
		time.Sleep(2 * gatherFor)
		record(1)
		out.want(t, "after a pause", 1, 1)
		record(20)
		out.want(t, "closely", 1, 1)
		time.Sleep(gatherFor)
		synctest.Wait()
		out.want(t, "a little later", 1, 1, 20)
		record(3)
		s.Flush()
		out.want(t, "flushed", 1, 1, 20, 3)
		record(2)
		s.reply(message{ID: "1"})
		out.want(t, "answered", 1, 1, 20, 3, 3)
		time.Sleep(2 * gatherFor)
		synctest.Wait()
		out.want(t, "nothing more", 1, 1, 20, 3, 3)
		record(1)
		record(1)
		s.Seal(time.Second)
		out.want(t, "sealed", 1, 1, 20, 3, 3, 1, 1)
	})
}

// TestGatherMost: what is held is bounded.
func TestGatherMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out writes
		s := NewServer(&out)
		s.Record(trace.Event{Type: trace.Sent})
		for range 10 {
			s.Record(trace.Event{Type: trace.Log, Detail: string(bytes.Repeat([]byte{'x'}, gatherMost/10))})
		}
		out.want(t, "many bytes", 1, 10)
	})
}
