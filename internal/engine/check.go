package engine

import "context"

// Checker is an engine that can say one by one what it needs and what is there.
type Checker interface {
	// Checks tries everything, whether or not something before it has failed, and
	// leaves nothing behind.
	Checks(ctx context.Context) []Check
}

// Verdict of a check.
type Verdict string

// What a check can come to.
const (
	// OK: it is there.
	OK Verdict = "ok"
	// Lacking: labs run without it, but for what Needed says.
	Lacking Verdict = "missing"
	// Unfit: without it the engine runs no lab.
	Unfit Verdict = "unfit"
	// Untried: what it rests on is not there.
	Untried Verdict = "not tried"
)

// Check is one thing that labs use, and what was found.
type Check struct {
	// Name of what was looked for, such as "nftables".
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	// Found is what is there, or why it is not.
	Found string `json:"found"`
	// Needed says by what.
	Needed string `json:"needed"`
	// Remedy is what to do about it, empty for a check that is OK.
	Remedy string `json:"remedy,omitempty"`
}
