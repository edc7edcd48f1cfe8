package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wslab/wslab/internal/suite"
)

// expression is one of GitHub's.
var expression = regexp.MustCompile(`\$\{\{[^}]*\}\}`)

// TestWorkflowFiles: the workflow files of the documentation are YAML, and each command of
// theirs is one that there is, with flags that it has.
func TestWorkflowFiles(t *testing.T) {
	files, err := filepath.Glob("../../docs/ci/*.yml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%q, %v", files, err)
	}
	variables := map[string]string{"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "4", "baseline": "--baseline wslab-baseline.json"}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var doc any
			if err := yaml.UnmarshalWithOptions(src, &doc, yaml.Strict()); err != nil {
				t.Fatal(err)
			}
			seen := make(map[string]bool)
			for _, line := range commandLines(doc) {
				line = os.Expand(expression.ReplaceAllString(line, "1"), func(name string) string {
					value, ok := variables[name]
					if !ok {
						t.Errorf("%s: unknown variable %s", line, name)
					}
					return value
				})
				seen[parse(t, line)] = true
			}
			for _, verb := range []string{"wslab doctor", "wslab run", "wslab report merge"} {
				if !seen[verb] {
					t.Errorf("no %s in %v", verb, seen)
				}
			}
		})
	}
}

// commandLines returns the lines of shell in a document that call wslab.
func commandLines(v any) []string {
	var all []string
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			all = append(all, commandLines(inner)...)
		}
	case []any:
		for _, inner := range v {
			all = append(all, commandLines(inner)...)
		}
	case string:
		for line := range strings.Lines(strings.ReplaceAll(v, "\\\n", " ")) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "wslab ") {
				all = append(all, line)
			}
		}
	}
	return all
}

// words splits a line as a shell does, as far as single quotes go.
func words(line string) []string {
	var all []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			all = append(all, part)
			continue
		}
		all = append(all, strings.Fields(part)...)
	}
	return all
}

// parse hands a line to the real command and returns which one it is. What it would do is not done.
func parse(t *testing.T, line string) (verb string) {
	t.Helper()
	root := newCommand(strings.NewReader(""), io.Discard, io.Discard)
	cmd, args, err := root.Find(words(line)[1:])
	if err != nil {
		t.Errorf("%s: %v", line, err)
		return ""
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Errorf("%s: %v", line, err)
		return ""
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Errorf("%s: %v", line, err)
	}
	if _, err := readSettings(root.PersistentFlags()); err != nil {
		t.Errorf("%s: %v", line, err)
	}
	if shard := cmd.Flags().Lookup("shard"); shard != nil {
		if _, err := suite.ParseShard(shard.Value.String()); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if reports := cmd.Flags().Lookup("report"); reports != nil {
		var flags reportFlags
		var err error
		if flags.reports, err = cmd.Flags().GetStringSlice("report"); err != nil {
			t.Fatal(err)
		}
		t.Chdir(t.TempDir())
		flags.tolerance = cmd.Flags().Lookup("baseline-tolerance").Value.String()
		if _, err := flags.check(&cli{out: io.Discard, err: io.Discard}); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	return cmd.CommandPath()
}
