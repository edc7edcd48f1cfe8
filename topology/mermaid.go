package topology

import (
	"fmt"
	"strings"
)

// Mermaid draws a lab as a Mermaid flowchart, left to right: networks as
// stadiums, nodes as boxes with their kind and their toxics, addresses on the lines.
// Nodes that end connections have a double border, and an arrow leads out of those
// that hide what is behind them.
func Mermaid(l *Lab) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	classes := make(map[string][]string)
	for _, n := range l.Networks {
		id := "net_" + mermaidID(n.Name)
		fmt.Fprintf(&b, "  %s([\"%s<br/>%s\"])\n", id, mermaidText(n.Name), n.Prefix)
		classes["network"] = append(classes["network"], id)
	}
	for i := range l.Nodes {
		n := &l.Nodes[i]
		lines := []string{"<b>" + mermaidText(n.Name) + "</b>", mermaidText(n.what())}
		for _, t := range toxicTexts(l, n.Name) {
			lines = append(lines, "<i>"+mermaidText(t)+"</i>")
		}
		left, right := "[", "]"
		if n.ends() {
			left, right = "[[", "]]"
		}
		id := "node_" + mermaidID(n.Name)
		fmt.Fprintf(&b, "  %s%s\"%s\"%s\n", id, left, strings.Join(lines, "<br/>"), right)
		classes[n.role()] = append(classes[n.role()], id)
	}
	for _, e := range edges(l) {
		from, to, line := "net_"+mermaidID(e.network), "node_"+mermaidID(e.node), "---"
		if e.nodeFirst || e.outside {
			from, to = to, from
		}
		if e.outside {
			line = "-->"
		}
		fmt.Fprintf(&b, "  %s %s|%s| %s\n", from, line, e.addr, to)
	}
	for _, c := range mermaidClasses {
		if len(classes[c.role]) > 0 {
			fmt.Fprintf(&b, "  classDef %s %s\n  class %s %s\n", c.role, c.style, strings.Join(classes[c.role], ","), c.role)
		}
	}
	return b.String()
}

// mermaidClasses are the colours of the SVG picture in Mermaid's words.
var mermaidClasses = []struct{ role, style string }{
	{"network", "fill:#ddf4ff,stroke:#0969da,color:#1b1f24"},
	{"client", "fill:#dafbe1,stroke:#1a7f37,color:#1b1f24"},
	{"way", "fill:#f6f8fa,stroke:#57606a,color:#1b1f24"},
	{"target", "fill:#fbefff,stroke:#8250df,color:#1b1f24"},
}

// mermaidID keeps what Mermaid takes in an identifier.
func mermaidID(name string) string { return strings.ReplaceAll(name, "-", "_") }

func mermaidText(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;").Replace(s)
}
