package topology

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference returns the reference of lab files in Markdown: every kind, every
// type of toxic and the keys of a strategy, from the registry.
func Reference(reg *Registry) string {
	var b strings.Builder
	b.WriteString("## A lab file\n")
	writeKeys(&b, labKeys{})
	b.WriteString("\n## Kinds of node\n\nEvery node has `kind` and `on`, the networks that it is on: `[office, dmz]`, or with an address `{ office: 10.20.0.5 }`.\n")
	for _, k := range reg.Kinds {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", k.Name, k.Summary)
		writeKeys(&b, k.Settings())
	}
	b.WriteString("\n## Toxics\n\nEvery toxic has these keys, and the attributes of its type.\n")
	writeKeys(&b, toxicKeys{Stream: "downstream", Toxicity: 1})
	for _, t := range reg.Toxics {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", t.Name, t.Summary)
		writeKeys(&b, t.Attributes())
	}
	if reg.NewStrategy != nil {
		b.WriteString("\n## Strategies\n\nBuilt in: " + strings.Join(reg.Strategies, ", ") + ". A lab or a scenario defines its own under `strategies:` by name.\n")
		writeKeys(&b, reg.NewStrategy())
	}
	return b.String()
}

// writeKeys writes a table of keys; those of an inner struct follow with its name before them.
func writeKeys(b *strings.Builder, v any) {
	rows := keyRows("", v)
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n| Key | Takes | Default | |\n|---|---|---|---|\n")
	for _, r := range rows {
		b.WriteString(r)
	}
}

func keyRows(prefix string, v any) []string {
	var rows []string
	for _, k := range Keys(v) {
		takes := takes(k.Type, k.Enum)
		if limits := k.limits(); limits != "" {
			takes += " (" + limits + ")"
		}
		def := "-"
		switch {
		case k.Required:
			def = "required"
		case !isZero(k.Value) && k.Type.Kind() != reflect.Pointer && k.Type.Kind() != reflect.Struct:
			def = fmt.Sprint(defaultValue(k))
		}
		rows = append(rows, fmt.Sprintf("| `%s%s` | %s | %s | %s |\n", prefix, k.Name, cell(takes), cell(def), cell(k.Doc)))
		inner := k.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[Value]() && len(Keys(reflect.New(inner).Interface())) > 0 {
			rows = append(rows, keyRows(prefix+k.Name+".", reflect.New(inner).Interface())...)
		}
	}
	return rows
}

// takes says in a word or two what a key takes.
func takes(t reflect.Type, enum []string) string {
	if len(enum) > 0 && t.Kind() == reflect.String {
		return strings.Join(enum, ", ")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return takes(t.Elem(), enum)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "a list"
		}
		return takes(t.Elem(), enum) + ", or a list"
	case reflect.Map:
		return "a map"
	}
	if t == reflect.TypeFor[Value]() {
		return "see below"
	}
	what, _, _ := strings.Cut(describe(t), ", such as")
	return what
}

// cell keeps a text inside its cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}
