package toxics

import "github.com/Shopify/toxiproxy/v2/stream"

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
	// ahead is how many chunks are taken before the next stage wants them: the
	// buffer that Toxiproxy's latency asks for.
	ahead int
	// spill takes chunks without a limit.
	spill bool
	// discard drops what is taken.
	discard bool
	// eof: ended is closed. delivered: to was closed behind the last chunk.
	eof, delivered bool
	stopped        bool

	ops chan func()
}

func newJoint(from <-chan *stream.StreamChunk, ended <-chan struct{}, to chan<- *stream.StreamChunk) *joint {
	return &joint{from: from, ended: ended, to: to, ops: make(chan func())}
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
		if len(j.queue) > 0 {
			head = j.queue[0]
		} else {
			out = nil
		}
		select {
		case c := <-in:
			j.take(c)
		case <-ended:
			j.eof = true
		case out <- head:
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
