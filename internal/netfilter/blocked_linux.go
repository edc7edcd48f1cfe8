package netfilter

import (
	"context"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

const (
	// blockedInterval is how often a flow of which packets go on being stopped is
	// recorded, in wall time.
	blockedInterval = 500 * time.Millisecond
	// blockedFlows bounds how many flows are told apart at a time.
	blockedFlows = 4096
)

// Blocked records packet.blocked for the packets that rules log to [BlockedGroup]:
// the first of a flow at once, what follows counted together.
type Blocked struct {
	// Record takes the event, with Detail (the rule's prefix), Count, Flow as the packet
	// has it, and Time set.
	Record func(trace.Event)

	mu    sync.Mutex
	flows map[blockedKey]*blockedFlow
}

type blockedKey struct {
	rule  string
	tuple Tuple
}

type blockedFlow struct {
	count int64     // since the last event
	last  time.Time // of the last event
}

// Run reads the log until ctx ends.
func (b *Blocked) Run(ctx context.Context) error {
	log, err := OpenLog(BlockedGroup)
	if err != nil {
		return err
	}
	return b.RunLog(ctx, log)
}

// RunLog is Run with a log that is open already. It closes it.
func (b *Blocked) RunLog(ctx context.Context, log *Log) error {
	ended := make(chan error, 1)
	go func() {
		ended <- log.Run(func(rule string, p Packet) { b.packet(time.Now(), blockedKey{rule, p.Tuple}) })
	}()
	ticker := time.NewTicker(blockedInterval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			b.tick(now)
		case err := <-ended:
			_ = log.Close() // reading it has failed already
			return err
		case <-ctx.Done():
			err := log.Close()
			_ = <-ended
			b.tick(time.Now())
			return err
		}
	}
}

func (b *Blocked) packet(now time.Time, k blockedKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flows == nil {
		b.flows = make(map[blockedKey]*blockedFlow)
	}
	f, known := b.flows[k]
	if !known {
		if len(b.flows) >= blockedFlows {
			return
		}
		f = &blockedFlow{}
		b.flows[k] = f
	}
	f.count++
	if !known {
		b.record(now, k, f)
	}
}

// tick records what has been counted, and forgets flows that have gone quiet.
func (b *Blocked) tick(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, f := range b.flows {
		switch {
		case f.count > 0 && now.Sub(f.last) >= blockedInterval/2:
			b.record(now, k, f)
		case f.count == 0 && now.Sub(f.last) > 4*blockedInterval:
			delete(b.flows, k)
		}
	}
}

func (b *Blocked) record(now time.Time, k blockedKey, f *blockedFlow) {
	flow := k.tuple.Flow()
	b.Record(trace.Event{Type: trace.Blocked, Time: now, Flow: &flow, Count: f.count, Detail: k.rule})
	f.count, f.last = 0, now
}
