package topology

import "testing"

// TestReaches asks both ways: a packet has to get there, and its answer back.
func TestReaches(t *testing.T) {
	for _, c := range []struct {
		lab      *Lab
		from, to string
		want     bool
	}{
		{embedded(t, "home"), "alice", "server", true},
		{embedded(t, "home"), "server", "alice", false}, // hidden behind the NAT
		{embedded(t, "home"), "server", "nat", true},
		{embedded(t, "home"), "alice", "nobody", false},
		{embedded(t, "corporate"), "alice", "server", false}, // proxies do not route
		{embedded(t, "corporate"), "alice", "http-proxy", true},
		{embedded(t, "corporate"), "http-proxy", "server", true},
		{embedded(t, "corporate"), "server", "http-proxy", false},
		{load(t, twoNATs), "c", "s", true},
		{load(t, twoNATs), "s", "c", false},
		{load(t, twoNATs), "s", "cgn", true},
		{load(t, twoNATs), "cgn", "c", false},
		// The packets get there, but the server knows no way back.
		{load(t, oneWayBack), "c", "s", false},
		{load(t, oneWayBack), "c", "t", true},
	} {
		check := &NodeCheck{Lab: c.lab, routes: newRouting(c.lab)}
		if got := check.Reaches(c.from, c.to); got != c.want {
			t.Errorf("%s: %s to %s: %t", c.lab.Name, c.from, c.to, got)
		}
	}
}

// In oneWayBack, c and t are outside of the NAT that s sits behind.
const oneWayBack = `
name: one-way-back
networks: { in: 10.0.0.0/24, out: 10.0.1.0/24 }
nodes:
  t: { kind: server, on: [out] }
  c: { kind: client, on: [out] }
  n: { kind: nat, on: [in, out] }
  s: { kind: server, on: [in] }
`

// TestChecksDoNotEcho runs the kinds' checks on a lab whose networks are partly
// unknown: what depends on them is not reported a second time, the rest is.
func TestChecksDoNotEcho(t *testing.T) {
	reg := testRegistry()
	checked := 0
	reg.Kinds[0].Check = func(c *NodeCheck) {
		checked++
		if !c.Reaches(c.Node.Name, "s") {
			c.Problemf("", "", "an echo")
		}
		c.Problemf("via[0]", c.Suggest("dircet", []string{"direct"}), "a problem of its own")
		if !c.InFile("via") || c.InFile("url") {
			c.Problemf("", "", "InFile is wrong")
		}
	}
	_, err := Load("test.yaml", []byte(`
name: x
networks: { a: 10.0.0.0/24, b: 10.0.1.0/24 }
nodes:
  c: { kind: client, on: [a], via: dircet }
  n: { kind: nat, on: [a, bb] }
  s: { kind: server, on: [b] }
`), reg)
	want := `test.yaml:5:36: a problem of its own
    5 |   c: { kind: client, on: [a], via: dircet }
      |                                    ^~~~~~
      = did you mean "direct"?

test.yaml:6:27: unknown network "bb"
    6 |   n: { kind: nat, on: [a, bb] }
      |                           ^~
      = did you mean "b"?

2 problems`
	if err == nil || err.Error() != want || checked != 1 {
		t.Errorf("checked %d: %v", checked, err)
	}
}
