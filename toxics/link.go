package toxics

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

// abortGrace is how long the bytes before a RST may wait for a receiver that does
// not read; a RST does not wait for a receive window.
const abortGrace = time.Second

// chunkSize is how much is read at a time.
const chunkSize = 32 << 10

// link is one direction of a pair: a reader, toxics with joints between them, a writer.
//
//	source > joint > toxic > joint > toxic > joint > destination
type link struct {
	pair      *pair
	direction stream.Direction
	source    net.Conn
	dest      net.Conn
	bytes     atomic.Int64

	// mu serializes changes.
	mu     sync.Mutex
	joints []*joint // one more than stages
	stages []*stage
	closed bool

	head, tail  chan *stream.StreamChunk
	sourceEnded chan struct{}
	dead        chan struct{}
	running     sync.WaitGroup

	// ending guards how the stream ends.
	ending   sync.Mutex
	abort    bool   // with a RST
	fired    *toxic // because of a toxic
	finished bool   // the writer has done it
}

// stage is a toxic in a link.
type stage struct {
	toxic *toxic
	stub  *toxiproxy.ToxicStub
	in    chan *stream.StreamChunk
	// ended is closed when the stub is, and the link knows why.
	ended chan struct{}
}

func newLink(p *pair, d stream.Direction) *link {
	l := &link{
		pair:      p,
		direction: d,
		source:    p.conns[d],
		dest:      p.conns[1-d],
		head:      make(chan *stream.StreamChunk),
		tail:      make(chan *stream.StreamChunk),
		dead:      make(chan struct{}),

		sourceEnded: make(chan struct{}),
	}
	first := newJoint(l.head, l.sourceEnded, l.tail)
	l.joints = []*joint{first}
	l.running.Go(first.run)
	return l
}

// start begins to carry bytes.
func (l *link) start() {
	l.running.Go(l.read)
	l.running.Go(l.write)
}

func (l *link) read() {
	defer close(l.sourceEnded)
	buffer := make([]byte, chunkSize)
	for {
		n, err := l.source.Read(buffer)
		if n > 0 {
			l.pair.touch()
			c := &stream.StreamChunk{Data: append([]byte(nil), buffer[:n]...), Timestamp: time.Now()}
			select {
			case l.head <- c:
			case <-l.dead:
				return
			}
		}
		if err != nil {
			l.pair.sourceEnded(l.direction, err)
			return
		}
	}
}

func (l *link) write() {
	discard := false
	for {
		select {
		case <-l.dead:
			return
		case c, ok := <-l.tail:
			if !ok {
				l.finish()
				return
			}
			if discard {
				continue
			}
			if l.aborting() {
				l.hurry()
			}
			n, err := l.dest.Write(c.Data)
			l.bytes.Add(int64(n))
			if err != nil {
				discard = true // go on taking, so that the source's end is seen
				l.pair.writeFailed(l.direction, err)
			}
		}
	}
}

// finish ends the stream at its destination.
func (l *link) finish() {
	l.ending.Lock()
	l.finished = true
	abort, fired := l.abort, l.fired
	l.ending.Unlock()
	l.pair.linkEnded(l, abort, fired)
}

// abortAtEnd makes the stream end with a RST instead of a FIN, behind the bytes
// that are on their way. They wait no longer than abortGrace for a receiver that does not read.
func (l *link) abortAtEnd() {
	l.ending.Lock()
	l.abort = true
	finished := l.finished
	l.ending.Unlock()
	if finished {
		l.pair.end(ending{abort: true})
		return
	}
	l.hurry() // a write that is under way
}

// aborting says whether the stream will end with a RST.
func (l *link) aborting() bool {
	l.ending.Lock()
	defer l.ending.Unlock()
	return l.abort
}

func (l *link) hurry() {
	_ = l.dest.SetWriteDeadline(time.Now().Add(abortGrace)) // it is closed: nothing to hurry
}

