// Package tracking follows the kernel's connection table for a node whose idle timeout
// the kernel keeps, a NAT's or a firewall's: it records which connections come, are
// kept by traffic, expire and go, and lets the two legs of a connection that the node
// has taken over expire together, as the one that they are.
package tracking

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/intercept"
	"github.com/wslab/wslab/internal/trace"
)

// poll is how often the connection table is read, in wall time. Reading it makes the
// kernel evict what has expired, and its counters tell when packets have passed.
const poll = 100 * time.Millisecond

// A table of many entries takes long to read: no more than one part in share of the
// time goes into it. A small one that took long was kept waiting by the machine, and
// what it has to say about expiry must not wait for longer.
const (
	many  = 1000
	share = 10
)

// idlePoll is how often it is read while there is nothing whose silence counts: the
// kernel walks the whole table of the machine for it (nf_conntrack_buckets), and
// announces new entries by itself.
const idlePoll = 2 * time.Second

// silence is the shortest silence after which a packet is recorded as having
// refreshed a mapping, in lab time; at high speeds, what two looks at the table can tell.
const silence = time.Second

// Events are what is recorded about entries: those of a NAT's mappings, or those of a
// firewall's connections.
type Events struct {
	Created, Refreshed, Expired, Closed, Flushed trace.Type
	// Evicted is for entries that had to make room; "" where none has to.
	Evicted trace.Type
}

// Mappings are the events of a NAT.
func Mappings() Events {
	return Events{
		trace.MappingCreated, trace.MappingRefreshed, trace.MappingExpired, trace.MappingClosed, trace.MappingFlushed,
		trace.MappingEvicted,
	}
}

// Connections are the events of a firewall.
func Connections() Events {
	return Events{
		trace.ConnectionTracked, trace.ConnectionRefreshed, trace.ConnectionExpired, trace.ConnectionClosed, trace.ConnectionFlushed,
		"",
	}
}

// Options of a Table.
type Options struct {
	// Events to record.
	Events Events
	// Concern says which entries are the node's: those that go through it.
	Concern func(netfilter.Entry) bool
	// Timeout of an established connection, in wall time and whole seconds.
	Timeout time.Duration
	// Vanish says that a connection that was taken over and that the table has
	// forgotten ends without a word to either end; else it goes on.
	Vanish bool
	// Most is how many entries that are not over there may be: one more, and the one
	// that has been silent for longest is evicted. 0 is no limit.
	Most int
}

// Table is the kernel's connection table as a node follows it. It is safe for
// concurrent use; Taker is set before Follow.
type Table struct {
	// Taker takes connections over.
	Taker *intercept.Interceptor

	env      *node.Env
	timeout  time.Duration
	vanish   bool
	most     int
	table    *netfilter.Conntrack
	mappings *mappings
	reading  sync.Mutex // the table, so that it is not flushed meanwhile
	latest   time.Time  // when it was read last
}

// New opens the table. Close ends it.
func New(env *node.Env, o Options) (*Table, error) {
	table, err := netfilter.OpenConntrack()
	if err != nil {
		return nil, err
	}
	m := newMappings(env.Record, max(env.Wall(silence), 2*poll), o.Timeout)
	m.events, m.concern = o.Events, o.Concern
	return &Table{env: env, timeout: o.Timeout, vanish: o.Vanish, most: o.Most, table: table, mappings: m}, nil
}

// Close closes the table.
func (t *Table) Close() error { return t.table.Close() }

// Began tells that a connection was taken over; see [intercept.Options].
func (t *Table) Began(p *intercept.Pair) { t.mappings.link(p.Inner(), p.Outer()) }

// Ended tells that a connection that was taken over is over.
func (t *Table) Ended(p *intercept.Pair) { t.mappings.unlink(p.Inner(), p.Outer()) }

// Moved tells that an adopted connection goes on under the entry of its outer leg.
func (t *Table) Moved(e netfilter.Entry, p *intercept.Pair) { t.mappings.move(e.Orig, p.Outer()) }

// ByInside returns how a flow of the inside looks, or looked, outside.
func (t *Table) ByInside(inside trace.Flow) (trace.Flow, bool) { return t.mappings.byInside(inside) }

// ByOutside returns how a flow of the outside looks, or looked, inside.
func (t *Table) ByOutside(outside trace.Flow) (trace.Flow, bool) {
	return t.mappings.byOutside(outside)
}

// Flush forgets every entry and returns how many there were.
func (t *Table) Flush() (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	// What was taken over a moment ago has to be known to have had entries.
	if err := t.compare(); err != nil {
		return 0, err
	}
	return t.mappings.flush(t.table.Flush)
}

