package command

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// keepLines is how many of a program's last lines are said when it ends.
	keepLines = 3
	// longestLine is where a line is broken.
	longestLine = 4 << 10
)

// output is what a program writes, line by line.
type output struct {
	// in is the program's end; it is closed here once the program has it.
	in   *os.File
	out  *os.File
	over chan struct{}

	mu    sync.Mutex
	lines []string
}

// newOutput calls each with every line, without its end.
func newOutput(each func(string)) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &output{in: w, out: r, over: make(chan struct{})}
	go o.read(each)
	return o, nil
}

// started says that the program has its end.
func (o *output) started() { _ = o.in.Close() }

func (o *output) read(each func(string)) {
	defer close(o.over)
	defer func() { _ = o.out.Close() }()
	lines := bufio.NewReaderSize(o.out, longestLine)
	for {
		raw, err := lines.ReadSlice('\n')
		// What is broken is not text any more, perhaps; events are.
		line := strings.ToValidUTF8(strings.TrimRight(string(raw), "\r\n"), "\ufffd")
		if strings.TrimSpace(line) != "" {
			o.keep(line)
			each(line)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (o *output) keep(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, strings.TrimSpace(line))
	o.lines = o.lines[max(0, len(o.lines)-keepLines):]
}

// last returns the last lines. It waits no longer than patience for what is still to
// be read: somebody else may hold the program's output open.
func (o *output) last(patience time.Duration) []string {
	select {
	case <-o.over:
	case <-time.After(patience):
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.lines...)
}
