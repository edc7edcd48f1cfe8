package netns

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestUpAndDownLeavesNothing: no process, namespace, file, descriptor or goroutine.
func TestUpAndDownLeavesNothing(t *testing.T) {
	e := newEngine(t)
	plan := servers(5)
	cycle := func() {
		t.Helper()
		if _, err := e.Up(t.Context(), plan, nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Down(context.Background(), plan.Lab, nil); err != nil {
			t.Fatal(err)
		}
	}
	cycle() // what the first needs for good, such as the poller, is there then
	before := held(t)
	goroutines := runtime.NumGoroutine()
	cycles := 200
	if testing.Short() {
		cycles = 20
	}
	for n := range cycles {
		cycle()
		// Down has waited for the last process.
		if left := left(t, e, plan.Lab); len(left) > 0 {
			t.Fatalf("left behind after %d: %q", n, left)
		}
	}
	if after := held(t); !slices.Equal(before, after) {
		t.Errorf("before: %q\nafter: %q", before, after)
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines, %d before", now, goroutines)
	}
	files, err := os.ReadDir(e.dir)
	if err != nil || len(files) > 0 {
		t.Errorf("files left: %v, %v", files, err)
	}
}

// held lists what this process holds: its children, and what its descriptors are.
func held(t *testing.T) []string {
	t.Helper()
	var all []string
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil { // the one that lists them is closed by now
			kind, _, _ := strings.Cut(target, "[")
			all = append(all, kind)
		}
	}
	children, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range children {
		text, err := os.ReadFile(c)
		if err != nil {
			continue // the thread has ended
		}
		for _, pid := range fieldsInt(string(text)) {
			cmdline, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
			all = append(all, "process "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	slices.Sort(all)
	return all
}
