package topology

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// Measures of the picture, in pixels.
const (
	svgNodeWidth  = 132
	svgNodeHeight = 46
	svgToxicLine  = 16
	svgNetWidth   = 112
	svgNetHeight  = 44
	svgColumnGap  = 56
	svgRowGap     = 28
	svgMargin     = 24
	svgTitle      = 52
	svgLegend     = 30
	svgPort       = 20
	// Widths of a letter, on the safe side: the font is the reader's.
	svgBoldLetter  = 9
	svgSmallLetter = 7
)

// box is something with a place in the picture.
type box struct {
	id         string
	title      string
	lines      []string
	class      string
	network    bool
	x, y, w, h int
	column     int
	// edges that leave on the left and on the right, to be spread over the side.
	sides [2]int
}

func (b *box) middle() int { return b.y + b.h/2 }

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
	drawEdges(&b, edges(l), at)
	for i := range boxes {
		drawBox(&b, &boxes[i])
	}
	drawLegend(&b, l, height-svgMargin)
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
  .end { text-anchor: end; }
  .addr { font-size: 10.5px; fill: #57606a; }
  .toxic { font-size: 11px; fill: #b3261e; text-anchor: middle; }
  .paper { fill: #ffffff; }
  .way { fill: #f6f8fa; stroke: #57606a; }
  .client { fill: #dafbe1; stroke: #1a7f37; }
  .target { fill: #fbefff; stroke: #8250df; }
  .net { fill: #ddf4ff; stroke: #0969da; }
  .ends { fill: none; stroke: #57606a; }
  .link { stroke: #8c959f; stroke-width: 1.5; fill: none; }
  .head { fill: #8c959f; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small, .addr { fill: #9198a1; } .toxic { fill: #ff8f85; }
    .paper { fill: #0d1117; } .way { fill: #161b22; stroke: #9198a1; } .ends { stroke: #9198a1; }
    .client { fill: #0f2d1a; stroke: #3fb950; } .target { fill: #271a3d; stroke: #ab7df8; }
    .net { fill: #0c2d6b; stroke: #4493f8; } .link { stroke: #6e7681; } .head { fill: #6e7681; }
  }
</style>
<defs><marker id="out" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>
`

// boxesOf makes a box for each node and each network, without a place.
func boxesOf(l *Lab) []box {
	var boxes []box
	for i := range l.Nodes {
		n := &l.Nodes[i]
		b := box{id: "node " + n.Name, title: n.Name, class: n.role(), w: svgNodeWidth, h: svgNodeHeight}
		if n.ends() {
			b.class += " ends"
		}
		b.lines = append([]string{n.what()}, toxicTexts(l, n.Name)...)
		b.h = max(b.h+svgToxicLine*(len(b.lines)-1), svgPort*len(n.On))
		boxes = append(boxes, b)
	}
	for _, n := range l.Networks {
		boxes = append(boxes, box{id: "net " + n.Name, title: n.Name, lines: []string{n.Prefix.String()}, class: "net", network: true, w: svgNetWidth, h: svgNetHeight})
	}
	for i := range boxes {
		b := &boxes[i]
		b.w = max(b.w, 24+svgBoldLetter*len(b.title))
		for _, line := range b.lines {
			b.w = max(b.w, 20+svgSmallLetter*len(line))
		}
	}
	return boxes
}

// layout places networks and nodes in columns by their distance from the clients.
func layout(l *Lab) (boxes []box, width, height int) {
	boxes = boxesOf(l)
	depth := depths(l)
	columns := make(map[int][]*box)
	last, tallest := 0, 0
	for i := range boxes {
		b := &boxes[i]
		b.column = depth[b.id]
		columns[b.column] = append(columns[b.column], b)
		last = max(last, b.column)
	}
	for _, column := range columns {
		tallest = max(tallest, columnHeight(column))
	}
	beside := neighboursOf(l, boxes)
	x := svgMargin
	for c := 0; c <= last; c++ {
		column := columns[c]
		if c > 0 {
			// Beside what they are joined to, so that few lines cross.
			slices.SortStableFunc(column, func(p, q *box) int { return heightOf(beside[p.id], c) - heightOf(beside[q.id], c) })
		}
		y := svgMargin + svgTitle + (tallest-columnHeight(column))/2
		widest := 0
		for _, b := range column {
			b.x, b.y = x, y
			y += b.h + svgRowGap
			widest = max(widest, b.w)
		}
		for _, b := range column {
			b.x += (widest - b.w) / 2
		}
		if widest > 0 {
			x += widest + svgColumnGap
		}
	}
	width = max(x-svgColumnGap+svgMargin, svgMargin*2+svgSmallLetter*len([]rune(l.Summary)), svgMargin*2+svgSmallLetter*len(strings.Join(legend(l), "   ")))
	height = svgMargin*2 + svgTitle + tallest
	if len(legend(l)) > 0 {
		height += svgLegend
	}
	return boxes, width, height
}

func columnHeight(column []*box) int {
	h := 0
	for _, b := range column {
		h += b.h + svgRowGap
	}
	return max(0, h-svgRowGap)
}

// neighboursOf says what each box is joined to.
func neighboursOf(l *Lab, boxes []box) map[string][]*box {
	at := make(map[string]*box)
	for i := range boxes {
		at[boxes[i].id] = &boxes[i]
	}
	beside := make(map[string][]*box)
	for _, n := range l.Nodes {
		for _, a := range n.On {
			node, network := at["node "+n.Name], at["net "+a.Network]
			beside[node.id] = append(beside[node.id], network)
			beside[network.id] = append(beside[network.id], node)
		}
	}
	return beside
}

// heightOf is how far down the boxes left of a column are, on average; very far where there are none.
func heightOf(boxes []*box, column int) int {
	sum, count := 0, 0
	for _, b := range boxes {
		if b.column < column {
			sum, count = sum+b.middle(), count+1
		}
	}
	if count == 0 {
		return math.MaxInt32
	}
	return sum / count
}

// side is 0 if the network is left of the node, 1 if it is right of it.
func side(node, network *box) int {
	if network.column < node.column {
		return 0
	}
	return 1
}

// drawEdges joins the facing sides of nodes and networks with curves. What
// leaves a node on one side is spread over it, from top to bottom as the networks are.
func drawEdges(b *strings.Builder, all []edge, at map[string]*box) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(p, q edge) int { return at["net "+p.network].y - at["net "+q.network].y })
	count := make(map[string][2]int)
	for _, e := range all {
		n := count[e.node]
		n[side(at["node "+e.node], at["net "+e.network])]++
		count[e.node] = n
	}
	for _, e := range all {
		node, network := at["node "+e.node], at["net "+e.network]
		s := side(node, network)
		node.sides[s]++
		y := node.y + node.h*node.sides[s]/(count[e.node][s]+1)
		from, to, bend, anchor := node.x+node.w, network.x, 1, ""
		if s == 0 {
			from, to, bend, anchor = node.x, network.x+network.w, -1, " end"
		}
		bend *= max(svgColumnGap/2, max(to-from, from-to)/2)
		head := ""
		if e.outside {
			head = ` marker-end="url(#out)"`
		}
		fmt.Fprintf(b, `<path class="link" d="M%d %d C%d %d %d %d %d %d"%s/>`+"\n", from, y, from+bend, y, to-bend, network.middle(), to, network.middle(), head)
		label := y - 4
		if k, n := node.sides[s], count[e.node][s]; n > 1 && k == n || n == 1 && network.middle() < y {
			label = y + 12 // under the last line, and under one that goes up
		}
		fmt.Fprintf(b, `<text class="addr%s" x="%d" y="%d">%s</text>`+"\n", anchor, from+4-8*(1-s), label, html.EscapeString(e.addr))
	}
}

func drawBox(b *strings.Builder, x *box) {
	radius := 6
	if x.network {
		radius = x.h / 2
	}
	class, ends := strings.CutSuffix(x.class, " ends")
	fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`+"\n", class, x.x, x.y, x.w, x.h, radius)
	if ends {
		fmt.Fprintf(b, `<path class="ends" d="M%d %dv%dM%d %dv%d"/>`+"\n", x.x+6, x.y, x.h, x.x+x.w-6, x.y, x.h)
	}
	middle := x.x + x.w/2
	fmt.Fprintf(b, `<text class="name" x="%d" y="%d">%s</text>`+"\n", middle, x.y+20, html.EscapeString(x.title))
	for i, line := range x.lines {
		style := "small mid"
		if i > 0 {
			style = "toxic"
		}
		fmt.Fprintf(b, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", style, middle, x.y+36+i*svgToxicLine, html.EscapeString(line))
	}
}

// legend says what the marks in the picture of this lab mean.
func legend(l *Lab) []string {
	var marks []string
	if slices.ContainsFunc(l.Nodes, func(n Node) bool { return n.ends() }) {
		marks = append(marks, "‖ ends connections and opens its own")
	}
	if slices.ContainsFunc(l.Nodes, func(n Node) bool { return n.Kind.OneWay }) {
		marks = append(marks, "→ hides what is behind it")
	}
	return marks
}

func drawLegend(b *strings.Builder, l *Lab, y int) {
	if marks := legend(l); len(marks) > 0 {
		fmt.Fprintf(b, `<text class="small" x="%d" y="%d">%s</text>`+"\n", svgMargin, y, html.EscapeString(strings.Join(marks, " \u00a0 \u00a0 ")))
	}
}
