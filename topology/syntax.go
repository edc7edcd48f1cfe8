package topology

import (
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// parse calls the YAML parser. It returns nil when it has reported why the text
// is no YAML; a panic of the parser is a problem of the file, not of the program.
func (d *Document) parse(text string) (file *ast.File) {
	defer func() {
		if r := recover(); r != nil {
			d.report(1, 1, 1, "", "the file is not valid YAML")
			file = nil
		}
	}()
	tokens := lexer.Tokenize(text)
	if t := deepest(tokens); t != nil {
		d.report(t.Position.Line, t.Position.Column, 1, "", "lists and maps are nested more than %d deep", maxDepth)
		return nil
	}
	// Keys that stand twice are reported by us, with all the rest.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file
	}
	line, column, message := 1, 1, err.Error()
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		message = syntax.Message
		if syntax.Token != nil && syntax.Token.Position != nil {
			line, column = syntax.Token.Position.Line, syntax.Token.Position.Column
		}
	}
	ours, hint := syntaxWords(message)
	d.report(line, column, 1, hint, "not valid YAML: %s", ours)
	return nil
}

// syntaxMessages are what the parser says, by a part of it, and how we say it.
var syntaxMessages = []struct{ theirs, ours, hint string }{
	{"found character '\t'", "a tab cannot indent a line", "use spaces"},
	{"cannot start any token", "a value cannot begin with this character", "put the value in quotes"},
	{"is a reserved character", "a value cannot begin with this character", "put the value in quotes"},
	{"unexpected directive", "a value cannot begin with this character", "put the value in quotes"},
	{"sequence end token ']' not found", "the list that begins here has no end", "close it with ]"},
	{"flow mapping end token '}'", "the map that begins here has no end", "close it with }"},
	{"',' or ']' must be specified", "the list before this has no end, or a comma is missing", "close it with ]"},
	{"',' or '}' must be specified", "the map before this has no end, or a comma is missing", "close it with }"},
	{"'[' character corresponding", "there is no list to close here", "take the ] out"},
	{"'{' character corresponding", "there is no map to close here", "take the } out"},
	{"end character of double-quoted", "the text that begins here has no end", `close it with "`},
	{"end character of single-quoted", "the text that begins here has no end", "close it with '"},
	{"mapping value is not allowed", "there are two keys on this line", "put the second on a line of its own, or a value with a colon in quotes"},
	{"implicit line break", "a key has to be on one line with its colon", ""},
	{"unexpected key name", "a key has to be on one line with its colon", "KEY: VALUE"},
	{"non-map value", "this has no key", "KEY: VALUE"},
	{"invalid key", "a key has to be a plain word", ""},
	{"undefined map key", "a key has to be a plain word", ""},
	{"block sequence entries", "a list cannot begin here", "begin it on the next line, or write [ ... ]"},
	{"value is not allowed in this context", "this does not belong here", "keys of one map begin in the same column"},
}

// syntaxWords returns our words for what the parser says, and what to do.
func syntaxWords(message string) (ours, hint string) {
	for _, m := range syntaxMessages {
		if strings.Contains(message, m.theirs) {
			return m.ours, m.hint
		}
	}
	line, _, _ := strings.Cut(message, "\n")
	return line, ""
}
