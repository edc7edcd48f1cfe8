package nat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/intercept"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/node/tracking"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// translator is a running NAT.
type translator struct {
	env      *node.Env
	settings Settings
	outside  string // interface
	rules    rules
	timeout  time.Duration
	table    *tracking.Table
	taker    *intercept.Interceptor
	changing sync.Mutex // the outside address
}

func run(ctx context.Context, env *node.Env) error {
	t := &translator{env: env}
	if err := env.Settings(&t.settings); err != nil {
		return err
	}
	names, err := node.InterfaceNames(env.Spec.Interfaces)
	if err != nil {
		return err
	}
	t.outside = names[len(names)-1]
	t.timeout = max(time.Second, env.Wall(t.settings.IdleTimeout).Round(time.Second))
	if err := t.setSysctls(); err != nil {
		return err
	}
	if t.rules, err = t.newRules(); err != nil {
		return err
	}
	t.table, err = tracking.New(env, tracking.Options{
		Events:  tracking.Mappings(),
		Concern: func(e netfilter.Entry) bool { return e.Translated() || e.Redirected() },
		Timeout: t.timeout,
		Most:    t.room(),
		Vanish:  t.settings.OnExpiry != Recover,
	})
	if err != nil {
		return err
	}
	defer func() { _ = t.table.Close() }()
	carrier, err := relay.New(env)
	if err != nil {
		return err
	}
	t.taker = intercept.New(env, intercept.Options{
		Relay:      carrier,
		Interfaces: names[:len(names)-1],
		Began:      t.table.Began,
		Ended:      t.table.Ended,
		Moved:      t.table.Moved,
		Timeout:    t.timeout,
	})
	t.table.Taker = t.taker
	return t.work(ctx)
}

// newRules works out what the rules depend on.
func (t *translator) newRules() (rules, error) {
	redirects, err := t.settings.redirects(t.env.Spec.Hosts)
	if err != nil {
		return rules{}, err
	}
	r := rules{
		outside:   t.outside,
		onExpiry:  t.settings.OnExpiry,
		random:    t.settings.Ports == Random,
		redirects: redirects,
		hairpin:   t.settings.Hairpin,
	}
	if t.settings.OnFull == DropNew {
		r.most = uint32(min(t.settings.MaxEntries, math.MaxUint32))
	}
	r.address, err = t.outsideAddress()
	return r, err
}

// room is how many mappings there may be before one is evicted; 0 is no limit.
func (t *translator) room() int {
	if t.settings.OnFull != Evict {
		return 0
	}
	return t.settings.MaxEntries
}

// outsideAddress is the address that the NAT hides the inside behind.
func (t *translator) outsideAddress() (netip.Addr, error) {
	return node.CurrentAddress(t.outsideInterface())
}

func (t *translator) outsideInterface() topology.Interface {
	all := t.env.Spec.Interfaces
	return all[len(all)-1]
}

// setSysctls checks what the engine has set, and mends what it may: `configure`
// can change the timeout after the start.
func (t *translator) setSysctls() error {
	errs := []error{
		netfilter.SetEstablishedTimeout(t.timeout),
		netfilter.EnsureSysctl("net.ipv4.ip_forward", 1),
		netfilter.EnsureSysctl("net.netfilter.nf_conntrack_acct", 1),
		netfilter.EnsureSysctl("net.netfilter.nf_conntrack_tcp_be_liberal", 1),
	}
	for d, timeouts := range t.settings.otherTimeouts() {
		for _, timeout := range timeouts {
			errs = append(errs, timeout.Set(t.env.Wall(d)))
		}
	}
	return errors.Join(errs...)
}

// work watches, translates and takes connections until ctx ends or one of them fails.
func (t *translator) work(ctx context.Context) error {
	// Watch first: the kernel reports on entries only that are made while somebody watches.
	watch, err := netfilter.OpenWatch()
	if err != nil {
		return err
	}
	log, err := netfilter.OpenLog(netfilter.BlockedGroup)
	if err != nil {
		return errors.Join(err, watch.Close())
	}
	// What an earlier process of this node had: a NAT that restarts forgets everything.
	if _, err := t.table.Flush(); err != nil {
		return errors.Join(err, watch.Close(), log.Close())
	}
	if err := t.rules.install(); err != nil {
		return errors.Join(err, watch.Close(), log.Close())
	}
	t.env.OnRestart(func() {
		if err := netfilter.Isolate(); err != nil {
			t.env.Logf("going down: %v", err)
		}
	})
	t.env.Handle("flush", func(context.Context, json.RawMessage) (any, error) {
		n, err := t.table.Flush()
		return map[string]int{"mappings": n}, err
	})
	t.env.Handle("address.change", func(_ context.Context, params json.RawMessage) (any, error) {
		var r struct {
			Network string `json:"network"`
		}
		if err := json.Unmarshal(params, &r); err != nil {
			return nil, err
		}
		return nil, t.changeAddress(r.Network)
	})
	blocked := &netfilter.Blocked{Record: t.recordBlocked}
	return node.Together(ctx,
		func(ctx context.Context) error { return t.table.Follow(ctx, watch) },
		func(ctx context.Context) error { return blocked.RunLog(ctx, log) },
		func(ctx context.Context) error {
			return t.taker.Run(ctx, func() {
				if err := netfilter.Connect(); err != nil {
					t.env.Logf("%v", err)
				}
				t.env.Ready()
			})
		},
	)
}

// changeAddress gives the NAT another address on the outside, as a line does that is
// connected anew. No mapping is worth anything then: the kernel forgets those of
// masqueraded connections by itself, and here the others go with them.
func (t *translator) changeAddress(network string) error {
	if outside := t.outsideInterface().Network; network != outside {
		return fmt.Errorf("%s is not the outside of %s: that is %s", network, t.env.Spec.Name, outside)
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	// What was taken over a moment ago has to be known to have had entries.
	if err := t.table.Look(); err != nil {
		return err
	}
	if err := t.env.ChangeAddress(network); err != nil {
		return err
	}
	var err error
	if t.rules.address, err = t.outsideAddress(); err != nil {
		return err
	}
	if err := t.rules.install(); err != nil {
		return err
	}
	_, err = t.table.Flush()
	return err
}

// recordBlocked completes an event about a packet that was stopped: who sent it, and
// which connection it is of, or once was.
func (t *translator) recordBlocked(e trace.Event) {
	flow := *e.Flow
	back := flow.Reverse()
	e.By = "client"
	if next, ok := t.table.ByInside(flow); ok {
		e.Next = &next
	} else if inside, ok := t.table.ByOutside(back); ok {
		e.By, e.Flow, e.Next = "server", &inside, &back
	} else if t.outsideInterface().Has(flow.Dst.Addr()) && e.Detail != noHairpin {
		e.By, e.Flow, e.Next = "server", &back, &back
	}
	t.env.Record(e)
}
