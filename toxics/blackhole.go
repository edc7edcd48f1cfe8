package toxics

import (
	"fmt"

	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

// What blackhole does with what was sent into it.
const (
	healLose    = "lose"
	healDeliver = "deliver"
)

type blackhole struct {
	OnHeal string `json:"on_heal" doc:"What becomes of data that were sent meanwhile when the toxic is removed: they are lost for good (TLS ends when it misses bytes, cleartext messages are missing), or are delivered then, as TCP does after a cable was pulled and plugged in again." enum:"lose,deliver"`
}

func (a *blackhole) Check() error {
	if a.OnHeal != healLose && a.OnHeal != healDeliver {
		return fmt.Errorf("on_heal is %q, not lose or deliver", a.OnHeal)
	}
	return nil
}

func (a *blackhole) toxic(scale) toxiproxy.Toxic { return &blackholeToxic{lose: a.OnHeal == healLose} }

// blackholeToxic lets nothing through in either direction: no data, no FIN, no RST.
// Unlike Toxiproxy's timeout it heals: when it is removed the connection goes on, and the
// end of a stream that came meanwhile is passed on then.
//
// With deliver it takes nothing: data wait in the sockets' buffers, so that a sender
// sees its window close, as behind a cable that was pulled.
type blackholeToxic struct{ lose bool }

func (t *blackholeToxic) newState(h handle) pairState {
	h.fired()
	h.blackHole()
	return blackholeState{h}
}

// Pipe swallows or holds up everything.
func (t *blackholeToxic) Pipe(stub *toxiproxy.ToxicStub) {
	input := stub.Input
	if !t.lose {
		input = nil
	}
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-input:
			if c == nil { // the end has to wait, too
				input = nil
			}
		}
	}
}

type blackholeState struct{ handle handle }

func (blackholeState) update(toxiproxy.Toxic) {}

func (s blackholeState) stop() bool {
	s.handle.heal()
	return false
}
