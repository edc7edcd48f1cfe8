package nsexec

import "strings"

// lastWins keeps the last of several settings of one variable: execve takes
// them all, and programs differ in which one they read.
func lastWins(env []string) []string {
	last := make(map[string]int, len(env))
	for i, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		last[name] = i
	}
	kept := make([]string, 0, len(last))
	for i, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if last[name] == i {
			kept = append(kept, entry)
		}
	}
	return kept
}
