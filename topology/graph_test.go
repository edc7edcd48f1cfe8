package topology

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/wslab/wslab/labs"
)

func TestGraphs(t *testing.T) {
	for _, name := range labs.Names() {
		l := embedded(t, name)
		golden(t, "testdata/graph/"+name+".mmd", Mermaid(l))
		var svg bytes.Buffer
		if err := SVG(l, &svg); err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/graph/"+name+".svg", svg.String())
	}
}

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
