package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/wslab/wslab/internal/suite"
)

// console is a terminal on which lines of progress scroll above one line of state that is
// written over and over. It is safe for concurrent use.
type console struct {
	out   io.Writer
	width func() int

	mu    sync.Mutex
	state string
}

// Escape sequences (ECMA-48): to the start of the line, and nothing behind it.
const eraseLine = "\r\x1b[K"

// openConsole returns the console of standard error, nil where that is no terminal that can do it.
func (c *cli) openConsole() *console {
	f, ok := c.err.(*os.File)
	if _, noColor := os.LookupEnv("NO_COLOR"); !ok || noColor || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &console{out: f, width: func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return width
	}}
}

// progress prints a line above the state.
func (c *console) progress(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprint(c.out, eraseLine+fmt.Sprintf(format, args...)+"\n"+c.state)
}

// watch shows how far a run is.
func (c *console) watch(s suite.State) {
	text := stateText(s)
	if w := c.width(); w > 1 {
		text = shorten(text, w-1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = text
	_, _ = fmt.Fprint(c.out, eraseLine+text)
}

// close takes the state away.
func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = ""
	_, _ = fmt.Fprint(c.out, eraseLine)
}

// stateText is a state as one line.
func stateText(s suite.State) string {
	text := fmt.Sprintf("%d of %d played", s.Done, s.Total)
	if s.Left >= 1e9 {
		text += ", about " + tenths(s.Left) + " to go"
	}
	if len(s.Running) > 0 {
		text += fmt.Sprintf("; %d running: %s", len(s.Running), strings.Join(s.Running, ", "))
	}
	return text
}

// shorten cuts a text to a number of characters.
func shorten(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:max(0, width-1)]) + "…"
}
