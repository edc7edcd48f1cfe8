package engine

import (
	"fmt"
	"strings"
	"syscall"
)

// EndedError says that a node ended before it was ready.
type EndedError struct {
	// Reason is why its process ended, see [ExitReason]; empty if unknown.
	Reason string
	// Said is the node's own word for it, the error of its node.stopped.
	Said string
	// LastWords are the last lines of its standard error.
	LastWords []string
}

// Error says all of it, the last words on lines of their own.
func (e *EndedError) Error() string {
	text := "ended before it was ready"
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	if e.Said != "" {
		text += ": " + e.Said
	}
	return text + Indent(e.LastWords)
}

// Indent puts lines below an error.
func Indent(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "\n  " + strings.Join(lines, "\n  ")
}

// lastSignal is the highest number of a signal of Linux.
const lastSignal = 64

// ExitReason says why a process ended, as far as its exit code tells: 128 and the
// signal's number where a signal ended it. It is empty for 0.
func ExitReason(code int) string {
	switch {
	case code == 0:
		return ""
	case code > 128 && code <= 128+lastSignal:
		return fmt.Sprintf("ended by signal %d, %s", code-128, syscall.Signal(code-128))
	}
	return fmt.Sprintf("exit code %d", code)
}

// Detail is what [NodeStatus.Detail] says of an exited node: why, and its last words.
func Detail(reason string, lastWords []string) string {
	switch {
	case len(lastWords) == 0:
		return reason
	case reason == "":
		return lastWords[0]
	}
	return reason + ": " + lastWords[0]
}

// LastWords returns the last n lines of what a node wrote to its standard error. Of
// a Go panic it returns the first lines instead: the last ones of a stack say nothing.
func LastWords(stderr string, n int) []string {
	stderr = strings.TrimSpace(stderr)
	if stderr == "" {
		return nil
	}
	lines := strings.Split(stderr, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return lines[i:min(i+n, len(lines))]
		}
	}
	return lines[max(0, len(lines)-n):]
}