// add puts a toxic behind the others. A link whose stream has ended stays as it is.
func (l *link) add(t *toxic, state any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	in, out := make(chan *stream.StreamChunk), make(chan *stream.StreamChunk)
	last := l.joints[len(l.joints)-1]
	over := false
	last.do(func() {
		if over = last.delivered; over {
			return
		}
		last.to, last.ahead = in, t.buffer()
	})
	if over {
		return
	}
	s := &stage{toxic: t, stub: toxiproxy.NewToxicStub(in, out), in: in, ended: make(chan struct{})}
	next := newJoint(out, s.ended, l.tail)
	s.stub.State = state
	l.joints = append(l.joints, next)
	l.stages = append(l.stages, s)
	l.running.Go(next.run)
	l.run(s)
}

// run starts the toxic of a stage with its present attributes.
func (l *link) run(s *stage) {
	wrapper := s.toxic.wrapper()
	l.running.Go(func() {
		s.stub.Run(wrapper)
		if !s.stub.Closed() {
			return // interrupted
		}
		if !s.inputEnded() {
			l.closedBy(s.toxic)
		}
		close(s.ended)
	})
}

// inputEnded says whether the stream had come to its end before the toxic closed
// it. A chunk that it takes is one that the toxic, being closed, will never take.
func (s *stage) inputEnded() bool {
	select {
	case _, ok := <-s.in:
		return !ok
	default:
		return false
	}
}

// closedBy is called when a toxic has closed the stream by itself.
func (l *link) closedBy(t *toxic) {
	l.ending.Lock()
	l.fired = t
	l.ending.Unlock()
	l.pair.fired(t)
	if _, ok := t.impl().(aborter); ok {
		l.pair.end(ending{by: ByToxic, toxic: t, abort: true})
	}
}

// pause interrupts the toxic of stage i and leaves what it held to the joint behind
// it. The joint before it holds. It returns false when the toxic has closed the stream.
func (l *link) pause(i int) bool {
	before, behind := l.joints[i], l.joints[i+1]
	before.do(func() { before.to = nil })
	behind.do(func() { behind.spill = true })
	return l.stages[i].stub.InterruptToxic()
}

func (l *link) find(t *toxic) int {
	for i, s := range l.stages {
		if s.toxic == t {
			return i
		}
	}
	return -1
}

// update runs a toxic with its new attributes.
func (l *link) update(t *toxic) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(t)
	if l.closed || i < 0 {
		return
	}
	if l.pause(i) {
		l.run(l.stages[i])
	}
	l.resume(i)
}

// resume ends what pause began.
func (l *link) resume(i int) {
	before, behind := l.joints[i], l.joints[i+1]
	behind.do(func() { behind.spill = false })
	before.do(func() {
		if !before.delivered {
			before.to = l.stages[i].in
		}
	})
}

// remove takes a toxic out. What it held goes first, then what waited for it.
func (l *link) remove(t *toxic) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(t)
	if l.closed || i < 0 {
		return
	}
	s := l.stages[i]
	if !l.pause(i) {
		return // the stream has ended here: nothing will come any more
	}
	if cleaner, ok := t.impl().(toxiproxy.CleanupToxic); ok {
		cleaner.Cleanup(s.stub)
		if s.stub.Closed() {
			l.closedBy(t)
			close(s.ended)
			return
		}
	}
	before, behind := l.joints[i], l.joints[i+1]
	before.stop()
	behind.do(func() {
		behind.from, behind.ended = before.from, before.ended
		behind.queue = append(behind.queue, before.queue...)
		behind.spill = false
		behind.eof = before.eof
	})
	l.joints = append(l.joints[:i], l.joints[i+1:]...)
	l.stages = append(l.stages[:i], l.stages[i+1:]...)
}

// close ends the link at once and drops what is in it. Both connections must be
// closed, so that the reader and the writer return.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	close(l.dead)
	for _, j := range l.joints {
		j.do(func() { j.to, j.queue, j.spill, j.discard = nil, nil, true, true })
	}
	for _, s := range l.stages {
		s.stub.InterruptToxic()
	}
	for _, j := range l.joints {
		j.stop()
	}
	l.mu.Unlock()
	l.running.Wait()
}
