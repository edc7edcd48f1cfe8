package topology

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxDocument bounds the size of a file; a lab of a thousand nodes is a tenth of it.
const maxDocument = 1 << 20

// Document is a YAML file that remembers where everything stands, and collects
// what is wrong with it. It is not safe for concurrent use.
type Document struct {
	file     string
	lines    []string
	root     *Value
	problems Problems
}

// ParseDocument reads the structure of a file. file is the name that problems
// show. The error is of type [Problems]; it is nil as long as there is something
// to go on with: what is wrong with single keys and values is in [Document.Err],
// with what the reader finds wrong itself.
func ParseDocument(file string, src []byte) (*Document, error) {
	// Editors of another system end lines in their own way and mark UTF-8 at the start.
	text := strings.ReplaceAll(strings.TrimPrefix(string(src), "\ufeff"), "\r\n", "\n")
	d := &Document{file: file, lines: strings.Split(text, "\n")}
	if !d.checkText(text) {
		return nil, d.Err()
	}
	parsed := d.parse(text)
	if parsed == nil {
		return nil, d.Err()
	}
	var body ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			line, column := position(doc.Body)
			d.report(line, column, 1, "split it into files of one document each", "the file holds more than one YAML document")
			break
		}
		body = doc.Body
	}
	if body == nil {
		d.report(1, 1, 1, "", "the file is empty")
		return nil, d.Err()
	}
	d.root = d.value("", nil, body)
	return d, nil
}

// checkText says whether the file is text of a bearable size.
func (d *Document) checkText(text string) bool {
	if len(text) > maxDocument {
		d.lines = nil
		d.report(1, 1, 1, "", "the file is larger than %d MiB", maxDocument>>20)
		return false
	}
	if !utf8.ValidString(text) {
		d.lines = nil
		d.report(1, 1, 1, "save it as UTF-8", "the file is not text in UTF-8")
		return false
	}
	for i, line := range d.lines {
		if at := strings.IndexFunc(line, isControl); at >= 0 {
			r, _ := utf8.DecodeRuneInString(line[at:])
			d.report(i+1, utf8.RuneCountInString(line[:at])+1, 1, "take it out", "the file holds a control character, %U", r)
			return false
		}
	}
	return true
}

// isControl says whether YAML forbids a character (YAML 1.2.2, section 5.1).
func isControl(r rune) bool {
	return r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0 && r != 0x85)
}

// maxDepth bounds nesting; labs need five.
const maxDepth = 50

// deepest returns the first token that is nested more than maxDepth deep on a
// line of its own making: brackets, and dashes one after another. Counting before
// parsing keeps a hostile file from exhausting the parser's stack. (Nesting by
// indentation needs a file that grows with the square of the depth.)
func deepest(tokens token.Tokens) *token.Token {
	brackets, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			dashes, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets = max(0, brackets-1)
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		}
		if brackets+dashes > maxDepth {
			return t
		}
	}
	return nil
}

// Root is the whole document.
func (d *Document) Root() *Value { return d.root }

// Decode reads the document into the struct that v points to, see [Value.Decode].
func (d *Document) Decode(v any) { d.root.Decode(v) }

// Problemf reports what is wrong at a path such as "nodes.alice.via[0]": at the
// value there, or at the nearest key above it that the file has. hint may be empty.
func (d *Document) Problemf(path, hint, format string, args ...any) {
	v := d.find(path)
	// The one value of a list that is written without brackets is its [0].
	if v.path != path && (v.kind != ScalarValue || path != v.path+"[0]") {
		v = v.label()
	}
	v.Problemf(hint, format, args...)
}

// Has says whether the file has a value at the path.
func (d *Document) Has(path string) bool { return d.find(path).path == path }

// find returns the value at the path, or the nearest one above it.
func (d *Document) find(path string) *Value {
	at := d.root
	for at.path != path {
		next := at.towards(path)
		if next == nil {
			break
		}
		at = next
	}
	return at
}

// Err returns every problem found so far as [Problems], or nil.
func (d *Document) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	return d.problems.sorted()
}

func (d *Document) report(line, column, width int, hint, format string, args ...any) {
	d.problems = append(d.problems, d.problem(line, column, width, hint, format, args...))
}

// problem is one at a place of the file, not reported yet.
func (d *Document) problem(line, column, width int, hint, format string, args ...any) Problem {
	p := Problem{File: d.file, Line: max(1, line), Column: max(1, column), Message: fmt.Sprintf(format, args...), Hint: hint}
	if p.Line <= len(d.lines) {
		p.Source = strings.TrimRight(d.lines[p.Line-1], " \t")
	}
	// A value may go on in the next line, and a missing one has no width at all.
	p.Width = max(1, min(width, utf8.RuneCountInString(p.Source)-p.Column+1))
	return p
}
