package toxics

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

// abortGrace is how long the bytes before a RST may wait for a receiver that does
// not read; a RST does not wait for a receive window.
const abortGrace = time.Second

// past is a deadline that interrupts a write at once.
var past = time.Unix(1, 0)

// link is one direction of a pair. While it has no toxics its reader writes what it
// reads by itself:
//
//	source > destination
//
// From the first toxic on there are joints between the stages, and a writer:
//
//	source > joint > toxic > joint > toxic > joint > destination
//
// When the last toxic has gone and nothing is held any more, the reader takes over again.
type link struct {
	pair      *pair
	direction stream.Direction
	source    net.Conn
	dest      net.Conn
	bytes     atomic.Int64

	// mu serializes changes.
	mu     sync.Mutex
	joints []*joint // one more than stages; none while the reader writes
	stages []*stage
	closed bool

	// writing is held by whoever writes to dest, and guards the fields below.
	writing sync.Mutex
	staged  *staged // nil while the reader writes
	// frames is what the reader has written, as WebSocket frames.
	frames frameTracker
	// delivered: the destination gets nothing more, for the source has ended or
	// the destination has died.
	delivered bool
	// direct says that the reader may write: a write to dest can be interrupted
	// without harm, which is not so under TLS.
	direct bool
	// wanted is set while a change waits for the reader to let go of dest.
	wanted atomic.Bool
	// lone says that stages has become empty: the reader may take over.
	lone atomic.Bool

	dead    chan struct{}
	running sync.WaitGroup

	// ending guards how the stream ends.
	ending   sync.Mutex
	abort    bool   // with a RST
	fired    *toxic // because of a toxic
	finished bool   // it has ended
}

// staged is the way of the bytes through joints, from when there are toxics until
// there are none.
type staged struct {
	head, tail  chan *stream.StreamChunk
	sourceEnded chan struct{}
	// handed are the chunks that the writer has yet to write.
	handed atomic.Int32
	// over ends the writer. It takes it between two chunks only.
	over chan struct{}
}

// stage is a toxic in a link.
type stage struct {
	toxic *toxic
	stub  *toxiproxy.ToxicStub
	in    chan *stream.StreamChunk
	// ended is closed when the stub is, and the link knows why.
	ended chan struct{}
	// judged is closed when the latest run has returned and it is known whether it
	// was interrupted or has closed the stub.
	judged chan struct{}
}

func newLink(p *pair, d stream.Direction) *link {
	l := &link{
		pair:      p,
		direction: d,
		source:    p.conns[d],
		dest:      p.conns[1-d],
		dead:      make(chan struct{}),
	}
	_, encrypted := as[*tls.Conn](l.dest)
	if l.direct = !encrypted; encrypted {
		l.stage()
	}
	return l
}

// start begins to carry bytes.
func (l *link) start() { l.running.Go(l.read) }

// read reads the source to its end, and writes or hands on what it has read.
func (l *link) read() {
	source := newReader(l.source)
	for {
		data, err := source.read()
		if len(data) > 0 {
			l.pair.touch()
			if !l.carry(data) {
				return
			}
		}
		source.release()
		if err != nil {
			l.pair.sourceEnded(l.direction, err)
			l.endOfSource()
			return
		}
	}
}

// carry writes data, or hands a copy of them to the first joint. It returns false when
// the link is dead.
func (l *link) carry(data []byte) bool {
	if l.lone.Load() {
		l.unstage()
	}
	l.writing.Lock()
	for l.staged == nil {
		if !l.wanted.Load() {
			n := l.write(data)
			l.frames.feed(data[:n])
			data = data[n:]
		}
		if len(data) == 0 {
			l.writing.Unlock()
			return true
		}
		// A change has interrupted us, and takes the lock next.
		l.writing.Unlock()
		runtime.Gosched()
		l.writing.Lock()
	}
	s := l.staged
	l.writing.Unlock()
	c := &stream.StreamChunk{Data: bytes.Clone(data), Timestamp: time.Now()}
	select {
	case s.head <- c:
		return true
	case <-l.dead:
		return l.pair.lingers() // what comes is dropped, so that it does not cause a RST
	}
}

// write writes to the destination and returns how much of it is done with: less
// than all if a change wants the lock. The caller holds writing. What a destination
// that has died does not take is dropped, so that the source's end is seen.
func (l *link) write(data []byte) int {
	if l.delivered {
		return len(data)
	}
	if l.aborting() {
		l.hurry()
	}
	n, err := l.dest.Write(data)
	l.bytes.Add(int64(n))
	if err == nil {
		return n
	}
	if l.wanted.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		return n
	}
	l.delivered = true
	l.pair.writeFailed(l.direction, err)
	return len(data)
}

// intervene writes in the place of the source, from which nothing more is written then.
func (l *link) intervene(data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stage() { // so that the reader lets go
		return
	}
	l.hurry()
	l.writing.Lock()
	defer l.writing.Unlock()
	l.write(data)
	l.delivered = true
}

// endOfSource is called when the source will give no more.
func (l *link) endOfSource() {
	l.writing.Lock()
	s := l.staged
	if s == nil {
		l.delivered = true
	}
	l.writing.Unlock()
	if s == nil {
		l.finish()
		return
	}
	close(s.sourceEnded)
}

