//go:build !linux

package contain

import "errors"

var errLinux = errors.New("PID namespaces are a thing of Linux")

// Main works on Linux only.
func Main([]string) (int, error) { return 0, errLinux }

// Init works on Linux only.
func Init([]string) (int, error) { return 0, errLinux }
