package main

import (
	"os"
	"testing"
	"time"
)

// needTime skips a long test that go test would end before it is through, and with it
// the whole package, unless no test of labs may be skipped.
func needTime(t *testing.T, about time.Duration) {
	t.Helper()
	end, ok := t.Deadline()
	if !ok || time.Until(end) >= about {
		return
	}
	const text = "this takes about %v, and go test ends in %v: -timeout 60m is enough for all"
	left := time.Until(end).Round(time.Second)
	if os.Getenv("WSLAB_REQUIRE_NETNS") != "" {
		t.Fatalf(text, about, left)
	}
	t.Skipf(text, about, left)
}
