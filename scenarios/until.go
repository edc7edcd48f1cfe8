package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// Condition is an event that is waited for. What the step before the one that waits has
// caused counts, however soon it came.
type Condition struct {
	Event string `json:"event" doc:"The event, as wslab logs shows it." required:"true" enum:"open,close,dial.start,dial.failed,reconnect.wait,reconnect.gave-up,keepalive.sent,keepalive.answered,keepalive.timeout,keepalive.late,msg.acked,push.received,server.accepted,server.refused,server.received,server.closed,server.half-open,relay.open,relay.closed,relay.refused,nat.created,nat.expired,nat.evicted,firewall.tracked,firewall.expired,firewall.inspected,packet.blocked,names.failed,node.ready"`
	Of    string `json:"of" doc:"The strategy, or the node, whose event it is; anybody's if left out."`
	Count int    `json:"count" doc:"How often it has to happen; 1 if left out." min:"1" max:"1000000"`
}

// String returns the condition in words.
func (c *Condition) String() string {
	text := c.Event
	if c.Of != "" {
		text += " of " + c.Of
	}
	if c.Count > 1 {
		text += fmt.Sprintf(", %d times", c.Count)
	}
	return text
}

// orUntil is what a step adds to its text for a condition that it may not have.
func (c *Condition) orUntil() string {
	if c == nil {
		return ""
	}
	return " or until " + c.String()
}

// condition checks one, which may be nil, under a key of the step.
func (c *stepCheck) condition(key string, cond *Condition) {
	if cond == nil || cond.Of == "" || slices.Contains(c.clients, cond.Of) {
		return
	}
	if _, ok := c.lab.Node(cond.Of); ok {
		return
	}
	at := c.value
	if key != "" {
		at = c.at(key)
	}
	if of := at.Get("of"); of != nil {
		at = of
	}
	at.Problemf(topology.Suggest(cond.Of, slices.Concat(c.clients, nodesOf(c.lab, anyKind))), "%q is neither a strategy that the scenario plays nor a node of lab %s", cond.Of, c.lab.Name)
}

// Until waits for an event.
type Until struct {
	Condition
	Within time.Duration `json:"within" doc:"How long at most; the play goes on then all the same." required:"true"`
}

// String returns the step as in a file.
func (s *Until) String() string {
	return fmt.Sprintf("until: %s within %s", &s.Condition, s.Within)
}

func (s *Until) takes() time.Duration { return s.Within }
func (s *Until) node() string         { return "" }
func (s *Until) short() any           { return nil }

func (s *Until) check(c *stepCheck) {
	c.positive("within", s.Within)
	c.condition("", &s.Condition)
}

func (s *Until) play(ctx context.Context, p *branch) error {
	if err := p.waitUntil(ctx, s.Within, &s.Condition); err != nil {
		return err
	}
	if !p.happened(p.rec.snapshot()[p.since:], &s.Condition) {
		p.missed = fmt.Sprintf("%s did not happen within %s", &s.Condition, s.Within)
		p.o.Progress("%s: %s", p.play.Scenario.Name, p.missed)
	}
	return nil
}

// errEnough says that the time of a step is over.
var errEnough = errors.New("the time of the step is over")

// waitUntil waits in lab time, or until a condition holds, which may be nil.
func (p *branch) waitUntil(ctx context.Context, d time.Duration, c *Condition) error {
	if c == nil {
		return p.wait(ctx, d)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, p.wall(d), errEnough)
	defer cancel()
	err := p.rec.until(bounded, func(events []trace.Event) bool { return p.happened(events[p.since:], c) })
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// happened says whether events hold what a condition asks for.
func (p *player) happened(events []trace.Event, c *Condition) bool {
	var sessions []string
	for _, s := range p.sessions {
		if s.strategy == c.Of {
			sessions = append(sessions, s.id)
		}
	}
	left := max(1, c.Count)
	for _, e := range events {
		of := c.Of == "" || e.Node == c.Of || slices.Contains(sessions, e.Session)
		if string(e.Type) == c.Event && of {
			left--
		}
		if left == 0 {
			return true
		}
	}
	return false
}
