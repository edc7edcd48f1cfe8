package toxics

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

// What ws_frames does with the frames that it is meant for.
const (
	framesDrop      = "drop"
	framesDelay     = "delay"
	framesDuplicate = "duplicate"
)

// frameLimit is the longest frame that is held: a longer one is neither delayed nor duplicated.
const frameLimit = 1 << 20

// opcodes of RFC 6455, section 5.2.
var opcodes = map[string]byte{
	"continuation": 0x0, "text": 0x1, "binary": 0x2, "close": 0x8, "ping": 0x9, "pong": 0xa,
}

type wsFrames struct {
	Opcodes []string      `json:"opcodes" doc:"The frames that are meant: continuation, text, binary, close, ping, pong." enum:"continuation,text,binary,close,ping,pong"`
	Action  string        `json:"action" doc:"What happens to them: they are lost, come later than those behind them, or come twice." enum:"drop,delay,duplicate"`
	Delay   time.Duration `json:"delay" doc:"How much later, for action delay." min:"0s"`
	Share   float64       `json:"share" doc:"The share of the frames that it happens to." min:"0" max:"1"`
	Seed    int64         `json:"seed" doc:"The same seed picks the same frames of the same connection (the first, the second ...) in every run; 0 picks others each time." min:"0"`
}

func (a *wsFrames) Check() error {
	var err error
	for _, name := range a.Opcodes {
		if _, ok := opcodes[name]; !ok {
			err = errors.Join(err, fmt.Errorf("opcodes: %q is not continuation, text, binary, close, ping or pong", name))
		}
	}
	if len(a.Opcodes) == 0 {
		err = errors.Join(err, errors.New("opcodes is empty: which frames are meant?"))
	}
	switch {
	case a.Action != framesDrop && a.Action != framesDelay && a.Action != framesDuplicate:
		err = errors.Join(err, fmt.Errorf("action is %q, not drop, delay or duplicate", a.Action))
	case a.Action == framesDelay && a.Delay <= 0:
		err = errors.Join(err, errors.New("action delay needs a delay"))
	}
	if !(a.Share >= 0 && a.Share <= 1) {
		err = errors.Join(err, fmt.Errorf("share is %v, not from 0 to 1", a.Share))
	}
	if a.Seed < 0 {
		err = errors.Join(err, fmt.Errorf("seed is %d, which is negative", a.Seed))
	}
	return errors.Join(err, negative("delay", a.Delay))
}

func (a *wsFrames) toxic(s scale) toxiproxy.Toxic {
	t := &wsFramesToxic{action: a.Action, delay: s.wall(a.Delay), share: a.Share, seed: seedOf(a.Seed)}
	for _, name := range a.Opcodes {
		t.meant[opcodes[name]] = true
	}
	return t
}

// wsFramesToxic drops, delays or duplicates whole frames of a cleartext WebSocket, so
// that pings, pongs or close frames alone are lost. What is no WebSocket, and TLS,
// passes. Frames that it delays are overtaken by those behind them, and are passed before
// the stream ends.
//
// On a connection that is open when it comes it begins with the next frame; when
// it is removed, the frame that it is dropping stays whole: it goes to the end.
type wsFramesToxic struct {
	meant  [16]bool
	action string
	delay  time.Duration
	share  float64
	seed   uint64
}

func (t *wsFramesToxic) seedOfChance() uint64 { return t.seed }

func (t *wsFramesToxic) newLinkState(number uint64, d stream.Direction, frames frameTracker) any {
	return &wsFramesState{link: number<<1 | uint64(d), frames: frames}
}

// wsFramesState is the place in one direction of a connection.
type wsFramesState struct {
	link   uint64
	frames frameTracker
	number uint64 // frames that are meant so far

	// The present frame is dropped, or collected, or passes.
	dropping  bool
	collected []byte

	held    []heldFrame
	retired bool
}

type heldFrame struct {
	due  time.Time
	data []byte
}

