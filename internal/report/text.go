package report

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// displayWidth is how many columns a text takes: East Asian wide characters take two.
func displayWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func padRight(s string, n int) string { return s + strings.Repeat(" ", max(0, n-displayWidth(s))) }
func padLeft(s string, n int) string  { return strings.Repeat(" ", max(0, n-displayWidth(s))) + s }

// Wrap breaks a text into lines of at most n columns, as causes are in tables.
func Wrap(s string, n int) []string { return wrap(s, n) }

// wrap breaks a text into lines of at most n columns: at spaces, and between wide
// characters, which have none. A word that is longer has a line of its own.
func wrap(s string, n int) []string {
	var lines []string
	var line strings.Builder
	used := 0
	flush := func() {
		if used > 0 {
			lines = append(lines, strings.TrimRight(line.String(), " "))
		}
		line.Reset()
		used = 0
	}
	for _, piece := range pieces(s) {
		w := displayWidth(piece)
		if used > 0 && used+displayWidth(strings.TrimRight(piece, " ")) > n {
			flush()
		}
		if used == 0 {
			piece = strings.TrimLeft(piece, " ")
			w = displayWidth(piece)
		}
		line.WriteString(piece)
		used += w
	}
	flush()
	return lines
}

// noBreakBefore are marks that do not begin a line.
const noBreakBefore = "、。）」』・：，．)"

// noBreakAfter are marks that do not end a line.
const noBreakAfter = "（「『("

// pieces cuts a text where a line may end. Spaces stay with what is before them. A
// number stays with its unit.
func pieces(s string) []string {
	var out []string
	var b strings.Builder
	var last, before rune // before is what precedes last
	for _, r := range s {
		space := last == ' ' && !unicode.IsDigit(before)
		wide := runeWidth(r) == 2 || runeWidth(last) == 2
		if b.Len() > 0 && r != ' ' && (space || wide) && !strings.ContainsRune(noBreakBefore, r) && !strings.ContainsRune(noBreakAfter, last) {
			out = append(out, b.String())
			b.Reset()
		}
		b.WriteRune(r)
		before, last = last, r
	}
	if b.Len() > 0 {
		out = append(out, b.String())
	}
	return out
}
