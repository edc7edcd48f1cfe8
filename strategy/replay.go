package strategy

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrFull says that a session that resumes keeps as much as it may ([Resume]): the peer has
// acknowledged none of it. Nothing was dropped, and the message was not taken.
var ErrFull = errors.New("too much is not acknowledged yet")

// Resume lets a session outlive its connections: both ends number the messages that they send, keep
// those that the other has not acknowledged, and send them again over the next connection, from the first
// one on that the other has not seen. It needs a peer that does the same: the server of a lab, or
// one that uses [Peers]. With any other the session goes on as if there were no Resume.
//
// What passes beside the messages is text in JSON:
//
//	{"type":"resume","session":ID,"received":N}   first on each connection, by the client
//	{"type":"resumed","received":N}               the answer; with "fresh":true the server knows nothing of the session
//	{"type":"received","received":N}              by either, now and then
//
// N counts the messages of the session that have arrived. They need no number themselves: a
// connection delivers them in their order, as in XMPP's stream management (XEP-0198), which this follows. Heartbeats
// are not counted. A server that was restarted has forgotten what it had: it gets everything again that it has
// not acknowledged, and may get a message twice.
type Resume struct {
	// Messages and Bytes are how much is kept that the peer has not acknowledged. Beyond them
	// [Session.Send] returns [ErrFull]. The defaults are 1000 and 1 MiB.
	Messages int `json:"messages,omitempty" doc:"How many messages are kept that are not acknowledged; more are refused; default 1000." min:"1" max:"1000000"`
	Bytes    int `json:"bytes,omitempty" doc:"How many bytes of messages are kept that are not acknowledged; more are refused; default 1048576." min:"1" max:"1000000000"`
	// Acknowledge is how long what has arrived may go without an acknowledgement. The default is 1 s.
	Acknowledge time.Duration `json:"acknowledge,omitempty" doc:"How long what has arrived may go unacknowledged; default 1s." min:"1ms" max:"24h"`
	// Patience is how long the peer may take to answer that it resumes. The default is 5 s.
	Patience time.Duration `json:"patience,omitempty" doc:"How long the peer may take to say that it resumes; then the session goes on without; default 5s." min:"1ms" max:"24h"`
}

// acknowledgeEvery is after how many messages an acknowledgement does not wait any longer.
const acknowledgeEvery = 16

// withDefaults fills in what was left zero.
func (r Resume) withDefaults() Resume {
	fill(&r.Messages, 1000)
	fill(&r.Bytes, 1<<20)
	fill(&r.Acknowledge, time.Second)
	fill(&r.Patience, 5*time.Second)
	return r
}

// Kept is a message that was sent and is not acknowledged.
type Kept struct {
	// Number counts the messages of the session, from 1.
	Number uint64
	Opcode int
	Data   []byte
}

// Replay is what one end of a session that resumes has to remember. It is safe for concurrent use.
type Replay struct {
	settings Resume
	// more is written to, without waiting, when there is something new to be sent, due when the peer
	// should be told what has arrived.
	more, due chan struct{}

	mu   sync.Mutex
	kept []Kept
	size int
	// sent is the number of the last message that was sent, written of the last that was written to a
	// connection.
	sent, written uint64
	// received counts messages of the peer, told is how many of them it was told of.
	received, told uint64
	// connection counts the connections.
	connection uint64
}

// NewReplay returns the memory of a session that has begun neither to send nor to receive.
func NewReplay(r Resume) *Replay {
	return &Replay{settings: r.withDefaults(), more: make(chan struct{}, 1), due: make(chan struct{}, 1)}
}

// Keep takes a message into the session and returns its number, or [ErrFull]. Who is at [Replay.Deliver] sends
// it. The data must not be changed any more.
func (r *Replay) Keep(opcode int, data []byte) (number uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// One message is always taken, however long it is.
	if len(r.kept) > 0 && (len(r.kept) >= r.settings.Messages || r.size+len(data) > r.settings.Bytes) {
		return 0, ErrFull
	}
	r.sent++
	r.kept = append(r.kept, Kept{r.sent, opcode, data})
	r.size += len(data)
	notify(r.more)
	return r.sent, nil
}

// Full says whether Keep would refuse a message of so many bytes.
func (r *Replay) Full(size int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.kept) > 0 && (len(r.kept) >= r.settings.Messages || r.size+size > r.settings.Bytes)
}

// Begin notes a new connection and returns its number, and how many messages have arrived. No message of an
// older connection counts any more.
func (r *Replay) Begin() (connection, received uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connection++
	r.told = r.received
	return r.connection, r.received
}

