package server

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// Who has ended a connection, as server.closed says it: the server for a reason of its
// own or because it was told to, because of a limit, or because the client asked for it.
const (
	byNode   = "node"
	byLimit  = "limit"
	byClient = "client"
)

// How the server ends connections when it goes down; else with a close code.
const (
	endFIN   = "fin"
	endReset = "reset"
)

// farewellPatience is how long a server that goes down waits for its last words to be
// on their way. It is less than what an engine waits for the process.
const farewellPatience = 300 * time.Millisecond

// maxReason is how many bytes a close frame has room for beside the code (RFC 6455,
// section 5.5).
const maxReason = 123

// checkClose says why a close frame cannot hold a code and a reason (RFC 6455, section
// 7.4). 0 is a frame without a code.
func checkClose(code int, reason string) error {
	switch {
	case code == 0 && reason != "":
		return errors.New("a close frame without a code has no reason either")
	case code == 1004 || code == 1005 || code == 1006 || code == 1015:
		return fmt.Errorf("close code %d is never sent (RFC 6455, section 7.4.1): it stands for what an end has seen", code)
	case code != 0 && (code < 1000 || code > 1014 && code < 3000 || code > 4999):
		return fmt.Errorf("%d is no close code (RFC 6455, section 7.4): 1000 to 1014, 3000 to 4999", code)
	case len(reason) > maxReason || !utf8.ValidString(reason):
		return fmt.Errorf("the reason has %d bytes; it has to be UTF-8 of at most %d", len(reason), maxReason)
	}
	return nil
}

// end closes a connection with a close frame. It waits for the client's, but not for long;
// the reader goes on meanwhile.
func (s *service) end(c *connection, code int, reason, by string) {
	if !s.sayClose(c, code, reason, &farewell{code: code, by: by, detail: reason}) {
		return
	}
	timer := time.NewTimer(closePatience)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		c.close()
	}
}

// sayClose writes a close frame, once for a connection.
func (s *service) sayClose(c *connection, code int, reason string, f *farewell) bool {
	f.at = time.Now()
	if !c.said.CompareAndSwap(nil, f) {
		return false
	}
	frame := []byte{}
	if code != 0 {
		frame = websocket.FormatCloseMessage(code, reason)
	} else {
		f.code = websocket.CloseNoStatusReceived
	}
	if err := c.ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closePatience)); err != nil {
		c.close()
		return false
	}
	return true
}

// endTooLong closes with 1009 (RFC 6455, section 7.4.1). What the client goes on to
// send is thrown away until it has seen the close frame: if it were left unread, the kernel would
// answer with a RST, which may overtake the frame.
func (s *service) endTooLong(c *connection, long *tooLong) error {
	if s.sayClose(c, websocket.CloseMessageTooBig, "", &farewell{code: websocket.CloseMessageTooBig, by: byLimit, detail: long.Error()}) {
		c.stream.drain(closePatience)
	}
	return long
}

// closeAll closes the connections of these sessions, all if there are none, with a close
// frame and waits until they are closed. It returns how many there were.
func (s *service) closeAll(ids []string, code int, reason string) int {
	open := s.ledger.open(ids)
	var all sync.WaitGroup
	n := 0
	for _, c := range open {
		if !c.stream.hangs() { // what hangs says nothing
			n++
			all.Go(func() { s.end(c, code, reason, byNode) })
		}
	}
	all.Wait()
	return n
}

// goDown lets nobody in any more, tells the clients that the server goes down, if the lab
// file wants it, and waits until they have been told. Who comes back at once is refused: a
// connection that was let in now would end with the process, and nobody could say why.
func (s *service) goDown() {
	s.doors.close()
	how := s.settings.OnRestart
	if how == "" {
		return
	}
	open := s.ledger.open(nil)
	over := make(chan struct{})
	go func() {
		defer close(over)
		var all sync.WaitGroup
		for _, c := range open {
			all.Go(func() { s.leave(c, how) })
		}
		all.Wait()
	}()
	select {
	case <-over:
	case <-time.After(farewellPatience):
	}
}

// leave ends a connection as on_restart says.
func (s *service) leave(c *connection, how string) {
	switch how {
	case endFIN, endReset:
		if !c.said.CompareAndSwap(nil, &farewell{at: time.Now(), code: websocket.CloseAbnormalClosure, by: byNode, detail: how}) {
			return
		}
		if how == endReset {
			c.stream.reset()
		}
		c.close()
		select { // what has ended the connection is to be known before the process ends
		case <-c.recorded:
		case <-s.ctx.Done():
		}
	default:
		if code, err := strconv.Atoi(how); err == nil && !c.stream.hangs() {
			s.end(c, code, "", byNode)
		}
	}
}
