package topology

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const conditionsLab = `
name: conditions
networks:
  home:     { range: 192.168.1.0/24, profile: slow, delay: 20ms }
  internet: 203.0.113.0/24
nodes:
  alice:  { kind: client, on: { home: { addr: 192.168.1.7, delay: 300ms } } }
  nat:    { kind: nat, on: [home, internet] }
  server: { kind: server, on: [{ internet: { down: true } }] }
`

func TestConditions(t *testing.T) {
	l := load(t, conditionsLab)
	if diff := cmp.Diff(&testConditions{Delay: 20 * time.Millisecond, Loss: 3}, l.Networks[0].Conditions); diff != "" {
		t.Errorf("the network's -want +got:\n%s", diff)
	}
	if got := l.Networks[1].Conditions; got != nil {
		t.Errorf("internet has %v", got)
	}
	p := plan(t, l, PlanOptions{})
	linksOf := func(node string) []string {
		spec, _ := p.Node(node)
		var out []string
		for _, s := range spec.Links {
			out = append(out, strings.Join([]string{s.Network, s.Node, s.From, string(s.Conditions)}, " "))
		}
		return out
	}
	for node, want := range map[string][]string{
		"alice":  {`home   {"delay":20000000,"loss":3}`, `home alice  {"delay":300000000}`},
		"nat":    {`home   {"delay":20000000,"loss":3}`, `home alice 02:42:c0:a8:01:07 {"delay":300000000}`, `internet server 02:42:cb:00:71:03 {"down":true}`},
		"server": {`internet server  {"down":true}`},
	} {
		if diff := cmp.Diff(want, linksOf(node)); diff != "" {
			t.Errorf("%s -want +got:\n%s", node, diff)
		}
	}
}

func TestSpread(t *testing.T) {
	p := plan(t, load(t, conditionsLab), PlanOptions{})
	for _, test := range []struct {
		link Link
		want string
	}{
		{Link{Network: "home"}, "alice nat"},
		{Link{Network: "internet", Node: "nat"}, "nat server"},
		{Link{Network: "nowhere"}, ""},
		{Link{Network: "internet", Node: "alice"}, ""},
		{Link{Network: "home", Node: "bob"}, ""},
	} {
		test.link.Conditions = json.RawMessage("{}")
		told := p.Spread(test.link)
		if got := strings.Join(slices.Sorted(maps.Keys(told)), " "); got != test.want {
			t.Errorf("%v: %s, want %s", test.link, got, test.want)
		}
		for node, spec := range told {
			if own := test.link.Node == "" || test.link.Node == node; own != (spec.From == "") {
				t.Errorf("%v: %s has to look at %q", test.link, node, spec.From)
			}
		}
	}
}

func TestParseConditions(t *testing.T) {
	c, err := ParseConditions(testRegistry(), []string{"profile=slow", "delay=5ms"})
	if diff := cmp.Diff(&testConditions{Delay: 5 * time.Millisecond, Loss: 3}, c); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if c, err := ParseConditions(testRegistry(), []string{"down"}); err != nil || !c.(*testConditions).Down {
		t.Errorf("%v, %v", c, err)
	}
	for _, words := range [][]string{{"dely=5ms"}, {"delay=5"}, {"profile=no"}, {"down", "delay=1s"}, {"a: b=[", "="}, {"delay=1s", "delay=2s"}} {
		if c, err := ParseConditions(testRegistry(), words); err == nil {
			t.Errorf("%q: %v", words, c)
		}
	}
}
