package command

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOutput(t *testing.T) {
	lines := make(chan string, 100)
	o, err := newOutput(func(line string) { lines <- line })
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", longestLine)
	for _, text := range []string{"one\n", "\n  \n", "two", " and a half\r\n", long + "yy\n", "\xff\n", "the last"} {
		if _, err := o.in.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	o.started()
	last := o.last(time.Minute)
	close(lines)
	var all []string
	for line := range lines {
		all = append(all, line)
	}
	want := []string{"one", "two and a half", long, "yy", "\ufffd", "the last"}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[len(want)-keepLines:], last); diff != "" {
		t.Error(diff)
	}
}

// TestOutputHeldOpen is a program that has left somebody behind.
func TestOutputHeldOpen(t *testing.T) {
	lines := make(chan string)
	o, err := newOutput(func(line string) { lines <- line })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.in.WriteString("words\n"); err != nil {
		t.Fatal(err)
	}
	<-lines
	if diff := cmp.Diff([]string{"words"}, o.last(0)); diff != "" {
		t.Error(diff)
	}
	o.started()
	<-o.over
}
