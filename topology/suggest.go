package topology

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Suggest returns `did you mean "x"?` for the candidate nearest to name, or the
// list of all candidates when none is near, or "" when there are none.
func Suggest(name string, candidates []string) string {
	if near, ok := nearest(name, candidates); ok {
		return didYouMean(near)
	}
	if len(candidates) == 0 {
		return ""
	}
	return "there is: " + strings.Join(candidates, ", ")
}

func didYouMean(name string) string { return fmt.Sprintf("did you mean %q?", name) }

// nearest returns the candidate that name was probably meant to be: the one the
// fewest letters away, or else the only one that begins as name does.
func nearest(name string, candidates []string) (string, bool) {
	best, distance := "", tolerance(len(name))+1
	var longer []string
	for _, c := range candidates {
		if d := lettersApart(strings.ToLower(name), strings.ToLower(c)); d < distance {
			best, distance = c, d
		}
		if len(name) > 1 && strings.HasPrefix(c, name) {
			longer = append(longer, c)
		}
	}
	if best == "" && len(longer) == 1 {
		best = longer[0]
	}
	return best, best != ""
}

// tolerance is how many letters of a word may be wrong. It keeps a short word from
// being taken for any other short word.
func tolerance(letters int) int {
	switch {
	case letters < 2:
		return 0
	case letters < 4:
		return 1
	}
	return max(2, letters/3)
}

// lettersApart is the edit distance, with two letters that changed places counted once.
func lettersApart(a, b string) int {
	d := levenshtein.ComputeDistance(a, b)
	if d != 2 || len(a) != len(b) {
		return d
	}
	for i := range len(a) - 1 {
		if a[i] == b[i+1] && a[i+1] == b[i] && a[:i]+a[i+2:] == b[:i]+b[i+2:] {
			return 1
		}
	}
	return d
}
