// Package control is the conversation between the host and a node: lines of JSON
// over the node's standard input and output, whatever engine carries them.
//
// A node writes one [message] a line: an event, or the reply to a request. The
// host writes one [request] a line. Several hosts may be attached to one node at
// once: every host sees every line and picks the replies to its own requests.
package control

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// request is what a host asks of a node.
type request struct {
	ID     string          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

// message is what a node says.
type message struct {
	Event  *trace.Event    `json:"event,omitempty"`
	ID     string          `json:"id,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// RemoteError is an error that a node answered with.
type RemoteError struct {
	Node, Method, Message string
}

// Error names the node and what it was asked.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("node %s: %s: %s", e.Node, e.Method, e.Message)
}

// Unknown says whether the node does not know the method.
func (e *RemoteError) Unknown() bool { return e.Message == unknownMethod+e.Method }

const unknownMethod = "does not know how to "

// ErrClosed says that the control stream ended: the node has exited, or Close was called.
var ErrClosed = errors.New("control stream closed")

// Conn is the host's end of a control stream. It is safe for concurrent use.
type Conn struct {
	node    string
	stream  io.ReadWriteCloser
	prefix  string
	counter atomic.Int64
	onEvent func(trace.Event)

	writing sync.Mutex
	mu      sync.Mutex
	waiting map[string]chan message
	done    chan struct{}
}

// NewConn starts reading the stream of a node. onEvent is called for each event,
// in order, from one goroutine; it may be nil. Close ends it.
func NewConn(node string, stream io.ReadWriteCloser, onEvent func(trace.Event)) *Conn {
	c := &Conn{
		node:    node,
		stream:  stream,
		prefix:  rand.Text()[:8],
		onEvent: onEvent,
		waiting: make(map[string]chan message),
		done:    make(chan struct{}),
	}
	go c.read()
	return c
}

func (c *Conn) read() {
	defer close(c.done)
	ForEachLine(c.stream, func(line []byte) {
		var m message
		if json.Unmarshal(line, &m) != nil {
			return // not ours: a stray print must not end the conversation
		}
		if m.Event != nil {
			if c.onEvent != nil {
				c.onEvent(*m.Event)
			}
			return
		}
		c.mu.Lock()
		reply, ok := c.waiting[m.ID]
		delete(c.waiting, m.ID)
		c.mu.Unlock()
		if ok {
			reply <- m
		}
	})
}

// Call asks the node to do something and waits for its answer. result may be nil.
func (c *Conn) Call(ctx context.Context, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	r := request{ID: c.prefix + strconv.FormatInt(c.counter.Add(1), 10), Method: method, Params: raw}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	reply := make(chan message, 1)
	c.mu.Lock()
	c.waiting[r.ID] = reply
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, r.ID)
		c.mu.Unlock()
	}()
	c.writing.Lock()
	_, err = c.stream.Write(append(line, '\n'))
	c.writing.Unlock()
	if err != nil {
		return fmt.Errorf("node %s: %s: %w", c.node, method, err)
	}
	select {
	case m := <-reply:
		if m.Error != "" {
			return &RemoteError{Node: c.node, Method: method, Message: m.Error}
		}
		if result == nil || m.Result == nil {
			return nil
		}
		if err := json.Unmarshal(m.Result, result); err != nil {
			return fmt.Errorf("node %s: %s: %w", c.node, method, err)
		}
		return nil
	case <-c.done:
		return fmt.Errorf("node %s: %s: %w", c.node, method, ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("node %s: %s: %w", c.node, method, context.Cause(ctx))
	}
}

// Done is closed when the stream has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the conversation and waits for the reader to be gone. The node goes on.
func (c *Conn) Close() error {
	err := c.stream.Close()
	<-c.done
	return err
}

// Handler answers one request. A nil result is answered with nothing but success.
// A result of type [Then] is answered first and acted on afterwards.
type Handler func(ctx context.Context, params json.RawMessage) (any, error)

// Then is a result with something to do once the answer has been written, such as
// a restart, after which nobody could answer any more.
type Then struct {
	Result any
	Do     func()
}

// Server is the node's end.
type Server struct {
	mu        sync.Mutex
	out       gatherer
	lines     *json.Encoder // into out
	handlers  map[string]Handler
	answering int
	answered  sync.Cond // answering has changed; its lock is mu
}

// NewServer returns a server that writes to out.
func NewServer(out io.Writer) *Server {
	s := &Server{out: gatherer{out: out}, handlers: make(map[string]Handler)}
	s.lines = json.NewEncoder(&s.out)
	s.answered.L = &s.mu
	return s
}

// Record writes an event: at once, or with others within a few milliseconds where many follow one
// another, see [Server.Flush]. A host that has gone is no reason to fail.
func (s *Server) Record(e trace.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.lines.Encode(message{Event: &e}) // an event can be encoded
	if s.out.due(s.Flush) {
		s.out.send()
	}
}

// Flush writes what was recorded and is not written yet. A process that ends calls it last.
func (s *Server) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.send()
}

// reply writes an answer, behind what was recorded before it.
func (s *Server) reply(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.lines.Encode(m) // of strings, and of what is JSON already
	s.out.send()
}

// Handle registers what answers a method. A later registration replaces an earlier one.
func (s *Server) Handle(method string, h Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[method] = h
}

// Serve answers requests, each in a goroutine of its own, until in ends, and
// waits for those under way.
func (s *Server) Serve(ctx context.Context, in io.Reader) {
	var running sync.WaitGroup
	defer running.Wait()
	ForEachLine(in, func(line []byte) {
		var r request
		if json.Unmarshal(line, &r) != nil || r.ID == "" {
			return
		}
		s.count(1)
		running.Go(func() {
			m, do := s.answer(ctx, r)
			s.reply(m)
			s.count(-1)
			if do != nil {
				do()
			}
		})
	})
}

func (s *Server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answering += n
	s.answered.Broadcast()
}

// Seal waits until the requests under way have been answered, no longer than
// patience, and lets no line be written from then on: who writes waits for ever. It
// is for a process that is about to be replaced.
func (s *Server) Seal(patience time.Duration) {
	enough := false
	defer time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		enough = true
		s.answered.Broadcast()
	}).Stop()
	s.mu.Lock()
	for s.answering > 0 && !enough {
		s.answered.Wait()
	}
	s.out.send()
}

// answer returns the answer, and what is to be done once it is written.
func (s *Server) answer(ctx context.Context, r request) (message, func()) {
	s.mu.Lock()
	h, ok := s.handlers[r.Method]
	s.mu.Unlock()
	if !ok {
		return message{ID: r.ID, Error: unknownMethod + r.Method}, nil
	}
	result, err := h(ctx, r.Params)
	if err != nil {
		return message{ID: r.ID, Error: err.Error()}, nil
	}
	var do func()
	if then, ok := result.(Then); ok {
		result, do = then.Result, then.Do
	}
	m := message{ID: r.ID}
	if result != nil {
		if m.Result, err = json.Marshal(result); err != nil {
			return message{ID: r.ID, Error: err.Error()}, nil
		}
	}
	return m, do
}

// ForEachLine calls f with each line of r, however long, until r ends.
func ForEachLine(r io.Reader, f func(line []byte)) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			f(line)
		}
		if err != nil {
			return
		}
	}
}

// ParseEvent returns the event that a line of a node's output holds, if it holds one.
func ParseEvent(line []byte) (trace.Event, bool) {
	var m message
	if json.Unmarshal(line, &m) != nil || m.Event == nil {
		return trace.Event{}, false
	}
	return *m.Event, true
}
