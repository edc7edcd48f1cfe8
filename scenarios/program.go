package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// Program is a client that is not wslab's own: a column of the matrix beside those of strategies, or
// instead of them. What it does nobody records but the nodes that it passes, and so it is judged by them.
type Program struct {
	// Name of the column.
	Name string
	// Like names the strategy that it is expected to do as well as: of that one's expectations of a play the
	// verdicts and the limits count, not the words of its cause. Empty, and where a play expects nothing
	// of that strategy: it has to survive or to recover.
	Like string
	// Patience is how long its first connection is waited for, in wall time; 0 is 20 s.
	Patience time.Duration
	Launcher
}

// Launcher starts a program on the network of a client node.
type Launcher interface {
	// Launch starts the program. ctx bounds the start alone; the process ends by [Process.End].
	Launch(ctx context.Context, lab Lab, at Circumstances) (Process, error)
}

// Circumstances are what a program finds.
type Circumstances struct {
	// Node whose network it is in.
	Node string
	Contract
	// Output takes what it writes, in pieces, one after another.
	Output io.Writer
}

// Process is a program that was launched.
type Process interface {
	// Done is closed when it has ended, with everything that it had started.
	Done() <-chan struct{}
	// Ending says how, in words for a cause such as "exit code 1"; err is for what could not be run. Only after Done.
	Ending() (how string, err error)
	// Stop lets it stand still, Continue lets it go on.
	Stop() error
	Continue() error
	// End tells it to end, and kills it when it does not within its grace, or when ctx ends. It returns when
	// it has ended, and reports whether it had to be killed.
	End(ctx context.Context) (killed bool, err error)
}

// running is a program of a session.
type running struct {
	Program
	// process is nil until it is launched.
	process  Process
	watching sync.WaitGroup
	over     bool
}

// enrolled is a program that takes part in a play, with what is expected of it there.
type enrolled struct {
	Program
	expect Expectation
}

// WithPrograms returns the play with programs before its other clients, which [Play.PlayedBy] may replace
// afterwards.
func (p Play) WithPrograms(programs []Program) Play {
	p.programs = nil
	for _, program := range programs {
		p.programs = append(p.programs, enrolled{program, p.expectedOf(program)})
	}
	return p
}

func (p Play) expectedOf(program Program) Expectation {
	e := Expectation{Verdicts: Expected{Survived, Recovered}}
	if program.Like != "" {
		if like := p.expectationOf(program.Like); len(like.Verdicts) < len(verdicts()) {
			e = like // and not every verdict, because nobody has said what to expect
		}
	}
	e.Client, e.Cause = program.Name, ""
	return e
}

// Limits of programs, in wall time.
const (
	// programPatience is how long the first connection of one is waited for that says nothing about it.
	programPatience = 20 * time.Second
	// programMargin is how much longer than its steps a play may take for a program: its own start, and what
	// is still on its way at the end.
	programMargin = openLimit + programPatience
	// mostOutput bounds the lines of a program that are recorded.
	mostOutput = 1000
)

// launch starts the program of a session, and records its end.
func (p *player) launch(ctx context.Context, s session) error {
	contract, err := p.contract(s)
	if err != nil {
		return err
	}
	output := &lines{each: func(line string) {
		p.rec.note(trace.Event{Type: trace.ProgramOutput, Session: s.id, Detail: line})
	}}
	process, err := s.program.Launch(ctx, p.lab, Circumstances{Node: p.client, Contract: contract, Output: output})
	if err != nil {
		return fmt.Errorf("client %s: %w", s.strategy, err)
	}
	s.program.process = process
	p.rec.note(trace.Event{Type: trace.ProgramStarted, Session: s.id})
	s.program.watching.Go(func() {
		<-process.Done()
		output.flush()
		how, err := process.Ending()
		p.rec.note(trace.Event{Type: trace.ProgramEnded, Session: s.id, Detail: how})
		if err == nil {
			return
		}
		select { // of a node that has ended the node's own end is the cause
		case <-ctx.Done():
		case <-time.After(crashLimit):
			p.fail(fmt.Errorf("client %s could not be run: %w", s.strategy, err))
		}
	})
	return nil
}

// launchAll starts the programs side by side.
func (p *player) launchAll(ctx context.Context) error {
	p.restoreBy(p.endAll)
	var all sync.WaitGroup
	errs := make([]error, len(p.sessions))
	for i, s := range p.sessions {
		if s.program != nil {
			all.Go(func() { errs[i] = p.launch(ctx, s) })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// endAll ends the programs side by side. It does nothing to those that have been ended before.
func (p *player) endAll(ctx context.Context) error {
	var all sync.WaitGroup
	errs := make([]error, len(p.sessions))
	for i, s := range p.sessions {
		if s.program == nil || s.program.process == nil || s.program.over {
			continue
		}
		all.Go(func() {
			killed, err := s.program.process.End(ctx)
			if killed {
				p.rec.note(trace.Event{Type: trace.ProgramKilled, Session: s.id})
			}
			s.program.watching.Wait()
			s.program.over = true
			if err != nil {
				errs[i] = fmt.Errorf("client %s: %w", s.strategy, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// freeze lets programs stand still, or go on: the machine that they are on does.
func (p *player) freeze(still bool, sessions ...session) error {
	var errs []error
	for _, s := range sessions {
		switch {
		case s.program == nil || s.program.process == nil:
		case still:
			errs = append(errs, s.program.process.Stop())
		default:
			errs = append(errs, s.program.process.Continue())
		}
	}
	return errors.Join(errs...)
}

// pause stops the processes of a node, programs on its network included, and resume continues them.
func (p *player) pause(ctx context.Context, node string) error {
	if err := p.lab.Pause(ctx, node); err != nil || node != p.client {
		return err
	}
	return p.freeze(true, p.sessions...)
}

func (p *player) resume(ctx context.Context, node string) error {
	err := p.lab.Resume(ctx, node)
	if node == p.client {
		err = errors.Join(err, p.freeze(false, p.sessions...))
	}
	return err
}

// patience is how long the first connections are waited for.
func (p *player) patience() time.Duration {
	longest := openLimit
	for _, s := range p.sessions {
		if s.program != nil {
			longest = max(longest, cmp.Or(s.program.Patience, programPatience))
		}
	}
	return longest
}

// lines cuts what a program writes into lines. It is safe for concurrent use.
type lines struct {
	each func(string)

	mu   sync.Mutex
	rest []byte
	n    int
}

// longestLine is where a line is broken.
const longestLine = 4 << 10

// Write takes a piece.
func (l *lines) Write(piece []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, piece...)
	for {
		i := slices.Index(l.rest, '\n')
		switch {
		case i >= 0:
			l.line(l.rest[:i])
			l.rest = l.rest[i+1:]
		case len(l.rest) > longestLine:
			l.line(l.rest[:longestLine])
			l.rest = l.rest[longestLine:]
		default:
			return len(piece), nil
		}
	}
}

// flush ends the last line.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line(l.rest)
	l.rest = nil
}

// line hands a line on. The lock is held.
func (l *lines) line(raw []byte) {
	// What is broken is not text any more, perhaps; events are.
	text := strings.TrimSpace(strings.ToValidUTF8(string(raw), "\ufffd"))
	if text != "" && l.n < mostOutput {
		l.n++
		l.each(text)
	}
}
