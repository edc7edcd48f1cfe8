package wslabtest

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/wslab/wslab/scenarios"
)

// Client is a client under test. It connects to the URL, with what [Lab.Dialer], [Lab.DialContext], [Lab.TLS] and
// [Lab.Proxy] give it, keeps its connection, gets it back if it can, and returns when ctx ends. The URL tells the
// server who it is: it is taken as it is, for each connection.
//
// The server echoes messages, and pushes some of its own. Of a client that numbers its messages from 1,
// {"type":"message","seq":1}, and answers pushes ({"type":"push","seq":1}) in the same way with type push-ack, lost
// messages are counted; any other is judged by its connections.
type Client func(ctx context.Context, url string) error

// Judge plays steps while the client runs, and says what became of it, with the cause. The steps are as in
// [Lab.Do]; in place of them it takes one scenario, a file or one that came with wslab by its name. The test does not
// fail by that: see [Cell.Want].
//
//	lab.Judge(client, "nat-idle").Want(t, scenarios.Survived)
//	lab.Judge(client, "talk: 5s", "reset: nat", "talk: 20s").Want(t, scenarios.Recovered)
func (l *Lab) Judge(client Client, steps ...string) Cell {
	l.t.Helper()
	var play scenarios.Play
	if len(steps) == 1 && !strings.Contains(steps[0], ": ") {
		play = l.plays(steps[0])[0]
	} else {
		play = l.scenario("judge", steps).Plays()[0]
		play.Path = l.way.Name
	}
	program := scenarios.Program{Name: "client", Launcher: client}
	return l.run(play.WithPrograms([]scenarios.Program{program}).PlayedBy(nil))[0]
}

// Launch runs the client in a goroutine; see [scenarios.Launcher].
func (c Client) Launch(_ context.Context, _ scenarios.Lab, at scenarios.Circumstances) (scenarios.Process, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		err := c(ctx, at.URL)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.how = "it returned"
		if err != nil {
			p.how += ": " + err.Error()
		}
	}()
	return p, nil
}

// process is a client that runs.
type process struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	how string
}

func (p *process) Done() <-chan struct{} { return p.done }

func (p *process) Ending() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.how, nil
}

// errStill says what goroutines cannot do.
var errStill = errors.New("a client in the test's own process cannot be put to sleep: play this with a program of its own (wslab run --client)")

func (p *process) Stop() error     { return errStill }
func (p *process) Continue() error { return nil }

func (p *process) End(ctx context.Context) (killed bool, err error) {
	p.cancel()
	select {
	case <-p.done:
		return false, nil
	case <-ctx.Done():
		return true, errors.New("the client does not return although its context has ended")
	}
}
