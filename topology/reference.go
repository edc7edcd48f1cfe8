package topology

import (
	"cmp"
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
	writeConditions(&b, reg)
	b.WriteString("\n## Kinds of node\n\nEvery node has `kind` and `on`, the networks that it is on: `[office, dmz]`, or with an address `{ office: 10.20.0.5 }`.\n")
	for _, k := range reg.Kinds {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", k.Name, k.Summary)
		writeKeys(&b, k.Settings())
		if names := reg.presetsOf(k.Name); len(names) > 0 {
			fmt.Fprintf(&b, "\n`%s`: %s There is: %s.\n", presetKey, presetDoc, strings.Join(names, ", "))
		}
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

// writeConditions writes what conditions of links there are.
func writeConditions(b *strings.Builder, reg *Registry) {
	if reg.NewConditions == nil {
		return
	}
	b.WriteString("\n## Conditions of a link\n\n" +
		"They act on every packet, the handshake included. A network has them for what passes between any two of its nodes, each way: " +
		"`networks: { wifi: { range: 192.168.1.0/24, delay: 20ms, loss: 1% } }`. A node's place on a network has them, beside the network's, for what arrives there and for what leaves it: " +
		"`on: { wifi: { addr: 192.168.1.7, delay: 300ms } }`. `wslab link` changes them while the lab runs.\n")
	writeKeys(b, reg.NewConditions())
	if len(reg.Profiles) == 0 {
		return
	}
	fmt.Fprintf(b, "\n`%s`: %s\n\n| Profile | | Conditions | From |\n|---|---|---|---|\n", profileKey, profileDoc)
	for _, p := range reg.Profiles {
		fmt.Fprintf(b, "| `%s` | %s | %v | %s |\n", p.Name, cell(p.Summary), p.New(), cell(strings.Join(p.Sources, "; ")))
	}
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
		def := cmp.Or(k.Default(), "-")
		if k.Required {
			def = "required"
		}
		rows = append(rows, fmt.Sprintf("| `%s%s` | %s | %s | %s |\n", prefix, k.Name, cell(k.Takes()), cell(def), cell(k.Doc)))
		inner, name := k.Type, k.Name
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
			inner, name = inner.Elem(), name+"[]"
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[Value]() {
			of := reflect.New(inner).Interface()
			if inner == k.Type {
				of = k.Value // with its defaults
			}
			rows = append(rows, keyRows(prefix+name+".", of)...)
		}
	}
	return rows
}

// Takes says in a few words what the key takes, and in which range.
func (k Key) Takes() string {
	takes := takes(k.Type, k.Enum)
	if limits := k.limits(); limits != "" {
		takes += " (" + limits + ")"
	}
	return takes
}

// Default is what the key is where it is not there, "" if that is nothing.
func (k Key) Default() string {
	if k.Required || isZero(k.Value) || k.Type.Kind() == reflect.Pointer || k.Type.Kind() == reflect.Struct {
		return ""
	}
	return fmt.Sprint(defaultValue(k))
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
