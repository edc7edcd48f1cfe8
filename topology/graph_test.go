package topology

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"
)

func TestGraphs(t *testing.T) {
	for _, name := range known() {
		l := embedded(t, name)
		golden(t, "testdata/graph/"+name+".mmd", Mermaid(l))
		var svg bytes.Buffer
		if err := SVG(l, &svg); err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/graph/"+name+".svg", svg.String())
	}
}

// TestGraphOfManyWays draws what the embedded labs do not have: several clients,
// two NATs in a row, a network that nobody is on, long names, several toxics at a node.
func TestGraphOfManyWays(t *testing.T) {
	l := load(t, manyWays)
	golden(t, "testdata/graph/many-ways.mmd", Mermaid(l))
	var svg bytes.Buffer
	if err := SVG(l, &svg); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/graph/many-ways.svg", svg.String())
}

const manyWays = `
name: many-ways
summary: Three clients, two ways out and a carrier's NAT; toxics on the way, long names.
networks:
  unused: 10.9.0.0/24
  home: 192.168.1.0/24
  flat: 192.168.2.0/24
  office: 10.20.0.0/16
  carrier: 100.64.0.0/24
  internet: 203.0.113.0/24
nodes:
  alice: { kind: client, on: [home] }
  bob:   { kind: client, on: [flat, office] }
  carol: { kind: client, on: [office] }
  nat1:  { kind: nat, on: [home, carrier] }
  nat2:  { kind: nat, on: [flat, carrier] }
  cgn:   { kind: nat, on: [carrier, internet] }
  the-one-proxy-with-a-long-name: { kind: proxy, on: [office, internet], protocol: http }
  server: { kind: server, on: { internet: 203.0.113.80 } }
  backup: { kind: server, on: [internet] }
toxics:
  - { at: cgn, type: latency, latency: 40ms }
  - { at: cgn, type: latency, latency: 40ms, stream: upstream }
`

func TestSVGEscapes(t *testing.T) {
	l := embedded(t, "home")
	l.Summary = `<script>alert("&")</script>`
	var svg bytes.Buffer
	if err := SVG(l, &svg); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(&svg); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := token.(xml.StartElement); ok && s.Name.Local == "script" {
			t.Fatal("a script got in")
		}
	}
}
