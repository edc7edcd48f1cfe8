package strategy

import (
	"bytes"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Peers is the other end of sessions that resume ([Resume]): it goes into a server. Clients that do not
// resume are served as well, each connection being a peer of its own. Heartbeats ([Heartbeat]) are answered. The
// zero Peers is usable; its fields are not to be changed once it serves.
type Peers struct {
	// Resume bounds what is kept for a client, and says how soon it is told what has arrived.
	Resume Resume
	// Keep is how long a session is kept that has no connection. The default is 5 min.
	Keep time.Duration
	// OnMessage is called with each message, one at a time for each connection. While it runs nothing else is read from
	// the connection. It may call Send. May be nil.
	OnMessage func(p *Peer, opcode int, data []byte)

	mu       sync.Mutex
	sessions map[string]*Peer
}

// Peer is a client of [Peers], over one connection after the other. Its methods are safe for concurrent use.
type Peer struct {
	name   string
	replay *Replay

	mu sync.Mutex
	// current is the newest connection, nil if there is none.
	current *peerLink
	// expiry forgets the peer once it has been away for long.
	expiry *time.Timer
}

// peerLink is one connection of a peer.
type peerLink struct {
	ws      *websocket.Conn
	writing sync.Mutex
	// number is what the peer's memory calls the connection.
	number uint64
	over   chan struct{}
	// delivering waits for who writes what is kept.
	delivering sync.WaitGroup
}

func (l *peerLink) write(opcode int, data []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.ws.WriteMessage(opcode, data)
}

// Name is what the session calls itself, "" for a client that does not resume.
func (p *Peer) Name() string { return p.name }

// Send sends a message. To a client that resumes it is kept until that has acknowledged it, and [ErrFull] is
// returned where too much is kept; to any other it is written at once, and [ErrNotConnected] is returned when the connection
// is over.
func (p *Peer) Send(opcode int, data []byte) error {
	if p.replay != nil {
		_, err := p.replay.Keep(opcode, bytes.Clone(data))
		return err
	}
	p.mu.Lock()
	l := p.current
	p.mu.Unlock()
	if l == nil {
		return ErrNotConnected
	}
	return l.write(opcode, data)
}

// Serve serves a connection until it ends, and closes it. The error is that of the last read.
func (s *Peers) Serve(ws *websocket.Conn) error {
	l := &peerLink{ws: ws, over: make(chan struct{})}
	p := &Peer{current: l}
	defer func() {
		close(l.over)
		_ = ws.Close() // it is over
		l.delivering.Wait()
		s.left(p, l)
	}()
	first := true // until there is a message of the program
	for {
		opcode, data, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		if opcode == websocket.TextMessage {
			if m, ok := ParseResumption(data); ok && (p.replay != nil || first && m.Type == typeResume) {
				if m.Type == typeResume && p.replay == nil {
					p = s.resume(l, m)
				} else if m.Type == typeReceived {
					p.replay.Acknowledged(m.Received)
				}
				continue
			}
			if IsHeartbeat(data) {
				if wantsAnswer(data) {
					_ = l.write(opcode, data) // the reader learns why it cannot
				}
				continue
			}
		}
		first = false
		if p.replay != nil && !p.replay.Count(l.number) {
			continue // it comes again over the newer connection
		}
		if s.OnMessage != nil {
			s.OnMessage(p, opcode, data)
		}
	}
}

// resume takes up a session, or begins it.
func (s *Peers) resume(l *peerLink, m Resumption) *Peer {
	s.mu.Lock()
	p, known := s.sessions[m.Session]
	if !known {
		if s.sessions == nil {
			s.sessions = make(map[string]*Peer)
		}
		p = &Peer{name: m.Session, replay: NewReplay(s.Resume)}
		s.sessions[m.Session] = p
	}
	p.mu.Lock()
	s.mu.Unlock()
	defer p.mu.Unlock()
	if p.expiry != nil {
		p.expiry.Stop()
		p.expiry = nil
	}
	if p.current != nil {
		_ = p.current.ws.Close() // the client has given it up
	}
	p.current = l
	var received uint64
	l.number, received = p.replay.Begin()
	after := m.Received
	if !known {
		after = 0
	}
	p.replay.Acknowledged(after)
	answer := Resumption{Type: typeResumed, Received: received, Fresh: !known}.Text()
	l.delivering.Go(func() {
		if l.write(websocket.TextMessage, answer) != nil {
			return // the reader learns why
		}
		p.replay.Deliver(l.over, after,
			func(k Kept) error { return l.write(k.Opcode, k.Data) },
			func(text []byte) error { return l.write(websocket.TextMessage, text) })
	})
	return p
}

// left notes the end of a connection.
func (s *Peers) left(p *Peer, l *peerLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != l {
		return
	}
	p.current = nil
	if p.replay == nil {
		return
	}
	keep := s.Keep
	fill(&keep, 5*time.Minute)
	p.expiry = time.AfterFunc(keep, func() { s.forget(p) })
}

// forget drops a session that is still away.
func (s *Peers) forget(p *Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil && s.sessions[p.name] == p {
		delete(s.sessions, p.name)
	}
}
