// Package contain runs a program so that nothing of it is left: what it starts ends with it,
// and all of that with whoever had it started, however that ends.
//
// It works in two halves. [Main], which is `wslab contain -- PROGRAM`, makes a PID namespace and runs
// [Init] as its first process: when that ends, the kernel ends everything in the namespace. A
// container is such a namespace already; there Init alone is run, as `wslab contain-init -- PROGRAM`.
//
// The standard input is not the program's, who finds nothing in its own: lines that say what is to be
// done with it (see [Order]) come in there, and when it ends the program is killed.
package contain

import "fmt"

// The hidden commands that have to call [Main] and [Init].
const (
	Verb     = "contain"
	InitVerb = "contain-init"
)

// Order is a line of standard input: what is to be done with the program and all that it has started.
type Order string

// The orders.
const (
	// Terminate tells them with SIGTERM to end.
	Terminate Order = "term"
	// Stop and Continue let them stand still and go on.
	Stop     Order = "stop"
	Continue Order = "cont"
)

// Exit codes of what could not be run, as a shell has them.
const (
	CannotRun = 126
	NotFound  = 127
)

// program returns what follows the dashes.
func program(verb string, args []string) ([]string, error) {
	if len(args) < 2 || args[0] != "--" {
		return nil, fmt.Errorf("%s is not for people: use run --client", verb)
	}
	return args[1:], nil
}
