// Package capability tries what labs use of the kernel: each thing is really done
// once, in namespaces made for that, instead of being read from the kernel's
// configuration.
package capability

import "github.com/wslab/wslab/internal/engine"

// Capability is something of the kernel that labs use.
type Capability struct {
	// Name as `wslab doctor` shows it.
	Name string
	// Needed says by what, or what goes without it.
	Needed string
	// Remedy is what to do where it is missing.
	Remedy string
	// Required says that no lab runs without it.
	Required bool
	// try uses it in the network namespace of the calling process, and says what was
	// found. What it changes it leaves: the namespace is thrown away.
	try func() (found string, err error)
}

// Check tries it.
func (c Capability) Check() engine.Check {
	check := c.Untried("")
	found, err := c.try()
	switch {
	case err == nil:
		check.Verdict, check.Found, check.Remedy = engine.OK, found, ""
		return check
	case c.Required:
		check.Verdict = engine.Unfit
	default:
		check.Verdict = engine.Lacking
	}
	check.Found = err.Error()
	return check
}

// Untried is the check of a machine where it cannot be tried.
func (c Capability) Untried(why string) engine.Check {
	return engine.Check{Name: c.Name, Verdict: engine.Untried, Found: why, Needed: c.Needed, Remedy: c.Remedy}
}

// Try tries all of [List], one after the other, in the network namespace of the
// calling process, which has to be one that is thrown away.
func Try() []engine.Check {
	var checks []engine.Check
	for _, c := range List() {
		checks = append(checks, c.Check())
	}
	return checks
}

// modules is the remedy for what is a module of most kernels.
func modules(names, config string) string {
	return "load the kernel's module (sudo modprobe " + names + "), or run a kernel with " + config
}
