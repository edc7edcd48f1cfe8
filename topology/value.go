package topology

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// ValueKind is what a value of a file is.
type ValueKind int

// The kinds of values.
const (
	NullValue ValueKind = iota
	ScalarValue
	ListValue
	MapValue
)

// String names the kind as a person would.
func (k ValueKind) String() string {
	return [...]string{"nothing", "a single value", "a list", "a map"}[k]
}

// Value is a value of a file with its place.
type Value struct {
	doc          *Document
	path         string
	line, column int
	width        int
	kind         ValueKind
	text         string
	quoted       bool
	list         []*Value
	pairs        []Pair
	// key that the value belongs to, nil for the items of a list and the root.
	key *Value
	// broken says that what is wrong with the value is known already: whoever
	// reads it goes on, and nothing more is said of it.
	broken bool
}

// Pair is a key of a map with its value.
type Pair struct{ Key, Value *Value }

// Kind says what the value is.
func (v *Value) Kind() ValueKind { return v.kind }

// Text of a scalar as it stands in the file, quotes taken off.
func (v *Value) Text() string { return v.text }

// List returns the items of a list.
func (v *Value) List() []*Value { return v.list }

// Pairs returns the entries of a map, in the order of the file.
func (v *Value) Pairs() []Pair { return v.pairs }

// String writes the value as YAML on one line.
func (v *Value) String() string {
	switch v.kind {
	case ListValue:
		items := make([]string, len(v.list))
		for i, item := range v.list {
			items[i] = item.String()
		}
		return "[" + strings.Join(items, ", ") + "]"
	case MapValue:
		entries := make([]string, len(v.pairs))
		for i, p := range v.pairs {
			entries[i] = p.Key.text + ": " + p.Value.String()
		}
		return "{ " + strings.Join(entries, ", ") + " }"
	case NullValue:
		return "null"
	}
	if v.quoted {
		return "'" + strings.ReplaceAll(v.text, "'", "''") + "'"
	}
	return v.text
}

// Path from the top of the file, such as "nodes.alice.via[0]".
func (v *Value) Path() string { return v.path }

// Get returns the value of a key of a map, or nil.
func (v *Value) Get(key string) *Value {
	for _, p := range v.pairs {
		if p.Key.text == key {
			return p.Value
		}
	}
	return nil
}

// Problemf reports what is wrong with the value. hint may be empty. Nothing is
// added about a value that is no value at all, such as an alias.
func (v *Value) Problemf(hint, format string, args ...any) {
	if v.broken {
		return
	}
	v.doc.report(v.line, v.column, v.width, hint, format, args...)
}

// breakf reports what is wrong with the value, and that nothing more can be said of it.
func (v *Value) breakf(hint, format string, args ...any) {
	v.Problemf(hint, format, args...)
	v.broken = true
}

// label is what names the value in the file: its key if it has one.
func (v *Value) label() *Value {
	if v.key != nil && !v.broken {
		return v.key
	}
	return v
}

// towards returns the child whose path is, or is above, the given one.
func (v *Value) towards(path string) *Value {
	for _, c := range v.list {
		if isAbove(c.path, path) {
			return c
		}
	}
	for _, p := range v.pairs {
		if isAbove(p.Value.path, path) {
			return p.Value
		}
	}
	return nil
}

func isAbove(above, path string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// value turns a node of the YAML parser into a Value. key is nil where there is none.
func (d *Document) value(path string, key *Value, n ast.Node) *Value {
	line, column := position(n)
	v := &Value{doc: d, path: path, line: line, column: column, width: 1, key: key}
	switch n := n.(type) {
	case *ast.NullNode:
		if t := n.GetToken(); t.Type == token.NullType { // it is written, not left out
			v.width = max(1, utf8.RuneCountInString(t.Value))
		}
	case *ast.MappingNode:
		v.kind = MapValue
		d.pairs(v, n.Values)
	case *ast.MappingValueNode:
		v.kind = MapValue
		d.pairs(v, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		v.kind = ListValue
		for i, item := range n.Values {
			v.list = append(v.list, d.value(fmt.Sprintf("%s[%d]", path, i), nil, item))
		}
	case *ast.AnchorNode:
		v.Problemf("leave it out, and write the value out where it is needed again", "anchors are not read here")
		return d.value(path, key, n.Value)
	case *ast.TagNode:
		v.Problemf("leave it out", "tags are not read here")
		return d.value(path, key, n.Value)
	case *ast.AliasNode:
		v.breakf("write the value out", "aliases are not read here")
	case *ast.LiteralNode:
		v.kind, v.text, v.quoted = ScalarValue, n.Value.Value, true
	case ast.ScalarNode:
		v.kind = ScalarValue
		t := n.GetToken()
		v.text = t.Value
		v.quoted = t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
		v.width = utf8.RuneCountInString(t.Value)
		if v.quoted {
			v.width += 2
		}
	default:
		v.breakf("", "this is not read here")
	}
	return v
}

// pairs adds the entries of a map.
func (d *Document) pairs(to *Value, entries []*ast.MappingValueNode) {
	seen := make(map[string]bool, len(entries))
	for _, m := range entries {
		d.pair(to, m, seen)
	}
}

// pair adds an entry of a map that has the keys in seen already.
func (d *Document) pair(to *Value, m *ast.MappingValueNode, seen map[string]bool) {
	line, column := position(m.Key)
	key := &Value{doc: d, line: line, column: column, width: 1, kind: ScalarValue}
	if _, merge := m.Key.(*ast.MergeKeyNode); merge {
		key.width = 2
		key.Problemf("write the keys out", "merge keys are not read here")
		to.broken = true // what the map lacks may be in the other one
		return
	}
	scalar, ok := m.Key.(ast.ScalarNode)
	if !ok {
		key.Problemf("", "a key has to be a plain word")
		return
	}
	key.text = scalar.GetToken().Value
	key.width = max(1, utf8.RuneCountInString(key.text))
	path := key.text
	if to.path != "" {
		path = to.path + "." + key.text
	}
	key.path = path
	if seen[key.text] {
		key.Problemf("keep one of them", "%q stands here a second time", key.text)
		return
	}
	seen[key.text] = true
	value := d.value(path, key, m.Value)
	if value.kind == NullValue && value.line == 0 {
		value.line, value.column = key.line, key.column
	}
	to.pairs = append(to.pairs, Pair{Key: key, Value: value})
}

// position returns where a node begins, counted in characters from 1.
func position(n ast.Node) (line, column int) {
	switch m := n.(type) {
	case *ast.MappingNode:
		// A map without braces has the token of its first colon.
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return position(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(m.Key)
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return 0, 0
	}
	return t.Position.Line, t.Position.Column
}
