package report

import (
	"strings"
	"unicode"
)

// clean makes a text one that every format can carry: valid UTF-8, and instead of control
// characters and of those that no XML document may have the replacement character. Line ends
// and tabs stay.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case unicode.IsControl(r), r == '\ufffe', r == '\uffff':
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

func cleanAll(texts []string) []string {
	var all []string
	for _, s := range texts {
		all = append(all, clean(s))
	}
	return all
}

// oneLine is a text without line ends and tabs.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
