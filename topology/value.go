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

// Problemf reports what is wrong with the value. hint may be empty.
func (v *Value) Problemf(hint, format string, args ...any) {
	v.doc.report(v.line, v.column, v.width, hint, format, args...)
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

// value turns a node of the YAML parser into a Value.
func (d *Document) value(path string, n ast.Node) *Value {
	line, column := position(n)
	v := &Value{doc: d, path: path, line: line, column: column, width: 1}
	switch n := n.(type) {
	case *ast.NullNode:
		v.width = max(1, utf8.RuneCountInString(n.GetToken().Value))
	case *ast.MappingNode:
		v.kind = MapValue
		for _, m := range n.Values {
			d.pair(v, m)
		}
	case *ast.MappingValueNode:
		v.kind = MapValue
		d.pair(v, n)
	case *ast.SequenceNode:
		v.kind = ListValue
		for i, item := range n.Values {
			v.list = append(v.list, d.value(fmt.Sprintf("%s[%d]", path, i), item))
		}
	case *ast.AnchorNode, *ast.AliasNode:
		v.Problemf("write the value out", "anchors and aliases are not read here")
	case *ast.TagNode:
		v.Problemf("leave it out", "tags are not read here")
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
		v.Problemf("", "this is not read here")
	}
	return v
}

// pair adds an entry of a map.
func (d *Document) pair(to *Value, m *ast.MappingValueNode) {
	line, column := position(m.Key)
	key := &Value{doc: d, line: line, column: column, width: 1, kind: ScalarValue}
	if _, merge := m.Key.(*ast.MergeKeyNode); merge {
		key.width = 2
		key.Problemf("write the keys out", "merge keys are not read here")
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
	if to.Get(key.text) != nil {
		key.Problemf("keep one of them", "%q stands here a second time", key.text)
		return
	}
	value := d.value(path, m.Value)
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
