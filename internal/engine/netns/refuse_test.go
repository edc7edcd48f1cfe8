package netns

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wslab/wslab/topology"
)

func TestRefuse(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "here")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for _, c := range []struct {
		needs topology.Needs
		why   string
	}{
		{topology.Needs{}, ""},
		{topology.Needs{Program: "here"}, ""},
		{topology.Needs{Program: program}, ""},
		{topology.Needs{Program: "here", Image: "busybox"}, ""},
		{topology.Needs{Image: "busybox"}, "the image busybox needs Docker"},
		{topology.Needs{Program: "no-such-program"}, "there is no program no-such-program on this machine"},
		{topology.Needs{Program: "text"}, "there is no program text on this machine"},
		{topology.Needs{Program: "/no/such", Image: "busybox"}, "there is no program /no/such on this machine"},
	} {
		r := (*Engine)(nil).Refuse(c.needs)
		if (r == nil) != (c.why == "") || r != nil && (r.Why != c.why || r.Hint == "") {
			t.Errorf("%+v: %+v", c.needs, r)
		}
	}
}
