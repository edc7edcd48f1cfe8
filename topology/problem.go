package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	// Line and Column count from 1; Column counts characters.
	Line, Column int
	// Width is how many characters are wrong, at least 1.
	Width int
	// Message says what is wrong, Hint what to do about it; Hint may be empty.
	Message, Hint string
	// Source is the line as it stands in the file.
	Source string
}

// String returns the problem as it is shown: the place, what is wrong, the line
// with a caret under it, and what to do.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	if p.Source != "" {
		number := fmt.Sprintf("%5d", p.Line)
		fmt.Fprintf(&b, "\n%s | %s", number, strings.ReplaceAll(p.Source, "\t", " "))
		fmt.Fprintf(&b, "\n%s | %s^%s", strings.Repeat(" ", len(number)), strings.Repeat(" ", max(0, p.Column-1)), strings.Repeat("~", max(0, p.Width-1)))
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "\n      = %s", p.Hint)
	}
	return b.String()
}

// Problems is every problem of a file, in the order of the file. It is the error
// that loading returns; find it with errors.As.
type Problems []Problem

// Error shows every problem, and how many there are when there are several.
func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i := range p {
		texts[i] = p[i].String()
	}
	if len(p) > 1 {
		texts = append(texts, fmt.Sprintf("%d problems", len(p)))
	}
	return strings.Join(texts, "\n\n")
}

// sorted returns the problems in the order of the file, each once.
func (p Problems) sorted() Problems {
	out := slices.Clone(p)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(out)
}
