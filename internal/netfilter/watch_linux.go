package netfilter

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Change says what happened to an entry.
type Change int

// What can happen to an entry.
const (
	Created Change = iota
	Updated
	Destroyed
)

// Groups of nfnetlink that announce changes (enum nfnetlink_groups).
const (
	groupNew     = 1
	groupUpdate  = 2
	groupDestroy = 3
)

// watchBuffer holds what the kernel announces while nobody reads. What does not
// fit is lost; whoever watches lists the table as well.
const watchBuffer = 4 << 20

// Watch reports changes of the connection table until it is closed.
type Watch struct{ conn *netlink.Conn }

// OpenWatch begins to watch. Entries that were made before may change unreported.
func OpenWatch() (*Watch, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("conntrack: watch: %w", err)
	}
	if conn.SetReadBuffer(watchBuffer) != nil {
		err = nil // the default will have to do
	}
	for _, group := range []uint32{groupNew, groupUpdate, groupDestroy} {
		if err = conn.JoinGroup(group); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("conntrack: watch: %w", err)
		}
	}
	return &Watch{conn}, nil
}

// Close ends Run.
func (w *Watch) Close() error { return w.conn.Close() }

// Run calls f for each change, in order, until the watch is closed.
func (w *Watch) Run(f func(Change, Entry)) error {
	for {
		messages, err := w.conn.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			continue
		}
		if err != nil {
			return fmt.Errorf("conntrack: watch: %w", err)
		}
		for _, m := range messages {
			change := Updated
			switch {
			case m.Header.Type == subsysConntrack<<8|ctDelete:
				change = Destroyed
			case m.Header.Type != subsysConntrack<<8|ctNew:
				continue
			case m.Header.Flags&(netlink.Create|netlink.Excl) != 0:
				change = Created
			}
			if e, err := parseEntry(m.Data); err == nil {
				f(change, e)
			}
		}
	}
}
