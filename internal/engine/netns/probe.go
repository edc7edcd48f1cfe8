package netns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/wslab/wslab/internal/capability"
	"github.com/wslab/wslab/internal/engine"
)

// ProbeVerb is the hidden verb of wslab that runs Try.
const ProbeVerb = "netns-probe"

// probeAll is the argument of ProbeVerb for every capability, instead of those
// without which there is no lab.
const probeAll = "all"

// Try is the inner half of Probe and Checks: started in the namespaces of a lab, it
// tries capabilities there and writes what came of it.
func Try(args []string, out io.Writer) error {
	var checks []engine.Check
	if len(args) == 1 && args[0] == probeAll {
		checks = capability.Try()
	} else {
		for _, c := range capability.List() {
			if c.Required {
				checks = append(checks, c.Check())
			}
		}
	}
	return json.NewEncoder(out).Encode(checks)
}

// try starts the inner half.
func (e *Engine) try(ctx context.Context, args ...string) ([]engine.Check, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, e.binary, append([]string{ProbeVerb}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = namespaces()
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		if text := strings.TrimSpace(errs.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, err
	}
	var checks []engine.Check
	if err := json.Unmarshal(out.Bytes(), &checks); err != nil {
		return nil, fmt.Errorf("what was tried in a new namespace: %w", err)
	}
	return checks, nil
}

// lacking is the error of the first check without which there is no lab.
func lacking(checks []engine.Check) error {
	for _, c := range checks {
		if c.Verdict == engine.Unfit {
			return errors.New(c.Name + ": " + c.Found)
		}
	}
	return nil
}

// Probe makes links in new namespaces, as a lab would: where user namespaces are
// restricted they can often be made, but not used.
func (e *Engine) Probe(ctx context.Context) error {
	checks, err := e.try(ctx)
	if err == nil {
		err = lacking(checks)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return e.host.refusal(err)
}

// Checks tries everything that labs use of the kernel; see [engine.Checker].
func (e *Engine) Checks(ctx context.Context) []engine.Check {
	checks, err := e.try(ctx, probeAll)
	if err == nil {
		return append([]engine.Check{e.host.check(lacking(checks))}, checks...)
	}
	all := []engine.Check{e.host.check(err)}
	for _, c := range capability.List() {
		all = append(all, c.Untried("rests on user namespaces"))
	}
	return all
}
