package main

import (
	"slices"
	"testing"

	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/labs"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

// Every embedded lab and scenario is valid, and every lab is one that a scenario plays on.
func TestEmbeddedFilesAreValid(t *testing.T) {
	known := suite.Known(registry())
	played := map[string]bool{"corporate-debian": true} // with --as corporate
	list, err := scenarios.Builtin(known)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		for _, l := range s.Labs {
			played[l.Lab] = true
		}
	}
	for _, name := range labs.Names() {
		src, err := labs.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		l, err := topology.Load(name, src, registry())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if l.Name != name || l.Summary == "" {
			t.Errorf("%s is called %q: %q", name, l.Name, l.Summary)
		}
		if !played[name] {
			t.Errorf("no scenario plays on %s", name)
		}
	}
	if !slices.IsSorted(labs.Names()) {
		t.Errorf("%v", labs.Names())
	}
}
