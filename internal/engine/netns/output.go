package netns

import (
	"bytes"
	"sync"
)

// keepOutput is how many bytes of a node's output are kept for `wslab logs`; the oldest lines go first.
const keepOutput = 8 << 20

// output is what a node has written, line by line, with any number of readers.
// It is safe for concurrent use.
type output struct {
	mu      sync.Mutex
	changed *sync.Cond
	lines   [][]byte
	first   int // number of lines[0] since the start
	size    int
	ended   bool
}

func newOutput() *output {
	o := &output{}
	o.changed = sync.NewCond(&o.mu)
	return o
}

func (o *output) append(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, bytes.Clone(line))
	o.size += len(line)
	for o.size > keepOutput && len(o.lines) > 1 {
		o.size -= len(o.lines[0])
		o.lines[0] = nil
		o.lines = o.lines[1:]
		o.first++
	}
	o.changed.Broadcast()
}

// end says that nothing more will come.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed.Broadcast()
}

// next returns the number of the line that will be written next.
func (o *output) next() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.first + len(o.lines)
}

// wake lets readers look at their stop function again.
func (o *output) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed.Broadcast()
}

// read calls f with each line from number from on, until the output ends, f
// returns false, or — looked at whenever there is nothing to read — stop
// returns true. A reader that is slower than keepOutput misses the oldest lines.
func (o *output) read(from int, stop func() bool, f func([]byte) bool) {
	for {
		o.mu.Lock()
		for from >= o.first+len(o.lines) && !o.ended && !stop() {
			o.changed.Wait()
		}
		from = max(from, o.first)
		batch := o.lines[min(from-o.first, len(o.lines)):]
		over := len(batch) == 0
		o.mu.Unlock()
		if over {
			return
		}
		for _, line := range batch {
			if !f(line) {
				return
			}
		}
		from += len(batch)
	}
}
