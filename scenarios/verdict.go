package scenarios

import "strings"

// Verdict says what became of a client.
type Verdict string

// The verdicts.
const (
	// Survived: the same connection from start to end, nothing lost.
	Survived Verdict = "survived"
	// Recovered: a new connection, and every limit of the expectation kept.
	Recovered Verdict = "recovered"
	// Failed: neither.
	Failed Verdict = "failed"
)

// verdicts is the list of them, best first.
func verdicts() []Verdict { return []Verdict{Survived, Recovered, Failed} }

func verdictNames() []string {
	var names []string
	for _, v := range verdicts() {
		names = append(names, string(v))
	}
	return names
}

// Expected is the set of verdicts that pass.
type Expected []Verdict

// Any says whether every verdict passes.
func (e Expected) Any() bool { return len(e) == len(verdicts()) }

// String returns the verdicts with "or" between them, "any" for all of them.
func (e Expected) String() string {
	if e.Any() {
		return "any"
	}
	names := make([]string, len(e))
	for i, v := range e {
		names[i] = string(v)
	}
	return strings.Join(names, " or ")
}
