package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
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

// maxSource is how much of a line is shown, in characters.
const maxSource = 160

// String returns the problem as it is shown: the place, what is wrong, the line
// with a caret under it, and what to do.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	if p.Source != "" {
		source, column, width := p.excerpt()
		number := fmt.Sprintf("%5d", p.Line)
		fmt.Fprintf(&b, "\n%s | %s", number, source)
		fmt.Fprintf(&b, "\n%s | %s^%s", strings.Repeat(" ", len(number)), strings.Repeat(" ", column-1), strings.Repeat("~", width-1))
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "\n      = %s", p.Hint)
	}
	return b.String()
}

// excerpt returns the line as a terminal can show it, cut to what is around the
// place, and where the place is in it. Wide characters are counted as the two
// columns that they take.
func (p Problem) excerpt() (source string, column, width int) {
	line := []rune(p.Source)
	at := min(max(p.Column, 1)-1, len(line))
	from, to := 0, len(line)
	if len(line) > maxSource {
		from = min(max(0, at-maxSource/2), len(line)-maxSource)
		to = from + maxSource
	}
	end := min(at+max(p.Width, 1), to)
	column = columns(line[from:at]) + 1
	width = max(1, columns(line[at:max(at, end)]))
	source = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, string(line[from:to]))
	if from > 0 {
		source, column = "... "+source, column+4
	}
	if to < len(line) {
		source += " ..."
	}
	return source, column, width
}

// columns is how wide a terminal shows characters.
func columns(line []rune) int {
	n := 0
	for _, r := range line {
		n++
		if unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) || r >= 0xff01 && r <= 0xff60 || r >= 0x1f300 && r <= 0x1faff {
			n++
		}
		if unicode.In(r, unicode.Mn) {
			n--
		}
	}
	return n
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
