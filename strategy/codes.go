package strategy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Codes is a close code or an HTTP status, a range of them such as "3500-3999", or CodesNone.
type Codes string

// CodesNone holds no code: a list of it alone is not an empty list, which stands for the default.
const CodesNone Codes = "none"

// UnmarshalText takes a code from 100 to 4999, a range of them, or "none".
func (c *Codes) UnmarshalText(text []byte) error {
	if _, _, ok := Codes(text).span(); !ok {
		return fmt.Errorf("%q is not %s", text, c.Describe())
	}
	*c = Codes(text)
	return nil
}

// Describe says what is taken.
func (c *Codes) Describe() string { return "a code, a range such as 3500-3999, or none" }

// span returns the first and the last code; ok is false for a text that is none.
func (c Codes) span() (first, last int, ok bool) {
	if c == CodesNone {
		return 0, -1, true
	}
	from, to, ranged := strings.Cut(string(c), "-")
	if !ranged {
		to = from
	}
	first, errFirst := strconv.Atoi(from)
	last, errLast := strconv.Atoi(to)
	return first, last, errFirst == nil && errLast == nil && first >= 100 && last <= 4999 && first <= last
}

// Contains says whether a code is one of these.
func (c Codes) Contains(code int) bool {
	first, last, ok := c.span()
	return ok && first <= code && code <= last
}

// contain says whether one of several contains a code.
func contain(all []Codes, code int) bool {
	return slices.ContainsFunc(all, func(c Codes) bool { return c.Contains(code) })
}

// Stops says whether the client stays away after a connection that ended with this close code.
func (r Reconnect) Stops(code int) bool {
	if len(r.StopOn) == 0 {
		return !Retryable(code)
	}
	return contain(r.StopOn, code)
}
