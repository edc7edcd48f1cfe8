package netns

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func never() bool { return false }

func collect(o *output, from int, stop func() bool) string {
	var b strings.Builder
	o.read(from, stop, func(line []byte) bool {
		b.Write(line)
		return true
	})
	return b.String()
}

func TestEveryReaderSeesEveryLine(t *testing.T) {
	o := newOutput()
	var want strings.Builder
	var readers sync.WaitGroup
	got := make([]string, 4)
	for i := range got {
		readers.Go(func() { got[i] = collect(o, 0, never) })
	}
	for i := range 1000 {
		line := fmt.Sprintf("%d\n", i)
		want.WriteString(line)
		o.append([]byte(line))
	}
	o.end()
	readers.Wait()
	for i := range got {
		if got[i] != want.String() {
			t.Errorf("reader %d has %d bytes of %d", i, len(got[i]), want.Len())
		}
	}
	if late := collect(o, o.next(), never); late != "" {
		t.Errorf("from now on: %q", late)
	}
}

func TestOldestLinesGoFirst(t *testing.T) {
	o := newOutput()
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range 20 {
		o.append(line)
	}
	o.append([]byte("last"))
	got := collect(o, 0, func() bool { return true })
	if !strings.HasSuffix(got, "last") || len(got) > keepOutput+len(line) {
		t.Errorf("%d bytes are kept", len(got))
	}
}

func TestStoppedReaderEnds(t *testing.T) {
	o := newOutput()
	stop := watch(o, func() {})
	if got := collect(o, 0, stop); got != "" {
		t.Errorf("%q", got)
	}
}
