package topology

import (
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// Mermaid draws a lab as a Mermaid flowchart, left to right: networks as
// stadiums, nodes as boxes with their kind, toxics as notes in the box.
func Mermaid(l *Lab) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, n := range l.Networks {
		fmt.Fprintf(&b, "  net_%s([\"%s<br/>%s\"])\n", mermaidID(n.Name), mermaidText(n.Name), n.Prefix)
	}
	for i := range l.Nodes {
		n := &l.Nodes[i]
		lines := []string{"<b>" + mermaidText(n.Name) + "</b>", mermaidText(n.Kind.Name)}
		for _, t := range toxicTexts(l, n.Name) {
			lines = append(lines, "<i>"+mermaidText(t)+"</i>")
		}
		fmt.Fprintf(&b, "  node_%s[\"%s\"]\n", mermaidID(n.Name), strings.Join(lines, "<br/>"))
	}
	for _, e := range edges(l) {
		from, to := "net_"+mermaidID(e.network), "node_"+mermaidID(e.node)
		if e.nodeFirst {
			from, to = to, from
		}
		fmt.Fprintf(&b, "  %s --- %s\n", from, to)
	}
	return b.String()
}

// mermaidID keeps what Mermaid takes in an identifier.
func mermaidID(name string) string { return strings.ReplaceAll(name, "-", "_") }

func mermaidText(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;").Replace(s)
}

// toxicTexts are the toxics at a node from the start, as a reader names them.
func toxicTexts(l *Lab, node string) []string {
	var texts []string
	for _, t := range l.Toxics {
		if t.At == node {
			texts = append(texts, t.Type+" "+t.Stream)
		}
	}
	return texts
}

// edge is a node's place on a network.
type edge struct {
	node, network string
	nodeFirst     bool // the node is nearer to the clients
	addr          string
}

func edges(l *Lab) []edge {
	depth := depths(l)
	var all []edge
	for i := range l.Nodes {
		n := &l.Nodes[i]
		for _, a := range n.On {
			e := edge{node: n.Name, network: a.Network}
			e.nodeFirst = depth["node "+n.Name] < depth["net "+a.Network]
			if a.Addr.IsValid() {
				e.addr = a.Addr.String()
			}
			all = append(all, e)
		}
	}
	return all
}

// depths says how far each node and network is from the clients, counted over
// nodes and networks alternately. What no client reaches comes first, too.
func depths(l *Lab) map[string]int {
	neighbours := make(map[string][]string)
	var all, front []string
	target := make(map[string]bool)
	for i := range l.Nodes {
		n := &l.Nodes[i]
		id := "node " + n.Name
		all = append(all, id)
		target[id] = n.Kind.Target
		for _, a := range n.On {
			net := "net " + a.Network
			neighbours[id] = append(neighbours[id], net)
			neighbours[net] = append(neighbours[net], id)
		}
		if n.Kind.isClient() {
			front = append(front, id)
		}
	}
	depth := make(map[string]int)
	visit := func(front []string) {
		for _, id := range front {
			depth[id] = 0
		}
		for len(front) > 0 {
			id := front[0]
			front = front[1:]
			for _, next := range neighbours[id] {
				if _, seen := depth[next]; !seen {
					depth[next] = depth[id] + 1
					front = append(front, next)
				}
			}
		}
	}
	visit(front)
	for _, id := range all {
		if _, seen := depth[id]; !seen {
			visit([]string{id})
		}
	}
	for _, n := range l.Networks {
		if _, seen := depth["net "+n.Name]; !seen {
			depth["net "+n.Name] = 1
		}
	}
	return depth
}

// Measures of the picture, in pixels.
const (
	svgNodeWidth  = 150
	svgNodeHeight = 46
	svgToxicLine  = 16
	svgNetWidth   = 118
	svgNetHeight  = 44
	svgColumnGap  = 46
	svgRowGap     = 28
	svgMargin     = 24
	svgTitle      = 52
)

// box is something with a place in the picture.
type box struct {
	id            string
	title         string
	lines         []string
	network       bool
	x, y, w, h    int
	column, order int
}

