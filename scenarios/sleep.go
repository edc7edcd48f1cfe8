package scenarios

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// Sleep puts a machine to sleep and wakes it.
type Sleep struct {
	Node string        `json:"node" doc:"The node." required:"true"`
	For  time.Duration `json:"for" doc:"How long." required:"true"`
}

// String returns the step as in a file.
func (s *Sleep) String() string { return fmt.Sprintf("sleep: %s for %s", s.Node, s.For) }

func (s *Sleep) takes() time.Duration { return s.For }
func (s *Sleep) node() string         { return s.Node }
func (s *Sleep) short() any           { return nil }

func (s *Sleep) check(c *stepCheck) {
	c.positive("for", s.For)
	c.place("node", s.Node, "", anyKind)
}

// links are the node's places on its networks.
func (s *Sleep) links(p *topology.Plan) []topology.Link {
	var all []topology.Link
	if n, ok := p.Node(s.Node); ok {
		for _, i := range n.Interfaces {
			all = append(all, topology.Link{Network: i.Network, Node: s.Node})
		}
	}
	return all
}

// play turns the network off, and then stops the programs: nobody is there to do it
// later. Waking up goes the other way round, as it does in a laptop.
func (s *Sleep) play(ctx context.Context, p *branch) error {
	p.rec.note(trace.Event{Type: trace.Asleep, Detail: s.Node})
	var before []topology.Link
	for _, l := range s.links(p.plan) {
		now, err := p.linkNow(ctx, l)
		if err != nil {
			return err
		}
		before = append(before, now)
		l.Conditions = []byte(`{"down":true}`)
		if err := p.setLink(ctx, l); err != nil {
			return err
		}
	}
	if err := p.pause(ctx, s.Node); err != nil {
		return err
	}
	waited := p.wait(ctx, s.For)
	// A node must not stay asleep because the play was interrupted.
	waking, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreLimit)
	defer cancel()
	errs := []error{waited, p.resume(waking, s.Node)}
	for _, l := range before {
		errs = append(errs, p.setLink(waking, l))
	}
	p.rec.note(trace.Event{Type: trace.Awake, Detail: s.Node})
	return errors.Join(errs...)
}
