package netns

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// readyWithin bounds how long nodes may take to say that they are ready; a
// thousand of them on a small machine take seconds.
const readyWithin = 2 * time.Minute

// apply makes the lab equal to the plan: what differs is replaced, what is not
// in the plan goes. Nodes are started together.
func (s *supervisor) apply(plan *topology.Plan, progress engine.Progress) (changes engine.Changes, err error) {
	if plan == nil {
		return changes, errors.New("no plan")
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	changed := s.dropNetworks(plan, &changes)
	replaced := s.dropNodes(plan, changed, &changes)
	if err := s.addNetworks(plan, &changes); err != nil {
		return changes, err
	}
	var missing []*machine
	for _, spec := range plan.Nodes {
		if _, ok := s.machine(spec.Name); ok {
			continue
		}
		m := newMachine(spec)
		missing = append(missing, m)
		if replaced[spec.Name] {
			changes.Replaced = append(changes.Replaced, spec.Name)
		} else {
			changes.Created = append(changes.Created, spec.Name)
		}
	}
	s.mu.Lock()
	s.plan = plan
	s.mu.Unlock()
	if len(missing) == 0 {
		return changes, nil
	}
	progress("starting %d nodes", len(missing))
	if err := s.startAll(missing); err != nil {
		for _, m := range missing {
			s.drop(m)
		}
		return changes, err
	}
	return changes, nil
}

// startAll starts machines side by side and waits until each is ready.
func (s *supervisor) startAll(machines []*machine) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), readyWithin,
		fmt.Errorf("not ready within %s", readyWithin))
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(machines))
	for i, m := range machines {
		if errs[i] = s.start(m); errs[i] != nil {
			break
		}
		wg.Go(func() { errs[i] = m.awaitReady(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
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

// dropNetworks removes the networks that differ or are not in the plan, and
// returns the names of those that differ.
func (s *supervisor) dropNetworks(plan *topology.Plan, changes *engine.Changes) map[string]bool {
	wanted := make(map[string]string)
	for _, n := range plan.Networks {
		wanted[n.Name] = n.Digest()
	}
	changed := make(map[string]bool)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range sortedKeys(s.bridges) {
		b := s.bridges[name]
		digest, keep := wanted[name]
		if keep && digest == b.digest {
			continue
		}
		_ = s.links.LinkDel(b.Bridge) // what is left of it goes with the lab
		delete(s.bridges, name)
		if keep {
			changed[name] = true
			changes.Replaced = append(changes.Replaced, "network "+name)
		} else {
			changes.Removed = append(changes.Removed, "network "+name)
		}
	}
	return changed
}

// dropNodes removes the nodes that differ, are on a network that does, have
// ended, or are not in the plan, and returns those that are to come back.
func (s *supervisor) dropNodes(plan *topology.Plan, changedNetworks map[string]bool, changes *engine.Changes) map[string]bool {
	wanted := make(map[string]*topology.NodeSpec)
	for i := range plan.Nodes {
		wanted[plan.Nodes[i].Name] = &plan.Nodes[i]
	}
	s.mu.Lock()
	var gone []*machine
	replaced := make(map[string]bool)
	for _, name := range sortedKeys(s.machines) {
		m := s.machines[name]
		spec, keep := wanted[name]
		if keep && spec.Digest() == m.digest && !m.hasEnded() && !onAny(spec, changedNetworks) {
			continue
		}
		gone = append(gone, m)
		if keep {
			replaced[name] = true
		} else {
			changes.Removed = append(changes.Removed, name)
		}
	}
	s.mu.Unlock()
	for _, m := range gone {
		s.drop(m)
	}
	return replaced
}

func onAny(spec *topology.NodeSpec, networks map[string]bool) bool {
	for _, i := range spec.Interfaces {
		if networks[i.Network] {
			return true
		}
	}
	return false
}

func (m *machine) hasEnded() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// addNetworks makes the bridges that are missing.
func (s *supervisor) addNetworks(plan *topology.Plan, changes *engine.Changes) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range plan.Networks {
		if _, ok := s.bridges[n.Name]; ok {
			continue
		}
		s.counter++
		b, err := addBridge(s.links, s.counter)
		if err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
		s.bridges[n.Name] = &bridge{b, n.Digest()}
		if !containsReplaced(changes, n.Name) {
			changes.Created = append(changes.Created, "network "+n.Name)
		}
	}
	return nil
}

func containsReplaced(c *engine.Changes, network string) bool {
	for _, r := range c.Replaced {
		if r == "network "+network {
			return true
		}
	}
	return false
}
