package netns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// readyWithin bounds how long nodes may take to say that they are ready; a
// thousand of them on a small machine take seconds.
const readyWithin = 2 * time.Minute

// atOnce bounds how many machines are being made at a time. What is slow about it,
// a namespace and a process, the kernel does on one processor each.
const atOnce = 4

// apply makes the lab equal to the plan: what differs is replaced, what is not
// in the plan goes. Nodes are started together. When it fails or ctx ends, what it
// has made is gone again.
func (s *supervisor) apply(ctx context.Context, plan *topology.Plan, progress engine.Progress) (changes engine.Changes, err error) {
	if plan == nil {
		return changes, errors.New("no plan")
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	d := s.difference(plan)
	d.Changes.Say(plan.Lab, progress)
	s.dropStale(d)
	before := s.setPlan(plan)
	made, err := s.addNetworks(plan)
	var missing []*machine
	if err == nil {
		missing, err = s.addNodes(ctx, plan, progress)
	}
	if err == nil {
		return d.Changes, nil
	}
	progress.Say("lab %s: removing what was made", plan.Lab)
	for _, m := range missing {
		s.drop(m)
	}
	for _, network := range made {
		s.dropNetwork(network)
	}
	s.setPlan(before)
	return engine.Changes{}, err
}

// setPlan returns the one before.
func (s *supervisor) setPlan(p *topology.Plan) *topology.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.plan
	s.plan = p
	return before
}

// difference compares what is there with the plan. The names of the parts are
// those of the maps, in order.
func (s *supervisor) difference(plan *topology.Plan) *difference {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &difference{networks: sortedKeys(s.bridges), nodes: sortedKeys(s.machines)}
	var networks, nodes []engine.Part
	for _, name := range d.networks {
		networks = append(networks, engine.Part{Name: name, Digest: s.bridges[name].digest, Usable: true})
	}
	for _, name := range d.nodes {
		m := s.machines[name]
		nodes = append(nodes, engine.Part{Name: name, Digest: m.digest, Usable: !m.hasEnded()})
	}
	d.Difference = engine.Compare(plan, networks, nodes)
	return d
}

// difference names the parts that were compared.
type difference struct {
	*engine.Difference
	networks, nodes []string
}

// dropStale removes what cannot stay.
func (s *supervisor) dropStale(d *difference) {
	for _, i := range d.StaleNetworks {
		s.dropNetwork(d.networks[i])
	}
	for _, i := range d.StaleNodes {
		if m, ok := s.machine(d.nodes[i]); ok {
			s.drop(m)
		}
	}
}

// dropNetwork removes a bridge.
func (s *supervisor) dropNetwork(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.links.LinkDel(s.bridges[name].Bridge) // what is left of it goes with the lab
	delete(s.bridges, name)
}

// addNodes starts the nodes that are missing, and lets those that were paused go on.
func (s *supervisor) addNodes(ctx context.Context, plan *topology.Plan, progress engine.Progress) (missing []*machine, err error) {
	for _, spec := range plan.Nodes {
		m, ok := s.machine(spec.Name)
		switch {
		case !ok:
			missing = append(missing, newMachine(spec))
		case m.isPaused():
			progress.Say("node %s was paused: it goes on", spec.Name)
			if err := m.signal(unix.SIGCONT); err != nil {
				return missing, err
			}
		}
	}
	return missing, s.startAll(ctx, missing)
}

// startAll starts machines side by side and waits until each is ready.
func (s *supervisor) startAll(ctx context.Context, machines []*machine) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin,
		fmt.Errorf("not ready within %s", readyWithin))
	defer cancel()
	all := ctx
	group, ctx := errgroup.WithContext(all)
	starting := make(chan struct{}, atOnce)
	for _, m := range machines {
		starting <- struct{}{}
		if ctx.Err() != nil {
			break // one has failed, or nobody waits any more
		}
		group.Go(func() error {
			err := s.start(m)
			<-starting
			if err != nil {
				return err
			}
			return m.awaitReady(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(all) // it may have ended before the last was begun
}

// start makes a machine's namespace, plugs it into its networks and runs its node.
func (s *supervisor) start(m *machine) error {
	_, err := newNamespace(m.spec.Needs.Sysctls, func(n namespace) error {
		m.ns = n
		s.mu.Lock()
		s.machines[m.spec.Name] = m
		s.mu.Unlock()
		for k, i := range m.spec.Interfaces {
			s.mu.Lock()
			b, ok := s.bridges[i.Network]
			s.counter++
			port := fmt.Sprintf("v%d", s.counter)
			s.mu.Unlock()
			if !ok {
				return fmt.Errorf("no network %q", i.Network)
			}
			if err := plug(s.links, n, b.Bridge, port, interfaceName(k), i); err != nil {
				return err
			}
			m.ports = append(m.ports, port)
		}
		if err := address(m.spec.Interfaces); err != nil {
			return err
		}
		return m.start()
	})
	if err != nil {
		m.ns = namespace{} // newNamespace has closed it
		return fmt.Errorf("node %s: %w", m.spec.Name, err)
	}
	return nil
}

// drop takes a machine away with its links.
func (s *supervisor) drop(m *machine) {
	for _, port := range m.ports {
		unplug(s.links, port)
	}
	m.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.machines[m.spec.Name] == m {
		delete(s.machines, m.spec.Name)
	}
}

func (m *machine) hasEnded() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// isPaused says whether the node's processes were stopped.
func (m *machine) isPaused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.paused
}

// addNetworks makes the bridges that are missing and returns the names of those that it made.
func (s *supervisor) addNetworks(plan *topology.Plan) (made []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range plan.Networks {
		if _, ok := s.bridges[n.Name]; ok {
			continue
		}
		s.counter++
		b, err := addBridge(s.links, s.counter)
		if err != nil {
			return made, fmt.Errorf("network %s: %w", n.Name, err)
		}
		s.bridges[n.Name] = &bridge{b, n.Digest()}
		made = append(made, n.Name)
	}
	return made, nil
}
