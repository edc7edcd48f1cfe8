package scenarios

import (
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/wslab/wslab/topology"
)

// Schema returns the JSON schema of scenario files: steps and verdicts from the
// lists here, toxics and strategies from the registry.
func Schema(known Known) *jsonschema.Schema {
	reg := known.Registry
	s := topology.StructSchema(scenarioKeys{})
	s.Version = jsonschema.Version
	s.Title = "wslab scenario"
	s.Description = "Steps that are played against a lab, and what is expected of each client."
	describe(s, "lab", labSchema(known.Labs))
	describe(s, "with", &jsonschema.Schema{Type: "object", AdditionalProperties: &jsonschema.Schema{Type: "object"}})
	describe(s, "strategies", &jsonschema.Schema{Type: "object", AdditionalProperties: topology.StructSchema(reg.NewStrategy())})
	describe(s, "steps", stepsSchema())
	s.Definitions = jsonschema.Definitions{stepDefinition: stepSchema(reg)}
	describe(s, "expect", expectSchema(reg))
	return s
}

// describe replaces what is said of a key, its description kept.
func describe(s *jsonschema.Schema, key string, with *jsonschema.Schema) {
	if before, ok := s.Properties.Get(key); ok {
		with.Description = before.Description
	}
	s.Properties.Set(key, with)
}

func labSchema(embedded []string) *jsonschema.Schema {
	name := &jsonschema.Schema{Type: "string", Description: "The name of an embedded lab, or the path of a lab file."}
	for _, l := range embedded {
		name.Examples = append(name.Examples, l)
	}
	entry := topology.StructSchema(entryKeys{})
	describe(entry, "with", &jsonschema.Schema{Type: "object", AdditionalProperties: &jsonschema.Schema{Type: "object"}})
	describe(entry, "expect", &jsonschema.Schema{Type: "object", AdditionalProperties: expectationSchema()})
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		name,
		{Type: "array", Items: &jsonschema.Schema{OneOf: []*jsonschema.Schema{name, entry}}},
	}}
}

// stepDefinition names the schema of a step: steps can be inside of steps.
const stepDefinition = "step"

// stepsSchema is a list of steps.
func stepsSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Ref: "#/$defs/" + stepDefinition}}
}

// stepSchema is one of the steps: a map of one key.
func stepSchema(reg *topology.Registry) *jsonschema.Schema {
	step := &jsonschema.Schema{}
	for _, t := range StepTypes() {
		one := &jsonschema.Schema{
			Type: "object", Description: t.Summary, Required: []string{t.Name},
			Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema,
		}
		one.Properties.Set(t.Name, stepValueSchema(reg, t))
		step.OneOf = append(step.OneOf, one)
	}
	return step
}

func stepValueSchema(reg *topology.Registry, t StepType) *jsonschema.Schema {
	step := t.New()
	if _, ok := step.(*Toxic); ok {
		return toxicSchema(reg)
	}
	if _, ok := step.(*Link); ok {
		return topology.ConditionsSchema(reg, linkKeys{})
	}
	if _, ok := step.(*Together); ok {
		return &jsonschema.Schema{Type: "array", Items: stepsSchema()}
	}
	long := topology.StructSchema(step)
	switch step.(type) {
	case *Repeat:
		describe(long, "steps", stepsSchema())
	case *Configure:
		describe(long, "settings", &jsonschema.Schema{Type: "object"})
	}
	if step.short() == nil {
		return long
	}
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, long}}
}

// toxicSchema is that of a lab's toxics with the step's own keys, or a removal.
func toxicSchema(reg *topology.Registry) *jsonschema.Schema {
	s := topology.ToxicSchema(reg)
	own := topology.StructSchema(toxicTime{})
	for _, one := range s.OneOf {
		for p := own.Properties.Oldest(); p != nil; p = p.Next() {
			one.Properties.Set(p.Key, p.Value)
		}
	}
	return &jsonschema.Schema{OneOf: append(s.OneOf, topology.StructSchema(toxicRemoval{}))}
}

// expectSchema suggests the built-in strategies and takes any name.
func expectSchema(reg *topology.Registry) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: expectationSchema()}
	for _, name := range reg.Strategies {
		s.Properties.Set(name, expectationSchema())
	}
	return s
}

func expectationSchema() *jsonschema.Schema {
	one := &jsonschema.Schema{Type: "string"}
	for _, v := range verdictNames() {
		one.Enum = append(one.Enum, v)
	}
	list := &jsonschema.Schema{Type: "array", Items: one}
	long := topology.StructSchema(limits{})
	describe(long, "verdict", &jsonschema.Schema{OneOf: []*jsonschema.Schema{one, list}})
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{one, list, long}}
}

// Reference returns the reference of scenario files in Markdown, from the same
// tags as the schema.
func Reference() string {
	var b strings.Builder
	b.WriteString("## A scenario file\n\n")
	keysTable(&b, scenarioKeys{})
	b.WriteString("\nA lab of the list can be a map, to override the scenario there:\n\n")
	keysTable(&b, entryKeys{})
	b.WriteString("\n## Steps\n\nTalking goes on through every step but `quiet`: what stands between two talks happens while the clients talk.\n")
	for _, t := range StepTypes() {
		b.WriteString("\n### " + t.Name + "\n\n" + t.Summary + "\n")
		step := t.New()
		if step.short() != nil {
			b.WriteString("The short form is `" + t.Name + ": " + strings.ToUpper(topology.Keys(step)[0].Name) + "`.\n")
		}
		b.WriteString("\n")
		if _, ok := step.(*Toxic); ok {
			b.WriteString("A toxic as in a lab file, and:\n\n")
			keysTable(&b, toxicTime{})
			b.WriteString("\nOr, to take one away that an earlier step has added:\n\n")
			keysTable(&b, toxicRemoval{})
			continue
		}
		if _, ok := step.(*Link); ok {
			b.WriteString("Conditions of a link as in a lab file, and:\n\n")
			keysTable(&b, linkKeys{})
			continue
		}
		if _, ok := step.(*Together); ok {
			b.WriteString("`together: [[STEP, ...], [STEP, ...]]`. One of the lists at most says who talks. The play goes on when the longest has ended.\n")
			continue
		}
		keysTable(&b, step)
	}
	b.WriteString("\nA condition, under `until`:\n\n")
	keysTable(&b, Condition{})
	b.WriteString("\n## Expectations\n\n`NAME: VERDICT`, `NAME: [VERDICT, VERDICT]` if more than one passes, or a map:\n\n")
	keysTable(&b, limits{})
	return b.String()
}

func keysTable(b *strings.Builder, v any) {
	b.WriteString("| Key | |\n|---|---|\n")
	for _, k := range topology.Keys(v) {
		doc := k.Doc
		if k.Required {
			doc += " Required."
		}
		b.WriteString("| `" + k.Name + "` | " + doc + " |\n")
	}
}
