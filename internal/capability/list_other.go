//go:build !linux

package capability

// List is empty: labs use the kernel of Linux.
func List() []Capability { return nil }
