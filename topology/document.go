package topology

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxDocument bounds the size of a file; a lab of a thousand nodes is a tenth of it.
const maxDocument = 4 << 20

// Document is a YAML file that remembers where everything stands, and collects
// what is wrong with it. It is not safe for concurrent use.
type Document struct {
	file     string
	lines    []string
	root     *Value
	problems Problems
}

// ParseDocument reads the structure of a file. file is the name that problems
// show. The error is of type [Problems].
func ParseDocument(file string, src []byte) (*Document, error) {
	d := &Document{file: file, lines: strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n")}
	if len(src) > maxDocument {
		d.report(1, 1, 1, "", "the file is larger than %d MiB", maxDocument>>20)
		return nil, d.Err()
	}
	if !utf8.Valid(src) {
		d.report(1, 1, 1, "save it as UTF-8", "the file is not text in UTF-8")
		return nil, d.Err()
	}
	if line, column := deepest(src); line != 0 {
		d.report(line, column, 1, "", "lists and maps are nested more than %d deep", maxDepth)
		return nil, d.Err()
	}
	parsed, err := d.parse(src)
	if err != nil {
		return nil, err
	}
	var body ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			line, column := position(doc.Body)
			d.report(line, column, 1, "split it into files of one document each", "the file holds more than one YAML document")
			return nil, d.Err()
		}
		body = doc.Body
	}
	if body == nil {
		d.report(1, 1, 1, "", "the file is empty")
		return nil, d.Err()
	}
	d.root = d.value("", body)
	if len(d.problems) > 0 {
		return nil, d.Err()
	}
	return d, nil
}

// parse calls the YAML parser. A panic of it is a problem of the file, not of the program.
func (d *Document) parse(src []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			d.report(1, 1, 1, "", "the file is not valid YAML")
			err = d.Err()
		}
	}()
	file, err = parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file, nil
	}
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) && syntax.Token != nil {
		p := syntax.Token.Position
		d.report(p.Line, p.Column, 1, "", "not valid YAML: %s", syntax.Message)
	} else {
		d.report(1, 1, 1, "", "not valid YAML: %s", firstLine(err.Error()))
	}
	return nil, d.Err()
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// maxDepth bounds nesting; labs need five.
const maxDepth = 50

// deepest returns where brackets are nested more than maxDepth deep, or 0, 0.
// Counting before parsing keeps a hostile file from exhausting the parser's stack.
func deepest(src []byte) (line, column int) {
	depth := 0
	line, column = 1, 0
	for _, c := range src {
		column++
		switch c {
		case '\n':
			line, column = line+1, 0
		case '[', '{':
			if depth++; depth > maxDepth {
				return line, column
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return 0, 0
}

// Root is the whole document.
func (d *Document) Root() *Value { return d.root }

// Decode reads the document into the struct that v points to, see [Value.Decode].
func (d *Document) Decode(v any) { d.root.Decode(v) }

// Problemf reports what is wrong at a path such as "nodes.alice.via[0]": at the
// value there, or at the nearest key above it that the file has. hint may be empty.
func (d *Document) Problemf(path, hint, format string, args ...any) {
	d.find(path).Problemf(hint, format, args...)
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
	p := Problem{File: d.file, Line: max(1, line), Column: max(1, column), Width: max(1, width),
		Message: fmt.Sprintf(format, args...), Hint: hint}
	if p.Line <= len(d.lines) {
		p.Source = strings.TrimRight(d.lines[p.Line-1], " \t\r")
	}
	d.problems = append(d.problems, p)
}
