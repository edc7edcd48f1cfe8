package topology

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

// durationPattern is what time.ParseDuration reads, without a sign.
const durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*$|^0$`

// schemaVersion is the draft that the schemas follow.
const schemaVersion = "https://json-schema.org/draft/2020-12/schema"

// Schema returns the JSON schema of lab files: the keys, kinds, toxics and
// strategies are those of the registry.
func Schema(reg *Registry) *jsonschema.Schema {
	s := StructSchema(labKeys{})
	s.Version = schemaVersion
	s.Title = "wslab lab"
	s.Description = "The topology of a lab: networks, nodes, and faults that are there from the start."
	name := &jsonschema.Schema{Pattern: namePattern.String()}
	s.Properties.Set("name", &jsonschema.Schema{Type: "string", Pattern: namePattern.String(), Description: docOf(labKeys{}, "name")})
	s.Properties.Set("networks", &jsonschema.Schema{
		Type: "object", PropertyNames: name, Description: docOf(labKeys{}, "networks"),
		AdditionalProperties: networkSchema(reg),
	})
	s.Properties.Set("nodes", &jsonschema.Schema{
		Type: "object", PropertyNames: name, Description: docOf(labKeys{}, "nodes"),
		AdditionalProperties: nodeSchema(reg),
	})
	s.Properties.Set("toxics", &jsonschema.Schema{Type: "array", Description: docOf(labKeys{}, "toxics"), Items: ToxicSchema(reg)})
	if reg.NewStrategy != nil {
		s.Properties.Set("strategies", &jsonschema.Schema{
			Type: "object", PropertyNames: name, Description: docOf(labKeys{}, "strategies"),
			AdditionalProperties: StructSchema(reg.NewStrategy()),
		})
	}
	return s
}

// nodeSchema is one of the kinds, told apart by `kind`.
func nodeSchema(reg *Registry) *jsonschema.Schema {
	node := &jsonschema.Schema{Type: "object", Required: []string{"kind", "on"}}
	for _, k := range reg.Kinds {
		s := StructSchema(k.Settings())
		s.Title, s.Description = k.Name, k.Summary
		s.Properties.Set("kind", &jsonschema.Schema{Const: k.Name, Description: k.Summary})
		s.Properties.Set("on", onSchema(reg))
		if names := reg.presetsOf(k.Name); len(names) > 0 {
			s.Properties.Set(presetKey, presetSchema(names))
			if len(s.Required) > 0 { // a preset gives what has to be there otherwise
				s.AnyOf = []*jsonschema.Schema{{Required: s.Required}, {Required: []string{presetKey}}}
				s.Required = nil
			}
		}
		s.Required = append([]string{"kind", "on"}, s.Required...)
		node.OneOf = append(node.OneOf, s)
	}
	return node
}

// presetSchema is one of the names.
func presetSchema(names []string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string", Description: presetDoc}
	for _, name := range names {
		s.Enum = append(s.Enum, name)
	}
	return s
}

// networkSchema is a range, or a map of a range and conditions.
func networkSchema(reg *Registry) *jsonschema.Schema {
	short := &jsonschema.Schema{Type: "string", Description: "The range, such as 10.20.0.0/24.", Pattern: `^[0-9.]+/[0-9]+$`}
	if reg.NewConditions == nil {
		return short
	}
	long := ConditionsSchema(reg, networkKeys{})
	long.Properties.Set("range", short)
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{short, long}}
}

// ConditionsSchema is the schema of conditions of a link beside the keys of a struct.
func ConditionsSchema(reg *Registry, own any) *jsonschema.Schema {
	s := StructSchema(own)
	if reg.NewConditions == nil {
		return s
	}
	profile := &jsonschema.Schema{Type: "string", Description: profileDoc}
	for _, name := range reg.profileNames() {
		profile.Enum = append(profile.Enum, name)
	}
	s.Properties.Set(profileKey, profile)
	conditions := StructSchema(reg.NewConditions())
	for p := conditions.Properties.Oldest(); p != nil; p = p.Next() {
		s.Properties.Set(p.Key, p.Value)
	}
	return s
}

func onSchema(reg *Registry) *jsonschema.Schema {
	at := &jsonschema.Schema{
		Type: "string", Pattern: `^[0-9]+(\.[0-9]+){3}$`, Description: "The node's address on the network.",
	}
	address := &jsonschema.Schema{Type: "object", AdditionalProperties: at}
	if reg.NewConditions != nil {
		long := ConditionsSchema(reg, placeKeys{})
		long.Properties.Set("addr", at)
		address.AdditionalProperties = &jsonschema.Schema{OneOf: []*jsonschema.Schema{at, long}}
	}
	return &jsonschema.Schema{
		Description: "The networks that the node is on, each by name, as {NETWORK: ADDRESS}, or with conditions of the place. The last one of a NAT is its outside.",
		OneOf: []*jsonschema.Schema{
			{Type: "string"},
			address,
			{Type: "array", Items: &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, address}}},
		},
	}
}

// ToxicSchema is the schema of a toxic with the attributes of its type beside its own keys.
func ToxicSchema(reg *Registry) *jsonschema.Schema {
	toxic := &jsonschema.Schema{Type: "object", Required: []string{"at", "type"}}
	for _, t := range reg.Toxics {
		s := StructSchema(toxicKeys{Stream: "downstream", Toxicity: 1})
		s.Title, s.Description = t.Name, t.Summary
		attributes := StructSchema(t.Attributes())
		for p := attributes.Properties.Oldest(); p != nil; p = p.Next() {
			s.Properties.Set(p.Key, p.Value)
		}
		s.Required = append(s.Required, attributes.Required...)
		s.Properties.Set("type", &jsonschema.Schema{Const: t.Name, Description: t.Summary})
		toxic.OneOf = append(toxic.OneOf, s)
	}
	return toxic
}

// SchemaProvider is implemented by types that decode themselves: their schema
// cannot be read from their fields.
type SchemaProvider interface{ Schema() *jsonschema.Schema }

// StructSchema returns the schema of a struct that files are read into, from its
// tags; what its fields hold are the defaults.
func StructSchema(v any) *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema,
	}
	for _, k := range Keys(v) {
		p := typeSchema(k.Type, k)
		p.Description = k.Doc
		if k.Type == durationType && k.limits() != "" {
			p.Description += " It is " + k.limits() + "." // a schema cannot compare durations
		}
		if !isZero(k.Value) {
			p.Default = defaultValue(k)
		}
		s.Properties.Set(k.Name, p)
		if k.Required {
			s.Required = append(s.Required, k.Name)
		}
	}
	return s
}

func typeSchema(t reflect.Type, k Key) *jsonschema.Schema {
	if p, ok := reflect.New(t).Interface().(SchemaProvider); ok {
		return p.Schema()
	}
	if t == durationType {
		return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return &jsonschema.Schema{Type: "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), k)
	case reflect.Struct:
		if t == reflect.TypeFor[Value]() {
			return &jsonschema.Schema{}
		}
		if t == k.Type {
			return StructSchema(k.Value) // with its defaults
		}
		return StructSchema(reflect.New(t).Interface())
	case reflect.Map:
		return &jsonschema.Schema{Type: "object", AdditionalProperties: typeSchema(t.Elem(), Key{})}
	case reflect.Slice:
		item := typeSchema(t.Elem(), k)
		list := &jsonschema.Schema{Type: "array", Items: item}
		if t.Elem().Kind() == reflect.Struct {
			return list
		}
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{item, list}}
	case reflect.Bool:
		return &jsonschema.Schema{Type: "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return numberSchema("integer", k)
	case reflect.Float32, reflect.Float64:
		return numberSchema("number", k)
	}
	s := &jsonschema.Schema{Type: "string"}
	for _, e := range k.Enum {
		s.Enum = append(s.Enum, e)
		if _, err := strconv.ParseFloat(e, 64); err == nil {
			// The loader takes 1001 for the text that it is; a YAML parser makes it a number.
			s.Type, s.Enum = "", append(s.Enum, json.Number(e))
		}
	}
	return s
}

func numberSchema(kind string, k Key) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: kind}
	if _, err := strconv.ParseFloat(k.Min, 64); err == nil {
		s.Minimum = json.Number(k.Min)
	}
	if _, err := strconv.ParseFloat(k.Max, 64); err == nil {
		s.Maximum = json.Number(k.Max)
	}
	return s
}

// defaultValue is a default as a file would write it.
func defaultValue(k Key) any {
	if d, ok := k.Value.(time.Duration); ok {
		return durationText(d)
	}
	if s, ok := k.Value.(interface{ String() string }); ok {
		return s.String()
	}
	return k.Value
}

// durationText is a duration as a person writes it: 120h, not 120h0m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func isZero(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.IsZero()
}

func docOf(v any, name string) string {
	for _, k := range Keys(v) {
		if k.Name == name {
			return k.Doc
		}
	}
	return ""
}
