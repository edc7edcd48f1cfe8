package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/scenarios"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func ptr[T any](v T) *T { return &v }

// sample is a run with every verdict, an unexpected one and an exceeded limit.
func sample() Run {
	expired := scenarios.Cause{
		{ID: "nat-expired", Args: scenarios.Args{"nat": "nat", "at": 35100 * time.Millisecond, "silence": 30 * time.Second}},
		{ID: "black-hole", Args: scenarios.Args{"write": 50 * time.Second}},
		{ID: "no-keepalive"},
	}
	kept := scenarios.Cause{{ID: "kept-alive-tcp", Args: scenarios.Args{"nat": "nat", "silence": 15 * time.Second, "timeout": scenarios.Setting(30 * time.Second)}}}
	reset := scenarios.Cause{
		{ID: "reset-sent", Args: scenarios.Args{"node": "nat", "at": 5 * time.Second}},
		{ID: "saw-it", Args: scenarios.Args{"after": 3 * time.Millisecond}},
	}
	return Run{Engine: "docker", Speed: 5, Results: []*scenarios.Result{
		{
			Scenario: "nat-idle", Summary: "The NAT forgets the connection while nobody speaks.", Lab: "home", Path: "direct", Speed: 5,
			Cells: []scenarios.Cell{
				{Client: "none", Verdict: scenarios.Failed, Expected: scenarios.Expected{scenarios.Failed}, Passed: true, Cause: expired,
					Connections: 1, Sent: 62, Lost: 42, Outage: ptr(24900 * time.Millisecond)},
				{Client: "tcp-keepalive", Verdict: scenarios.Survived, Expected: scenarios.Expected{scenarios.Failed}, Cause: kept, Connections: 1, Sent: 62},
			},
		},
		{
			Scenario: "reset", Summary: "The NAT sends RST to both ends in the middle of the talk.", Lab: "corporate", Path: "http-proxy", Speed: 5,
			Cells: []scenarios.Cell{
				{Client: "none", Verdict: scenarios.Failed, Expected: scenarios.Expected{scenarios.Failed}, Passed: true,
					Cause: append(reset, scenarios.Sentence{ID: "no-reconnect"}), Connections: 1, Sent: 22, Lost: 2, Outage: ptr(15 * time.Second), Detect: ptr(3 * time.Millisecond)},
				{Client: "reconnect-only", Verdict: scenarios.Recovered, Expected: scenarios.Expected{scenarios.Recovered, scenarios.Failed}, Passed: true,
					Cause: reset, Connections: 2, Sent: 60, Lost: 1, Outage: ptr(1100 * time.Millisecond), Detect: ptr(3 * time.Millisecond), Recover: ptr(1097 * time.Millisecond)},
				{Client: "firewall-aware", Verdict: scenarios.Failed, Expected: scenarios.Expected{scenarios.Failed}, Passed: false,
					Cause: reset, Unmet: scenarios.Cause{{ID: "over-lost", Args: scenarios.Args{"messages": 1, "limit": 0}}}, Connections: 2, Sent: 60, Lost: 1, Outage: ptr(1100 * time.Millisecond)},
			},
		},
	}}
}

func document(r Run, l scenarios.Language) *Document { return NewDocument(r, l, "v1") }

func write(t *testing.T, format string, d *Document, o Options) string {
	t.Helper()
	f, ok := Find(format)
	if !ok {
		t.Fatalf("no format %q", format)
	}
	var b bytes.Buffer
	if err := f.Write(&b, d, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormats(t *testing.T) {
	tests := []struct {
		file, format string
		o            Options
	}{
		{"table", "table", Options{}},
		{"table-wide", "table", Options{Width: 140}},
		{"table-narrow", "table", Options{Width: 48}},
		{"table-color", "table", Options{Width: 100, Color: true}},
		{"table-japanese", "table", Options{Width: 80}},
		{"json", "json", Options{}},
		{"junit", "junit", Options{}},
		{"markdown", "markdown", Options{}},
		{"tap", "tap", Options{}},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			l := scenarios.English
			if test.file == "table-japanese" {
				l = scenarios.Japanese
			}
			got := write(t, test.format, document(sample(), l), test.o)
			golden(t, "testdata/"+test.file+".golden", got)
			if test.o.Width < 60 {
				return
			}
			for line := range strings.Lines(got) {
				if !test.o.Color && displayWidth(strings.TrimSuffix(line, "\n")) > test.o.Width {
					t.Errorf("wider than %d columns: %s", test.o.Width, line)
				}
			}
		})
	}
}

func TestJSONKeys(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(write(t, "json", document(sample(), ""), Options{})), &doc); err != nil {
		t.Fatal(err)
	}
	want := []string{"cause", "client", "connected_s", "connections", "detect_s", "down_s", "duplicated", "expected", "from", "keepalive_bytes", "lab", "lost", "outage_s", "passed", "path", "play", "recover_s", "scenario", "sent", "verdict"}
	cell := doc["cells"].([]any)[0].(map[string]any)
	for _, key := range want {
		if _, ok := cell[key]; !ok {
			t.Errorf("no %q", key)
		}
	}
	if len(cell) != len(want) || len(doc) != 8 {
		t.Errorf("other keys: %v %v", doc, cell)
	}
	if cell["detect_s"] != nil {
		t.Errorf("detect_s is %v, not null", cell["detect_s"])
	}
	if empty := write(t, "json", document(Run{Engine: "docker", Speed: 1}, ""), Options{}); !strings.Contains(empty, `"cells": []`) {
		t.Errorf("no cells: %s", empty)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrors(t *testing.T) {
	for _, f := range Formats() {
		if err := f.Write(full{}, document(sample(), ""), Options{}); err == nil {
			t.Errorf("%s: the error of the writer is lost", f.Name)
		}
	}
}

func TestWrap(t *testing.T) {
	tests := []struct {
		text string
		n    int
		want []string
	}{
		{"one two three", 7, []string{"one two", "three"}},
		{"after 300 ms of it", 9, []string{"after", "300 ms of", "it"}},
		{"incomprehensibilities are", 5, []string{"incomprehensibilities", "are"}},
		{"接続は続いた。終わり", 8, []string{"接続は続", "いた。終", "わり"}},
		{"", 10, nil},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, wrap(test.text, test.n)); diff != "" {
			t.Errorf("%q: %s", test.text, diff)
		}
	}
}
