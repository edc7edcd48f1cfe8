package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/internal/preset"
	"github.com/wslab/wslab/internal/report"
	"github.com/wslab/wslab/internal/strategies"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

var update = flag.Bool("update", false, "write generated documents anew")

// TestReference compares the documents that are made from the registries with
// what they would be now.
func TestReference(t *testing.T) {
	reg := registry()
	lab := schemaText(t, topology.Schema(reg))
	scenario := schemaText(t, scenarios.Schema(suite.Known(reg)))
	reference := "# Reference\n\nMade from the registries of kinds, toxics and strategies: `go test ./cmd/wslab -run Reference -update`.\n\n" +
		topology.Reference(reg) + "\n" + scenarios.Reference()
	for file, want := range map[string]string{
		"../../docs/reference.md":         reference,
		"../../docs/presets.md":           preset.Markdown(presets()),
		"../../docs/strategies.md":        strategies.Markdown(strategy.Builtin()),
		"../../docs/lab.schema.json":      lab,
		"../../docs/scenario.schema.json": scenario,
		"../../docs/report.schema.json":   schemaText(t, report.Schema()),
	} {
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not what the registries say (-want +got):\n%s", file, diff)
		}
	}
}

func schemaText(t *testing.T, schema any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(schema); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
