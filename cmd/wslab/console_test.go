package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/suite"
)

// TestConsole: lines scroll above one line of state, which fits the terminal.
func TestConsole(t *testing.T) {
	var out bytes.Buffer
	c := &console{out: &out, width: func() int { return 40 }}
	c.progress("no state yet: %d%%", 0)
	c.watch(suite.State{Done: 3, Total: 63, Running: []string{"nat-idle on home", "reset on home"}, Left: 83 * time.Second})
	c.progress("something to say")
	c.close()
	const state = "3 of 63 played, about 1m23s to go; 2 r…"
	want := eraseLine + "no state yet: 0%\n" + eraseLine + state + eraseLine + "something to say\n" + state + eraseLine
	if out.String() != want {
		t.Errorf("%q\nwant %q", out.String(), want)
	}
	if got := stateText(suite.State{Done: 63, Total: 63}); got != "63 of 63 played" {
		t.Error(got)
	}
}

// TestNoConsole: what is no terminal gets lines alone.
func TestNoConsole(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, c := range []*cli{{err: &strings.Builder{}}, {err: file}} {
		if c.openConsole() != nil {
			t.Errorf("%T is taken for a terminal", c.err)
		}
	}
}
