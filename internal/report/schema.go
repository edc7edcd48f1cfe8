package report

import "github.com/invopop/jsonschema"

// Schema returns the JSON schema of the document of a run.
func Schema() *jsonschema.Schema {
	r := &jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: true}
	s := r.Reflect(&Document{})
	s.Title = "wslab report"
	s.Description = "What came of a run: `wslab run --format json` without the events of the plays, `wslab run --report json=FILE` with them. Seconds are lab time, null where there is none."
	return s
}