// refresh reads the table if it was not read of late: who has been silent for longest
// is not known otherwise.
func (t *Table) refresh() error {
	t.reading.Lock()
	defer t.reading.Unlock()
	if time.Since(t.latest) < poll {
		return nil
	}
	_, err := t.read()
	return err
}

// read reads the table. The caller holds reading.
func (t *Table) read() ([]netfilter.Entry, error) {
	start := time.Now()
	entries, err := t.table.List()
	if err != nil {
		return nil, err
	}
	t.latest = time.Now()
	t.mappings.listed(start, t.latest, entries)
	return entries, nil
}

// Follow keeps up with the kernel until ctx ends. It closes watch, which has to be open
// before there is anything to report: the kernel reports on entries only that are made
// while somebody watches.
func (t *Table) Follow(ctx context.Context, watch *netfilter.Watch) error {
	ended := make(chan error, 1)
	go func() {
		ended <- watch.Run(func(change netfilter.Change, e netfilter.Entry) {
			if change == netfilter.Destroyed {
				now := time.Now()
				t.endTogether(e)
				t.mappings.destroyed(now, e)
			} else {
				t.mappings.announced(time.Now(), e)
				t.makeRoom()
			}
		})
	}()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	var looked, next time.Time
	for {
		select {
		case now := <-ticker.C:
			if now.Before(next) || now.Sub(looked) < idlePoll && t.mappings.idle() && len(t.Taker.Pairs()) == 0 {
				continue
			}
			looked = now
			if err := t.Look(); err != nil {
				_ = watch.Close() // the error above is the cause
				_ = <-ended
				return err
			}
			if t.mappings.crowded(many) {
				next = now.Add(share * time.Since(now))
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

// makeRoom evicts what is one too many.
func (t *Table) makeRoom() {
	if t.most == 0 || !t.mappings.crowded(t.most) {
		return
	}
	if err := t.refresh(); err != nil {
		t.env.Logf("%v", err)
	}
	for {
		orig, ok := t.mappings.oldest(time.Now(), t.most)
		if !ok {
			return
		}
		if err := t.table.Delete(orig); err != nil {
			t.env.Logf("%v", err)
			return
		}
	}
}

// Look reads the table now, and acts on what it shows.
func (t *Table) Look() error {
	t.reading.Lock()
	defer t.reading.Unlock()
	return t.compare()
}

// compare reads the table and acts on what it shows. The caller holds reading.
func (t *Table) compare() error {
	entries, err := t.read()
	if err != nil {
		return err
	}
	byOrig := make(map[netfilter.Tuple]netfilter.Entry, len(entries))
	for _, e := range entries {
		byOrig[e.Orig] = e
	}
	for _, p := range t.Taker.Pairs() {
		t.keepTogether(time.Now(), p, byOrig)
	}
	return nil
}

// keepTogether makes the two legs of a connection that was taken expire together:
// what passes on one has passed the NAT, though the other leg's entry has not seen it (a
// keepalive of the client ends at the client's leg). When one has expired the pair is
// gone without a word, as a mapping is.
func (t *Table) keepTogether(now time.Time, p *intercept.Pair, entries map[netfilter.Tuple]netfilter.Entry) {
	inner, innerThere := entries[p.Inner()]
	outer, outerThere := entries[p.Outer()]
	switch {
	case innerThere && outerThere:
		for _, late := range t.mappings.balance(now, inner, outer) {
			if err := t.table.SetTimeout(late, t.timeout); err != nil {
				t.env.Logf("%v", err)
			}
		}
	case t.vanish && t.mappings.forgotten(p.Inner(), p.Outer()):
		t.end(p)
	}
}

// endTogether ends what was taken over together with the first of its entries that goes,
// before anything is told about it: until then the other leg would take what is sent to a
// connection that is gone.
func (t *Table) endTogether(gone netfilter.Entry) {
	if !t.vanish {
		return
	}
	inner, outer, ok := t.mappings.cut(gone)
	if !ok {
		return
	}
	if p, ok := t.Taker.Taken(inner.Flow()); ok && p.Outer() == outer {
		t.end(p)
	}
}

// end ends what was taken over without a word to either end.
func (t *Table) end(p *intercept.Pair) {
	// First the entries: with one left, packets would pass that have no socket.
	if err := errors.Join(t.table.Delete(p.Inner()), t.table.Delete(p.Outer())); err != nil {
		t.env.Logf("%v", err)
	}
	p.Vanish()
}