// SVG draws a lab as one self-contained picture, left to right from the clients
// to the servers, in light and dark.
func SVG(l *Lab, w io.Writer) error {
	boxes, width, height := layout(l)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString("Lab "+l.Name))
	b.WriteString(svgStyle)
	fmt.Fprintf(&b, `<rect class="paper" width="%d" height="%d"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text class="lab" x="%d" y="%d">%s</text>`+"\n", svgMargin, svgMargin+8, html.EscapeString(l.Name))
	fmt.Fprintf(&b, `<text class="small" x="%d" y="%d">%s</text>`+"\n", svgMargin, svgMargin+26, html.EscapeString(l.Summary))
	at := make(map[string]*box)
	for i := range boxes {
		at[boxes[i].id] = &boxes[i]
	}
	for _, e := range edges(l) {
		drawEdge(&b, at["node "+e.node], at["net "+e.network])
	}
	for i := range boxes {
		drawBox(&b, &boxes[i])
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

const svgStyle = `<style>
  text { font: 13px system-ui, sans-serif; fill: #1b1f24; }
  .lab { font-size: 18px; font-weight: 600; }
  .name { font-weight: 600; text-anchor: middle; }
  .small { font-size: 11.5px; fill: #57606a; }
  .mid { text-anchor: middle; }
  .toxic { font-size: 11px; fill: #b3261e; text-anchor: middle; }
  .paper { fill: #ffffff; }
  .node { fill: #f6f8fa; stroke: #57606a; }
  .net { fill: #ddf4ff; stroke: #0969da; }
  .link { stroke: #8c959f; stroke-width: 1.5; fill: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .toxic { fill: #ff8f85; }
    .paper { fill: #0d1117; } .node { fill: #161b22; stroke: #9198a1; } .net { fill: #0c2d6b; stroke: #4493f8; } .link { stroke: #6e7681; }
  }
</style>
`

// layout places networks and nodes in columns by their distance from the clients.
func layout(l *Lab) (boxes []box, width, height int) {
	depth := depths(l)
	columns := make(map[int][]*box)
	add := func(b box) {
		b.column = depth[b.id]
		boxes = append(boxes, b)
	}
	for i := range l.Nodes {
		n := &l.Nodes[i]
		b := box{id: "node " + n.Name, title: n.Name, w: svgNodeWidth, h: svgNodeHeight}
		b.lines = append(b.lines, n.Kind.Name)
		b.lines = append(b.lines, toxicTexts(l, n.Name)...)
		b.h += svgToxicLine * (len(b.lines) - 1)
		add(b)
	}
	for _, n := range l.Networks {
		add(box{id: "net " + n.Name, title: n.Name, lines: []string{n.Prefix.String()}, network: true, w: svgNetWidth, h: svgNetHeight})
	}
	last := 0
	for i := range boxes {
		columns[boxes[i].column] = append(columns[boxes[i].column], &boxes[i])
		last = max(last, boxes[i].column)
	}
	tallest := 0
	for _, column := range columns {
		tallest = max(tallest, columnHeight(column))
	}
	x := svgMargin
	for c := 0; c <= last; c++ {
		y := svgMargin + svgTitle + (tallest-columnHeight(columns[c]))/2
		widest := 0
		for _, b := range columns[c] {
			b.x, b.y = x, y
			y += b.h + svgRowGap
			widest = max(widest, b.w)
		}
		for _, b := range columns[c] {
			b.x += (widest - b.w) / 2
		}
		if widest > 0 {
			x += widest + svgColumnGap
		}
	}
	// The summary is text of unknown width; about 6.2 pixels a letter is on the safe side.
	width = max(x-svgColumnGap+svgMargin, svgMargin*2+len([]rune(l.Summary))*62/10)
	return boxes, width, svgMargin*2 + svgTitle + tallest
}

func columnHeight(column []*box) int {
	h := 0
	for _, b := range column {
		h += b.h + svgRowGap
	}
	return max(0, h-svgRowGap)
}

// drawEdge joins the facing sides of a node and a network with a curve.
func drawEdge(b *strings.Builder, node, network *box) {
	pair := []*box{node, network}
	slices.SortFunc(pair, func(p, q *box) int { return p.x - q.x })
	x1, y1 := pair[0].x+pair[0].w, pair[0].y+pair[0].h/2
	x2, y2 := pair[1].x, pair[1].y+pair[1].h/2
	bend := max(svgColumnGap/2, (x2-x1)/2)
	fmt.Fprintf(b, `<path class="link" d="M%d %d C%d %d %d %d %d %d"/>`+"\n", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2)
}

func drawBox(b *strings.Builder, x *box) {
	class, radius := "node", 6
	if x.network {
		class, radius = "net", x.h/2
	}
	middle := x.x + x.w/2
	fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`+"\n", class, x.x, x.y, x.w, x.h, radius)
	fmt.Fprintf(b, `<text class="name" x="%d" y="%d">%s</text>`+"\n", middle, x.y+20, html.EscapeString(x.title))
	for i, line := range x.lines {
		style := "small mid"
		if i > 0 {
			style = "toxic"
		}
		fmt.Fprintf(b, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", style, middle, x.y+36+i*svgToxicLine, html.EscapeString(line))
	}
}
