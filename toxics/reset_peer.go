package toxics

import (
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

type resetPeer struct {
	Timeout time.Duration `json:"timeout" doc:"How long after its next data the connection is reset; 0 is at once." min:"0s"`
}

func (a *resetPeer) Check() error { return negative("timeout", a.Timeout) }

func (a *resetPeer) toxic(s scale) toxiproxy.Toxic {
	return &resetPeerToxic{toxiproxy.ResetToxic{Timeout: s.milliseconds(a.Timeout)}}
}

// resetPeerToxic is Toxiproxy's reset_peer with the same contract, but for two things:
// its wait can be interrupted, which Toxiproxy's cannot, and the pair resets the
// connections when it closes the stream, so that a RST also reaches those that were
// open when it was added.
type resetPeerToxic struct {
	toxiproxy.ResetToxic
}

func (*resetPeerToxic) aborts() {}

// NewState keeps over an interruption that data have been dropped.
func (*resetPeerToxic) NewState() any { return new(resetPeerState) }

type resetPeerState struct{ due time.Time }

// Pipe drops data from the first on, and closes the stream when the time has come.
func (t *resetPeerToxic) Pipe(stub *toxiproxy.ToxicStub) {
	state := stub.State.(*resetPeerState)
	input := stub.Input
	var due <-chan time.Time
	if !state.due.IsZero() {
		due = time.After(time.Until(state.due))
	}
	for {
		select {
		case <-stub.Interrupt:
			return
		case <-due:
			stub.Close()
			return
		case <-input: // the end of the stream counts as data, as in Toxiproxy
			if due == nil {
				wait := time.Duration(t.Timeout) * time.Millisecond
				state.due = time.Now().Add(wait)
				due = time.After(wait)
			}
			input = nil
		}
	}
}

// Cleanup ends a connection whose data were dropped already: it could not go on.
func (t *resetPeerToxic) Cleanup(stub *toxiproxy.ToxicStub) {
	if !stub.State.(*resetPeerState).due.IsZero() {
		stub.Close()
	}
}