// chosen says whether a frame that is meant is one of the share.
func (t *wsFramesToxic) chosen(s *wsFramesState) bool {
	s.number++
	if t.share >= 1 {
		return true
	}
	return rand.New(rand.NewPCG(t.seed^s.link*0x9e3779b97f4a7c15, s.number)).Float64() < t.share
}

// Pipe acts on frames.
func (t *wsFramesToxic) Pipe(stub *toxiproxy.ToxicStub) {
	s := stub.State.(*wsFramesState)
	for {
		var due <-chan time.Time
		if len(s.held) > 0 && s.frames.atBoundary() {
			due = time.After(time.Until(s.held[0].due))
		}
		select {
		case <-stub.Interrupt:
			return
		case <-due:
			s.pass(stub, s.held[0].data)
			s.held = s.held[1:]
		case c := <-stub.Input:
			if c == nil {
				s.flush(stub)
				stub.Close()
				return
			}
			t.take(s, c, stub)
		}
	}
}

// take deals with a chunk. What passes of it stays together.
func (t *wsFramesToxic) take(s *wsFramesState, c *stream.StreamChunk, stub *toxiproxy.ToxicStub) {
	var through []byte
	for data := c.Data; len(data) > 0; {
		var p piece
		p, data = s.frames.cut(data)
		if p.first && s.retired && len(s.held) > 0 {
			for _, h := range s.held {
				through = append(through, h.data...)
			}
			s.held = nil
		}
		if p.framed && p.first {
			s.begin(t, p.opcode)
		}
		switch {
		case s.dropping && p.framed:
			s.dropping = !p.last
		case s.collected != nil && p.framed:
			s.collected = append(s.collected, p.data...)
			if p.last {
				through = s.complete(t, through)
			} else if len(s.collected) > frameLimit {
				through, s.collected = append(through, s.collected...), nil
			}
		default:
			through = append(through, p.data...)
		}
	}
	s.pass(stub, through)
}

// begin decides about a frame.
func (s *wsFramesState) begin(t *wsFramesToxic, opcode byte) {
	s.dropping, s.collected = false, nil
	if s.retired || !t.meant[opcode] || !t.chosen(s) {
		return
	}
	if t.action == framesDrop {
		s.dropping = true
	} else {
		s.collected = []byte{}
	}
}

// complete deals with a frame that was collected whole.
func (s *wsFramesState) complete(t *wsFramesToxic, through []byte) []byte {
	frame := s.collected
	s.collected = nil
	switch {
	case t.action == framesDuplicate:
		through = append(append(through, frame...), frame...)
	case s.retired:
		through = append(through, frame...)
	default:
		s.held = append(s.held, heldFrame{time.Now().Add(t.delay), frame})
	}
	return through
}

// flush passes what is held at the end of the stream.
func (s *wsFramesState) flush(stub *toxiproxy.ToxicStub) {
	s.pass(stub, s.collected)
	s.collected = nil
	for _, h := range s.held {
		s.pass(stub, h.data)
	}
	s.held = nil
}

func (*wsFramesState) pass(stub *toxiproxy.ToxicStub, data []byte) {
	if len(data) > 0 {
		stub.Output <- &stream.StreamChunk{Data: bytes.Clone(data), Timestamp: time.Now()}
	}
}

// retire prepares for the removal of the toxic, which is interrupted, and returns
// whether it has to stay in this link, passing everything from the next frame on.
func (*wsFramesToxic) retire(stub *toxiproxy.ToxicStub) (stays bool) {
	s := stub.State.(*wsFramesState)
	s.retired = true
	if s.dropping {
		return true
	}
	if s.collected != nil { // a frame that has not been passed: it goes first
		collected := s.collected
		s.collected = nil
		if len(s.held) == 0 {
			s.pass(stub, collected)
			return false
		}
		s.collected = collected
		return true
	}
	if len(s.held) > 0 && !s.frames.atBoundary() {
		return true
	}
	s.flush(stub)
	return false
}
