package topology

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// presetLab is a lab with presets, some of whose keys are overridden.
const presetLab = `
name: presets
networks: { a: 10.0.0.0/24, b: 10.0.1.0/24 }
nodes:
  c: { kind: client, on: a, via: p }
  p: { kind: proxy, on: [a, b], preset: squid, idle_timeout: 1m, users: { bob: geheim } }
  n: { kind: nat, on: [a, b], preset: cloud-nat }
  s: { kind: server, on: [b] }
`

func loadPresetLab(t *testing.T, old, replacement string) (*Lab, error) {
	t.Helper()
	if !strings.Contains(presetLab, old) {
		t.Fatalf("the lab has no %q", old)
	}
	return Load("lab.yaml", []byte(strings.Replace(presetLab, old, replacement, 1)), testRegistry())
}

func TestPresetIsLaidUnderTheFile(t *testing.T) {
	l, err := loadPresetLab(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	p, _ := l.Node("p")
	want := &testProxy{
		Protocol: "http", AllowConnect: []int{443}, IdleTimeout: time.Minute,
		Users: map[string]string{"alice": "secret", "bob": "geheim"},
	}
	if diff := cmp.Diff(want, p.Settings); diff != "" {
		t.Errorf("the proxy's settings (-want +got):\n%s", diff)
	}
	if p.Preset == nil || p.Preset.Name != "squid" || !slices.Equal(p.FromPreset, []string{"protocol"}) {
		t.Errorf("preset %+v, keys of it %q", p.Preset, p.FromPreset)
	}
	n, _ := l.Node("n")
	if diff := cmp.Diff(&testNAT{IdleTimeout: 350 * time.Second, OnExpiry: "reset"}, n.Settings); diff != "" {
		t.Errorf("the NAT's settings (-want +got):\n%s", diff)
	}
	// One lab's settings are not those of the next one.
	again, err := loadPresetLab(t, "bob: geheim", "carol: geheim")
	if err != nil {
		t.Fatal(err)
	}
	p, _ = again.Node("p")
	if users := slices.Sorted(maps.Keys(p.Settings.(*testProxy).Users)); !slices.Equal(users, []string{"alice", "carol"}) {
		t.Errorf("users %q", users)
	}
}

func TestPresetInThePlan(t *testing.T) {
	l, err := loadPresetLab(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(l, PlanOptions{Speed: 350})
	if err != nil {
		t.Fatal(err)
	}
	n, _ := plan.Node("n")
	if diff := cmp.Diff(&PresetUse{Name: "cloud-nat", Keys: []string{"idle_timeout", "on_expiry"}}, n.Preset); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if s, _ := plan.Node("s"); s.Preset != nil {
		t.Errorf("the server is preset %+v", s.Preset)
	}
	for _, c := range []struct{ old, replacement, want string }{
		{"", "", "speed 500 takes n.idle_timeout (from preset cloud-nat) under one second, which the kernel does not count: the largest speed that works here is 350"},
		{"preset: cloud-nat", "preset: cloud-nat, idle_timeout: 20s", "speed 500 takes n.idle_timeout under one second, which the kernel does not count: the largest speed that works here is 20"},
	} {
		l, err := loadPresetLab(t, c.old, c.replacement)
		if err != nil {
			t.Fatal(err)
		}
		var speed *SpeedError
		if _, err := NewPlan(l, PlanOptions{Speed: 500}); !errors.As(err, &speed) || err.Error() != c.want {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
}

func TestPresetIsDrawn(t *testing.T) {
	l, err := loadPresetLab(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var svg bytes.Buffer
	if err := SVG(l, &svg); err != nil {
		t.Fatal(err)
	}
	for name, picture := range map[string]string{"Mermaid": Mermaid(l), "SVG": svg.String()} {
		if !strings.Contains(picture, "nat, cloud-nat") {
			t.Errorf("%s does not show the preset:\n%s", name, picture)
		}
	}
}

func TestPresetInSchemaAndReference(t *testing.T) {
	schema := validator(t)
	for _, c := range []struct {
		old, replacement string
		valid            bool
	}{
		{"", "", true},
		{"preset: squid,", "", false}, // no protocol
		{"preset: squid,", "protocol: http,", true},
		{"preset: cloud-nat", "preset: clod-nat", false},
		{"preset: cloud-nat", "preset: squid", false},
		{"kind: server,", "kind: server, preset: squid,", false},
	} {
		src := strings.Replace(presetLab, c.old, c.replacement, 1)
		err := schema.Validate(instance(t, document(t, "lab.yaml", []byte(src))))
		if (err == nil) != c.valid {
			t.Errorf("%q for %q: %v", c.replacement, c.old, err)
		}
		if _, loaded := Load("lab.yaml", []byte(src), testRegistry()); (loaded == nil) != c.valid {
			t.Errorf("%q for %q: the schema says %v, the loader %v", c.replacement, c.old, err, loaded)
		}
	}
	if reference := Reference(testRegistry()); !strings.Contains(reference, "There is: cloud-nat, old-nat.") {
		t.Errorf("the reference does not list the presets:\n%s", reference)
	}
}

func TestProblemsOfPresetsSayWhereValuesAreFrom(t *testing.T) {
	reg := testRegistry()
	kind, _ := reg.Kind("nat")
	kind.Check = func(c *NodeCheck) {
		c.Problemf("on_expiry", "", "not here")
		if c.InFile("on_expiry") {
			t.Error("the file gives on_expiry")
		}
	}
	_, err := Load("lab.yaml", []byte(presetLab), reg)
	if err == nil || !strings.Contains(err.Error(), "= on_expiry is from preset cloud-nat") {
		t.Error(err)
	}
}
