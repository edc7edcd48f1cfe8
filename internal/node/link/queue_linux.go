package link

import (
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Limits of a queue.
const (
	// held is how many packets the kernel holds for us at most.
	held = 65535
	// headers is how much of a packet we are shown: its length is in the header.
	headers = 64
	// fine is what is slept through in the kernel: Go's own timers are a millisecond late
	// when nothing else goes on (epoll_wait(2) counts in milliseconds).
	fine = 2 * time.Millisecond
	// buffer is for the kernel's messages about packets that we have not read yet.
	buffer = 8 << 20
)

// Of linux/netfilter/nfnetlink_queue.h.
const (
	configMessage = unix.NFNL_SUBSYS_QUEUE<<8 | 2 // NFQNL_MSG_CONFIG
	configParams  = 2                             // NFQA_CFG_PARAMS
	wholePacket   = 0xffff
)

// queue holds the packets that rules send to it until they are due.
type queue struct {
	nf    *nfqueue.Nfqueue
	bound uint16 // its number

	mu     sync.Mutex
	stages []*stage
	// failed is why no more packets come; unbind ends that they do.
	failed chan error
	unbind context.CancelFunc
	// again is for second copies; nil until some stage makes them.
	again   *again
	waiting waiting
	number  uint64
	wake    chan struct{}
}

// stage is conditions that a packet goes through, one after another.
type stage struct {
	// from is the hardware address of the sender whose packets are meant; "" is everyone.
	from   string
	shaper *shaper
	counts Counts
}

// Counts of the packets of a stage.
type Counts struct {
	// Packets that have come, those of them that were lost by chance, those that
	// did not fit in the queue of the rate, and those that arrived twice.
	Packets    uint64 `json:"packets"`
	Lost       uint64 `json:"lost"`
	Full       uint64 `json:"full"`
	Duplicated uint64 `json:"duplicated"`
}

// packet that is held.
type packet struct {
	due    time.Time
	number uint64
	id     uint32
	size   int
	stages []*stage // that are still before it

	// data of the packet and its sender, where there may have to be a second one.
	data []byte
	from string
	// second: it is a copy, which the kernel knows nothing of.
	second bool
}

// waiting packets, the next that is due first, in their order if they are due together.
type waiting []packet

func (w waiting) Len() int      { return len(w) }
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w waiting) Less(i, j int) bool {
	if w[i].due.Equal(w[j].due) {
		return w[i].number < w[j].number
	}
	return w[i].due.Before(w[j].due)
}

// Push is for package heap.
func (w *waiting) Push(x any) { *w = append(*w, x.(packet)) }

// Pop is for package heap.
func (w *waiting) Pop() any {
	old := *w
	last := old[len(old)-1]
	*w = old[:len(old)-1]
	return last
}

// openQueue binds a queue of the network namespace. It needs CAP_NET_ADMIN.
func openQueue(number uint16) (*queue, error) {
	nf, err := nfqueue.Open(&nfqueue.Config{
		NfQueue:      number,
		MaxPacketLen: headers,
		MaxQueueLen:  held,
		Copymode:     nfqueue.NfQnlCopyPacket,
		AfFamily:     unix.AF_INET,
	})
	if err != nil {
		return nil, fmt.Errorf("packet queue: %w", err)
	}
	// Forced where we may; where not, the default does for less traffic.
	if raw, err := nf.Con.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
			}
		})
	}
	return &queue{nf: nf, bound: number, wake: make(chan struct{}, 1), failed: make(chan error, 1)}, nil
}

// bind has the kernel hand packets over from now on, until run ends. What is asked of the
// queue before that would be an error, which whoever asks next would be told of.
func (q *queue) bind(ctx context.Context) error {
	// The end of this context unbinds the queue, which drops what is in it.
	bound, unbind := context.WithCancel(context.WithoutCancel(ctx))
	err := q.nf.RegisterWithErrorFunc(bound, q.take, func(err error) int {
		if bound.Err() != nil {
			return 1
		}
		if errors.Is(err, unix.ENOBUFS) {
			return 0 // more packets than we could be told of: the kernel has dropped some
		}
		select {
		case q.failed <- err:
		default:
		}
		return 1
	})
	if err != nil {
		unbind()
		_ = q.nf.Close() // the error above is the cause
		return fmt.Errorf("packet queue: %w", err)
	}
	q.unbind = unbind
	return nil
}

// run holds packets until ctx ends, lets those go that it holds then, and closes the queue,
// which is bound.
func (q *queue) run(ctx context.Context) error {
	defer func() {
		q.letGo()
		q.unbind()
		_ = q.nf.Close()
		if q.again != nil {
			q.again.close()
		}
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait := q.release(time.Now())
		if wait <= fine {
			nap := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&nap, nil) // interrupted, it is shorter
			continue
		}
		timer.Reset(wait - fine/2)
		select {
		case <-timer.C:
		case <-q.wake:
		case err := <-q.failed:
			return fmt.Errorf("packet queue: %w", err)
		case <-ctx.Done():
		}
	}
	return nil
}

