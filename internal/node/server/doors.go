package server

import (
	"net"
	"sync"
)

// doors are the listeners of a server. It is safe for concurrent use.
type doors struct {
	mu        sync.Mutex
	listeners []net.Listener
	shut      bool
}

// open notes the listeners.
func (d *doors) open(listeners []net.Listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listeners = listeners
}

// close closes them: who connects from now on is refused. Connections that are open go on.
func (d *doors) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = true
	for _, l := range d.listeners {
		_ = l.Close() // one that is closed already
	}
	d.listeners = nil
}

func (d *doors) closed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shut
}
