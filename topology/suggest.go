package topology

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Suggest returns `did you mean "x"?` for the candidate nearest to name, or the
// list of all candidates when none is near, or "" when there are none.
func Suggest(name string, candidates []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(c)); d < distance {
			best, distance = c, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(candidates) == 0:
		return ""
	}
	return "there is: " + strings.Join(candidates, ", ")
}