// Forget notes that the peer knows nothing of the session: what it sends from now on is counted from 1.
func (r *Replay) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received, r.told = 0, 0
}

// Count notes a message that arrived over a connection. It reports false if a newer one has
// taken that one's place: the message is going to come again, and must not be used.
func (r *Replay) Count(connection uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if connection != r.connection {
		return false
	}
	r.received++
	if r.received-r.told >= acknowledgeEvery {
		notify(r.due)
	}
	return true
}

// tell returns how many messages have arrived, if the peer was not told yet.
func (r *Replay) tell() (received uint64, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	due = r.received != r.told
	r.told = r.received
	return r.received, due
}

// Acknowledged notes that so many messages have arrived at the peer. It returns how many that had
// been written to a connection have not.
func (r *Replay) Acknowledged(received uint64) (missing int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.kept) && r.kept[n].Number <= received {
		r.size -= len(r.kept[n].Data)
		n++
	}
	clear(r.kept[:n]) // for the garbage collector
	r.kept = r.kept[n:]
	for _, k := range r.kept {
		if k.Number > r.written {
			break
		}
		missing++
	}
	return missing
}

// next returns the first message after a number, and notes that it is written.
func (r *Replay) next(after uint64) (k Kept, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) == 0 || r.kept[len(r.kept)-1].Number <= after {
		return Kept{}, false
	}
	// Numbers have no gaps.
	first := r.kept[0].Number
	k = r.kept[max(after+1, first)-first]
	r.written = max(r.written, k.Number)
	return k, true
}

// Deliver hands the messages after a number to write, in their order, and what is kept from then on; and a
// message that tells the peer what has arrived to tell, when it is due. It returns when done is closed or one of the two
// returns an error, which is no error of the session. One connection at a time should be delivered to.
func (r *Replay) Deliver(done <-chan struct{}, after uint64, write func(Kept) error, tell func(text []byte) error) {
	defer notify(r.more) // for the next connection
	due := time.NewTicker(r.settings.Acknowledge)
	defer due.Stop()
	acknowledge := func() error {
		if received, due := r.tell(); due {
			return tell(Resumption{Type: typeReceived, Received: received}.Text())
		}
		return nil
	}
	for {
		var err error
		k, ok := r.next(after)
		if ok {
			after = k.Number
			err = write(k)
			select {
			case <-done:
				return
			case <-r.due:
				err = errors.Join(err, acknowledge())
			default:
			}
		} else {
			select {
			case <-done:
				return
			case <-r.more:
			case <-r.due:
				err = acknowledge()
			case <-due.C:
				err = acknowledge()
			}
		}
		if err != nil {
			return
		}
	}
}

// abandon gives up what was written to a connection and not acknowledged, for a peer that does not
// resume. It returns how many messages those are, and the number of the last.
func (r *Replay) abandon() (lost int, last uint64) {
	r.mu.Lock()
	written := r.written
	r.mu.Unlock()
	lost = r.Acknowledged(0)
	r.Acknowledged(written)
	return lost, written
}

// The types of the messages by which sessions are resumed.
const (
	typeResume   = "resume"
	typeResumed  = "resumed"
	typeReceived = "received"
)

// Resumption is a message by which a session is resumed; see [Resume].
type Resumption struct {
	// Type is "resume", "resumed" or "received".
	Type string `json:"type"`
	// Session is the name of the session, of a "resume".
	Session string `json:"session,omitempty"`
	// Received counts the messages that have arrived.
	Received uint64 `json:"received"`
	// Fresh says that nothing is known of the session, of a "resumed".
	Fresh bool `json:"fresh,omitempty"`
}

// longestName bounds the name of a session.
const longestName = 200

// ParseResumption returns the message that a text frame holds; ok is false for any other.
func ParseResumption(text []byte) (m Resumption, ok bool) {
	if len(text) == 0 || text[0] != '{' || json.Unmarshal(text, &m) != nil {
		return Resumption{}, false
	}
	switch m.Type {
	case typeResume:
		return m, m.Session != "" && len(m.Session) <= longestName
	case typeResumed, typeReceived:
		return m, true
	}
	return Resumption{}, false
}

// IsHeartbeat says whether a text frame is a heartbeat or its answer, of either end: those are no
// messages of the session.
func IsHeartbeat(text []byte) bool {
	var h heartbeat
	if len(text) == 0 || text[0] != '{' || json.Unmarshal(text, &h) != nil {
		return false
	}
	return h.Type == MeansHeartbeat || h.Type == typeBeat || h.Type == typeBeatAck
}

// Text returns the message as it is sent.
func (m Resumption) Text() []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprint("a struct of texts and numbers always encodes: ", err))
	}
	return text
}
