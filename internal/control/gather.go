package control

import (
	"io"
	"time"
)

// A line that comes after a pause goes out at once. Those that follow it closely wait that long, or
// until they are that many bytes, and go out together: every write of a node wakes several
// processes, and a node that is busy has thousands of lines a second.
const (
	gatherFor  = 5 * time.Millisecond
	gatherMost = 32 << 10
)

// gatherer writes lines to out. The lock of its owner guards it.
type gatherer struct {
	out   io.Writer
	held  []byte
	sent  time.Time   // when something went out last
	timer *time.Timer // set while something is held: it sends it
}

// Write takes a line.
func (g *gatherer) Write(line []byte) (int, error) {
	g.held = append(g.held, line...)
	return len(line), nil
}

// due says whether what is held has to go out. If not, send is called when it has to.
func (g *gatherer) due(send func()) bool {
	switch {
	case len(g.held) >= gatherMost:
		return true
	case g.timer != nil:
		return false
	case time.Since(g.sent) >= gatherFor:
		return true
	}
	g.timer = time.AfterFunc(gatherFor, send)
	return false
}

// send writes what is held.
func (g *gatherer) send() {
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	if len(g.held) > 0 {
		_, _ = g.out.Write(g.held) // the other end is gone: there is nobody to tell
		g.held, g.sent = g.held[:0], time.Now()
	}
}
