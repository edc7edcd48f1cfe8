package nat

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/intercept"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// poll is how often the connection table is read, in wall time. Reading it makes the
// kernel evict what has expired, and its counters tell when packets have passed.
const poll = 100 * time.Millisecond

// idlePoll is how often it is read while there is nothing whose silence counts: the
// kernel walks the whole table of the machine for it (nf_conntrack_buckets), and
// announces new entries by itself.
const idlePoll = 2 * time.Second

// silence is the shortest silence after which a packet is recorded as having
// refreshed a mapping, in lab time; at high speeds, what two looks at the table can tell.
const silence = time.Second

// translator is a running NAT.
type translator struct {
	env      *node.Env
	settings Settings
	outside  string // interface
	timeout  time.Duration
	table    *netfilter.Conntrack
	mappings *mappings
	reading  sync.Mutex // the table, so that it is not flushed meanwhile
	taker    *intercept.Interceptor
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
	if t.table, err = netfilter.OpenConntrack(); err != nil {
		return err
	}
	defer func() { _ = t.table.Close() }()
	t.mappings = newMappings(env.Record, max(env.Wall(silence), 2*poll), t.timeout)
	carrier, err := relay.New(env)
	if err != nil {
		return err
	}
	t.taker = intercept.New(env, intercept.Options{
		Relay:      carrier,
		Interfaces: names[:len(names)-1],
		Began:      t.began,
		Ended:      t.ended,
		Moved:      func(e netfilter.Entry, p *intercept.Pair) { t.mappings.move(e.Orig, p.Outer()) },
		Timeout:    t.timeout,
	})
	return t.work(ctx)
}

// setSysctls checks what the engine has set, and mends what it may: `configure`
// can change the timeout after the start.
func (t *translator) setSysctls() error {
	return errors.Join(
		netfilter.SetEstablishedTimeout(t.timeout),
		netfilter.EnsureSysctl("net.ipv4.ip_forward", 1),
		netfilter.EnsureSysctl("net.netfilter.nf_conntrack_acct", 1),
		netfilter.EnsureSysctl("net.netfilter.nf_conntrack_tcp_be_liberal", 1),
	)
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
	if err := t.flushOld(); err != nil {
		return errors.Join(err, watch.Close(), log.Close())
	}
	if err := install(t.outside, t.settings.OnExpiry); err != nil {
		return errors.Join(err, watch.Close(), log.Close())
	}
	t.env.OnRestart(func() {
		if err := netfilter.Isolate(); err != nil {
			t.env.Logf("going down: %v", err)
		}
	})
	t.env.Handle("flush", func(context.Context, json.RawMessage) (any, error) {
		n, err := t.flush()
		return map[string]int{"mappings": n}, err
	})
	blocked := &netfilter.Blocked{Record: t.recordBlocked}
	return node.Together(ctx,
		func(ctx context.Context) error { return t.follow(ctx, watch) },
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

// flushOld forgets what an earlier process of this node had: a NAT that restarts
// forgets everything.
func (t *translator) flushOld() error {
	_, err := t.flush()
	return err
}

// flush forgets every mapping.
func (t *translator) flush() (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	if _, err := t.read(); err != nil {
		return 0, err
	}
	return t.mappings.flush(t.table.Flush)
}

// read reads the table. The caller holds reading.
func (t *translator) read() ([]netfilter.Entry, error) {
	start := time.Now()
	entries, err := t.table.List()
	if err != nil {
		return nil, err
	}
	t.mappings.listed(start, time.Now(), entries)
	return entries, nil
}

// follow keeps the mappings as the kernel has them.
func (t *translator) follow(ctx context.Context, watch *netfilter.Watch) error {
	ended := make(chan error, 1)
	go func() {
		ended <- watch.Run(func(change netfilter.Change, e netfilter.Entry) {
			if change == netfilter.Destroyed {
				t.mappings.destroyed(time.Now(), e)
			} else {
				t.mappings.announced(time.Now(), e)
			}
		})
	}()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	var looked time.Time
	for {
		select {
		case now := <-ticker.C:
			if now.Sub(looked) < idlePoll && t.mappings.idle() && len(t.taker.Pairs()) == 0 {
				continue
			}
			looked = now
			if err := t.look(); err != nil {
				_ = watch.Close() // the error above is the cause
				_ = <-ended
				return err
			}
		case err := <-ended:
			_ = watch.Close() // reading it has failed already
			return err
		case <-ctx.Done():
			err := watch.Close()
			_ = <-ended
			return err
		}
	}
}

// look reads the table and acts on what it shows.
func (t *translator) look() error {
	t.reading.Lock()
	defer t.reading.Unlock()
	entries, err := t.read()
	if err != nil {
		return err
	}
	byOrig := make(map[netfilter.Tuple]netfilter.Entry, len(entries))
	for _, e := range entries {
		byOrig[e.Orig] = e
	}
	for _, p := range t.taker.Pairs() {
		t.keepTogether(time.Now(), p, byOrig)
	}
	return nil
}

// keepTogether makes the two legs of a connection that was taken expire together:
// what passes on one has passed the NAT, though the other leg's entry has not seen it (a
// keepalive of the client ends at the client's leg). When one has expired the pair is
// gone without a word, as a mapping is.
func (t *translator) keepTogether(now time.Time, p *intercept.Pair, entries map[netfilter.Tuple]netfilter.Entry) {
	inner, innerThere := entries[p.Inner()]
	outer, outerThere := entries[p.Outer()]
	switch {
	case innerThere && outerThere:
		for _, late := range t.mappings.balance(now, inner, outer) {
			if err := t.table.SetTimeout(late, t.timeout); err != nil {
				t.env.Logf("%v", err)
			}
		}
	case t.settings.OnExpiry != Recover && t.mappings.forgotten(p.Inner(), p.Outer()):
		// First the entries: with one left, packets would pass that have no socket.
		if err := errors.Join(t.table.Delete(p.Inner()), t.table.Delete(p.Outer())); err != nil {
			t.env.Logf("%v", err)
		}
		p.Vanish()
	}
}

func (t *translator) began(p *intercept.Pair) { t.mappings.link(p.Inner(), p.Outer()) }

func (t *translator) ended(p *intercept.Pair) { t.mappings.unlink(p.Inner(), p.Outer()) }

// recordBlocked completes an event about a packet that had no mapping: who sent it, and
// which connection it once was.
func (t *translator) recordBlocked(e trace.Event) {
	flow := *e.Flow
	e.By = "client"
	if slices.ContainsFunc(t.env.Spec.Interfaces[len(t.env.Spec.Interfaces)-1:], func(i topology.Interface) bool {
		return i.Addr.Addr() == flow.Dst.Addr()
	}) {
		e.By = "server"
		flow = flow.Reverse()
		e.Flow, e.Next = &flow, &flow
		if was, ok := t.mappings.byOutside(flow); ok {
			e.Flow = &was
		}
	} else if was, ok := t.mappings.byInside(flow); ok {
		e.Next = &was
	}
	t.env.Record(e)
}
