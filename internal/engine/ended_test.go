package engine

import (
	"slices"
	"testing"
)

func TestEndedError(t *testing.T) {
	for _, tt := range []struct {
		err  EndedError
		want string
	}{
		{EndedError{}, "ended before it was ready"},
		{EndedError{Reason: ExitReason(1), Said: "no port"}, "ended before it was ready (exit code 1): no port"},
		{EndedError{Reason: ExitReason(137), LastWords: []string{"a", "b"}}, "ended before it was ready (ended by signal 9, killed)\n  a\n  b"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%q, not %q", got, tt.want)
		}
	}
}

func TestLastWords(t *testing.T) {
	for _, tt := range []struct {
		stderr string
		want   []string
	}{
		{"", nil},
		{"\n\n", nil},
		{"a\nb\nc\n", []string{"b", "c"}},
		{"a\npanic: no\n\ngoroutine 1\nmain.go:3\n", []string{"panic: no", ""}},
	} {
		if got := LastWords(tt.stderr, 2); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q", tt.stderr, got)
		}
	}
	for _, tt := range []struct {
		reason string
		words  []string
		want   string
	}{{"", nil, ""}, {"why", nil, "why"}, {"", []string{"a"}, "a"}, {"why", []string{"a"}, "why: a"}} {
		if got := Detail(tt.reason, tt.words); got != tt.want {
			t.Errorf("%q", got)
		}
	}
}