// stage makes the reader hand on what it reads, in a bounded time, whether or not the
// destination takes what is being written. It returns false if the stream has ended. The
// caller holds mu.
func (l *link) stage() bool {
	if len(l.joints) > 0 {
		l.lone.Store(false)
		return true
	}
	l.wanted.Store(true)
	_ = l.dest.SetWriteDeadline(past) // a dead connection has no writer to interrupt
	l.writing.Lock()
	defer l.writing.Unlock()
	l.wanted.Store(false)
	_ = l.dest.SetWriteDeadline(time.Time{})
	if l.aborting() {
		l.hurry()
	}
	if l.delivered {
		return false
	}
	s := &staged{
		head:        make(chan *stream.StreamChunk),
		tail:        make(chan *stream.StreamChunk),
		sourceEnded: make(chan struct{}),
		over:        make(chan struct{}),
	}
	l.staged = s
	first := newJoint(s.head, s.sourceEnded, s.tail)
	first.frames = &l.frames
	l.writeAhead(first)
	l.joints = []*joint{first}
	l.running.Go(first.run)
	l.running.Go(func() { l.deliver(s) })
	return true
}

// unstage lets the reader, who calls it between two chunks, write by itself again,
// unless something is still on its way.
func (l *link) unstage() {
	if !l.mu.TryLock() {
		return // a change is under way, and may be waiting for us to go on
	}
	defer l.mu.Unlock()
	if l.closed || len(l.stages) > 0 || len(l.joints) != 1 {
		return
	}
	only, idle := l.joints[0], false
	only.do(func() { idle = len(only.queue) == 0 && !only.eof })
	if !idle {
		return
	}
	select {
	case l.staged.over <- struct{}{}:
	default:
		return // the writer is writing, or about to
	}
	only.stop()
	l.writing.Lock()
	defer l.writing.Unlock()
	l.joints, l.staged = nil, nil
	l.lone.Store(false)
}

// deliver writes what comes out of the last joint.
func (l *link) deliver(s *staged) {
	for {
		select {
		case <-l.dead:
			return
		case <-s.over:
			return
		case c, ok := <-s.tail:
			if !ok {
				l.finish()
				return
			}
			l.writing.Lock()
			l.write(c.Data)
			l.writing.Unlock()
			s.handed.Add(-1)
		}
	}
}

// writeAhead lets the last joint write without waiting, where the destination tells whether it
// takes anything.
func (l *link) writeAhead(j *joint) {
	tcp, ok := l.dest.(*net.TCPConn)
	if !ok {
		return
	}
	raw := socket(tcp)
	if raw == nil {
		return
	}
	j.handed = &l.staged.handed
	j.write = func(data []byte) []byte {
		if !l.writing.TryLock() {
			return data // the writer's turn
		}
		defer l.writing.Unlock()
		if l.delivered {
			return nil
		}
		n, err := writeNow(raw, data)
		l.bytes.Add(int64(n))
		if err != nil {
			l.delivered = true
			l.pair.writeFailed(l.direction, err)
			return nil
		}
		return data[n:]
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
func (l *link) add(t *toxic, state func(frameTracker) any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || !l.stage() {
		return
	}
	in, out := make(chan *stream.StreamChunk), make(chan *stream.StreamChunk, depth)
	last := l.joints[len(l.joints)-1]
	over := false
	var frames frameTracker
	last.do(func() {
		if over = last.delivered; over {
			return
		}
		frames = last.frames.clone()
		last.frames, last.write = nil, nil
		last.to, last.ahead = in, max(t.buffer(), depth)
	})
	if over {
		return
	}
	s := &stage{toxic: t, stub: toxiproxy.NewToxicStub(in, out), in: in, ended: make(chan struct{})}
	next := newJoint(out, s.ended, l.staged.tail)
	next.frames = &l.frames
	l.writeAhead(next)
	s.stub.State = state(frames)
	l.joints = append(l.joints, next)
	l.stages = append(l.stages, s)
	l.running.Go(next.run)
	l.run(s)
}

// run starts the toxic of a stage with its present attributes.
func (l *link) run(s *stage) {
	wrapper, judged := s.toxic.wrapper(), make(chan struct{})
	s.judged = judged
	l.running.Go(func() {
		s.stub.Run(wrapper)
		closed := s.stub.Closed()
		close(judged)
		if !closed {
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
	s := l.stages[i]
	if !s.stub.InterruptToxic() {
		return false
	}
	// The next run may close the stub at once: the interrupted one must not take that for its own doing.
	<-s.judged
	return true
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
	if r, ok := t.impl().(retirer); ok && r.retire(s.stub) {
		l.run(s)
		l.resume(i)
		return
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
		behind.drain()
		behind.from, behind.ended = before.from, before.ended
		behind.queue = append(behind.queue, before.queue...)
		behind.spill = false
		behind.eof = before.eof
	})
	l.joints = append(l.joints[:i], l.joints[i+1:]...)
	l.stages = append(l.stages[:i], l.stages[i+1:]...)
	l.lone.Store(l.direct && len(l.stages) == 0)
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