// take decides about a packet.
func (q *queue) take(a nfqueue.Attribute) int {
	if a.PacketID == nil {
		return 0
	}
	p := packet{id: *a.PacketID}
	switch {
	case a.CapLen != nil:
		p.size = int(*a.CapLen)
	case a.Payload != nil:
		p.size = len(*a.Payload)
	}
	now := time.Now()
	q.mu.Lock()
	p.from = sender(a)
	p.stages = q.before(p.from)
	if q.again != nil && a.Payload != nil {
		p.data = *a.Payload
	}
	first := q.advance(p, now, now)
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return 0
}

// sender is the hardware address that a packet came from, "" if it has none.
func sender(a nfqueue.Attribute) string {
	if a.HwAddr == nil {
		return ""
	}
	return string(*a.HwAddr)
}

// before returns the stages that a packet of a sender goes through.
func (q *queue) before(from string) []*stage {
	var stages []*stage
	for _, s := range q.stages {
		if s.from == "" || s.from == from {
			stages = append(stages, s)
		}
	}
	return stages
}

// advance takes a packet as far as it gets by now; at is when it came where it is. It
// says whether the packet waits before all others.
func (q *queue) advance(p packet, at, now time.Time) (first bool) {
	p.due = at
	for len(p.stages) > 0 && !p.due.After(now) {
		s := p.stages[0]
		fate := s.shaper.offer(p.due, p.size)
		s.counts.add(fate)
		if fate.Lost {
			q.drop(p)
			return first
		}
		p.stages, p.due = p.stages[1:], fate.Due
		if fate.Copies > 1 {
			defer func(p packet) {
				// Behind the first, and through the stages that are left by itself.
				p.second = true
				first = q.advance(p, p.due, now) || first
			}(p)
		}
	}
	// Nobody overtakes those that are due and not gone yet.
	if !p.due.After(now) && len(p.stages) == 0 && (len(q.waiting) == 0 || q.waiting[0].due.After(p.due)) {
		q.accept(p)
		return first
	}
	q.number++
	p.number = q.number
	heap.Push(&q.waiting, p)
	return q.waiting[0].number == p.number
}

// Add adds what another stage has counted.
func (c *Counts) Add(other Counts) {
	c.Packets += other.Packets
	c.Lost += other.Lost
	c.Full += other.Full
	c.Duplicated += other.Duplicated
}

// add counts a packet.
func (c *Counts) add(fate Fate) {
	c.Packets++
	switch {
	case fate.Full:
		c.Full++
	case fate.Lost:
		c.Lost++
	case fate.Copies > 1:
		c.Duplicated++
	}
}

// release lets packets go that are due and returns how long the next has to wait.
func (q *queue) release(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		if wait := q.waiting[0].due.Sub(now); wait > 0 {
			return wait
		}
		p := heap.Pop(&q.waiting).(packet)
		if len(p.stages) > 0 {
			q.advance(p, p.due, now)
			continue
		}
		q.accept(p)
	}
	return time.Hour
}

// accept lets a packet go.
func (q *queue) accept(p packet) {
	if p.second {
		_ = q.again.send(p.data, p.from) // what cannot be sent is a copy that is lost
		return
	}
	_ = q.nf.SetVerdict(p.id, nfqueue.NfAccept) // an error says that the queue is being closed
}

// drop loses a packet.
func (q *queue) drop(p packet) {
	if !p.second {
		_ = q.nf.SetVerdict(p.id, nfqueue.NfDrop) // likewise
	}
}

// letGo lets all packets go, in the order in which they would have gone.
func (q *queue) letGo() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		q.accept(heap.Pop(&q.waiting).(packet))
	}
}

// duplicates says whether packets are copied.
func (q *queue) duplicates() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.again != nil
}

// duplicate takes what copies are sent with, and has the kernel show whole packets from now on.
func (q *queue) duplicate(a *again) error {
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{
		Type: configParams, Data: append(binary.BigEndian.AppendUint32(nil, wholePacket), nfqueue.NfQnlCopyPacket),
	}})
	if err != nil {
		return err
	}
	header := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, byte(q.bound >> 8), byte(q.bound)}
	// No answer is asked for: the loop that takes packets would get it.
	if _, err := q.nf.Con.Send(netlink.Message{
		Header: netlink.Header{Type: configMessage, Flags: netlink.Request},
		Data:   append(header, attributes...),
	}); err != nil {
		return fmt.Errorf("packet queue: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.again = a
	return nil
}

// change takes other stages. Packets that are held stay in those that they are in.
func (q *queue) change(stages []*stage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stages = stages
}

// update gives a stage other conditions.
func (q *queue) update(s *stage, c Conditions) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.shaper.change(c)
}

func (q *queue) count(s *stage) Counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	return s.counts
}
