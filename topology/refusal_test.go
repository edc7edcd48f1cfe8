package topology

import (
	"errors"
	"testing"
)

const withPrograms = `
name: programs
networks: { home: 192.168.1.0/24 }
nodes:
  alice:  { kind: client, on: [home] }
  squid:  { kind: command, on: [home], command: squid, proxy: { protocol: http } }
  mine:   { kind: command, on: [home], image: mine }
  server: { kind: server, on: [home] }
`

func TestRefused(t *testing.T) {
	l := load(t, withPrograms)
	noImages := func(n Needs) *Refusal {
		if n.Image == "" {
			return nil
		}
		return &Refusal{Why: "it has no images", Hint: "give it none"}
	}
	for range 2 { // what is said once is no part of the lab
		err := l.Refused("small", noImages)
		const want = `test.yaml:7:3: mine cannot run on engine small: it has no images
    7 |   mine:   { kind: command, on: [home], image: mine }
      |   ^~~~
      = give it none`
		var problems Problems
		if !errors.As(err, &problems) || err.Error() != want {
			t.Errorf("%v", err)
		}
	}
	if err := l.Refused("large", func(Needs) *Refusal { return nil }); err != nil {
		t.Error(err)
	}
}

func TestPassageOfAProgram(t *testing.T) {
	l := load(t, withPrograms)
	for name, want := range map[string]string{"alice": "client", "squid": "way", "mine": "client", "server": "target"} {
		n, _ := l.Node(name)
		if _, ok := n.Passage(); ok != (name == "squid") || n.role() != want || n.ends() != (name == "squid") {
			t.Errorf("%s: a passage: %v, %s", name, ok, n.role())
		}
	}
}

// TestProgramAsClient has no client but a program, and then none at all: a proxy is none.
func TestProgramAsClient(t *testing.T) {
	load(t, `
name: programs
networks: { home: 192.168.1.0/24 }
nodes:
  mine:   { kind: command, on: [home], command: mine }
  server: { kind: server, on: [home] }
`)
	_, err := Load("test.yaml", []byte(`
name: programs
networks: { home: 192.168.1.0/24 }
nodes:
  squid:  { kind: command, on: [home], command: squid, proxy: { protocol: http } }
  server: { kind: server, on: [home] }
`), testRegistry())
	const want = `test.yaml:4:1: the lab has no client
    4 | nodes:
      | ^~~~~
      = add one: NAME: { kind: client, on: [NETWORK] }`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
