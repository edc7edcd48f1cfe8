package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/scenarios"
)

// Port is a client that is whatever connects to a port of this machine's loopback: what comes in there
// goes out at the client node; see [Forward]. One play at a time has the port.
type Port struct {
	number int
	// Opened is called when the port is open for a play. May be nil.
	Opened func(url string)

	busy sync.Mutex
}

// NewPort returns the client behind a port of 127.0.0.1.
func NewPort(number int) *Port { return &Port{number: number} }

// Launch opens the port for the time of a play.
func (p *Port) Launch(ctx context.Context, lab scenarios.Lab, at scenarios.Circumstances) (scenarios.Process, error) {
	l, err := labOf(lab)
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(forwarding{URL: at.URL, Proxy: at.Proxy})
	if err != nil {
		return nil, err
	}
	args, err := contained()
	if err != nil {
		return nil, err
	}
	args = append(args, args[0], ForwardVerb, string(order))
	p.busy.Lock()
	listening, err := (&net.ListenConfig{KeepAlive: -1}).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.number)))
	if err != nil {
		p.busy.Unlock()
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("port %d of 127.0.0.1 is taken by another program: choose another one", p.number)
		}
		return nil, err
	}
	file, err := listening.(*net.TCPListener).File()
	if err != nil {
		p.busy.Unlock()
		return nil, errors.Join(err, listening.Close())
	}
	if p.Opened != nil {
		p.Opened("ws://" + listening.Addr().String())
	}
	return start(func(ctx context.Context, cmd engine.Command) (int, error) {
		defer p.busy.Unlock()
		code, err := l.Exec(ctx, at.Node, cmd)
		// Nobody can connect any more before the next play has the port.
		return code, errors.Join(err, file.Close(), listening.Close())
	}, engine.Command{Args: args, Env: at.Environ(), Stdout: file, Stderr: at.Output})
}
