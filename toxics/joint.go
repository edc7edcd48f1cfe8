package toxics

import (
	"sync/atomic"

	"github.com/Shopify/toxiproxy/v2/stream"
)

// depth is how many chunks a joint takes ahead, so that stages need not take turns.
const depth = 8

// joint carries chunks from one stage of a link to the next, in a goroutine of its
// own, and holds what the next stage has not taken yet. It is what makes a link safe
// to change: a toxic that is interrupted hands on what it holds, and the joint
// behind it takes that at once, whether or not the receiver reads (spill).
//
// All fields belong to the goroutine; others change them through do.
type joint struct {
	from <-chan *stream.StreamChunk
	// ended is closed behind the last chunk of from, once it is known why it is the
	// last. (That a toxic has closed from tells the same, but too early.)
	ended <-chan struct{}
	to    chan<- *stream.StreamChunk // nil: hold
	queue []*stream.StreamChunk
	// write writes without waiting and returns what is left, which goes to to. Only the
	// last joint of a link has it; without it all goes to to.
	write func([]byte) []byte
	// handed counts the chunks that have gone to to while there is write: it takes its turn
	// when all of them are written.
	handed *atomic.Int32
	// ahead is how many chunks are taken before the next stage wants them: the
	// buffer that Toxiproxy's latency asks for.
	ahead int
	// spill takes chunks without a limit.
	spill bool
	// discard drops what is taken.
	discard bool
	// frames follows what is handed on, at the last joint of a link.
	frames *frameTracker
	// eof: ended is closed. delivered: to was closed behind the last chunk.
	eof, delivered bool
	stopped        bool

	ops chan func()
}

func newJoint(from <-chan *stream.StreamChunk, ended <-chan struct{}, to chan<- *stream.StreamChunk) *joint {
	return &joint{from: from, ended: ended, to: to, ahead: depth, ops: make(chan func())}
}

// do runs f in the joint's goroutine and returns when it has. It must not be called
// after stop.
func (j *joint) do(f func()) {
	done := make(chan struct{})
	j.ops <- func() { f(); close(done) }
	<-done
}

// stop ends the goroutine; the caller has the fields to itself then.
func (j *joint) stop() { j.do(func() { j.stopped = true }) }

func (j *joint) run() {
	for !j.stopped {
		j.writeAhead()
		if j.eof && len(j.queue) == 0 && j.to != nil {
			close(j.to)
			j.to, j.delivered = nil, true
		}
		in, ended, out := j.from, j.ended, j.to
		if j.eof {
			ended = nil
		}
		if !j.spill && len(j.queue) > j.ahead {
			in = nil
		}
		var head *stream.StreamChunk
		var data []byte // the next stage may change the chunk as soon as it has it
		if len(j.queue) > 0 {
			head = j.queue[0]
			data = head.Data
		} else {
			out = nil
		}
		select {
		case c := <-in:
			j.take(c)
			j.takeMore(in)
		case <-ended:
			j.drain()
			j.eof = true
		case out <- head:
			if j.write != nil {
				j.handed.Add(1)
			}
			j.follow(data)
			j.queue[0] = nil
			j.queue = j.queue[1:]
		case op := <-j.ops:
			op()
		}
	}
}

func (j *joint) take(c *stream.StreamChunk) {
	switch {
	case c == nil:
		j.from = nil // closed; ended follows
	case j.discard || len(c.Data) == 0: // Toxiproxy's slicer makes empty chunks
	default:
		j.queue = append(j.queue, c)
	}
}

// takeMore takes what waits already, up to the limit.
func (j *joint) takeMore(in <-chan *stream.StreamChunk) {
	for j.from != nil && (j.spill || len(j.queue) <= j.ahead) {
		select {
		case c := <-in:
			j.take(c)
		default:
			return
		}
	}
}

// drain takes what is left in from, behind which nothing more comes.
func (j *joint) drain() {
	for j.from != nil {
		select {
		case c := <-j.from:
			j.take(c)
		default:
			return
		}
	}
}

// writeAhead writes what goes without waiting, which saves the way to another goroutine.
func (j *joint) writeAhead() {
	if j.write == nil || j.to == nil {
		return
	}
	for len(j.queue) > 0 && j.handed.Load() == 0 {
		c := j.queue[0]
		rest := j.write(c.Data)
		j.follow(c.Data[:len(c.Data)-len(rest)])
		if len(rest) > 0 {
			// Not in place: limit_data counts a chunk's bytes when it has given it away.
			j.queue[0] = &stream.StreamChunk{Data: rest, Timestamp: c.Timestamp}
			return
		}
		j.queue[0] = nil
		j.queue = j.queue[1:]
	}
}

func (j *joint) follow(data []byte) {
	if j.frames != nil {
		j.frames.feed(data)
	}
}
