package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wslab/wslab/labs"
)

// validator compiles the schema as an editor does.
func validator(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := json.Marshal(Schema(testRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("lab.schema.json", text); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("lab.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance is a file as a validator takes it.
func instance(t *testing.T, doc *Document) any {
	t.Helper()
	raw, err := json.Marshal(doc.Root().Plain())
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func document(t *testing.T, file string, src []byte) *Document {
	t.Helper()
	doc, err := ParseDocument(file, src)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// everyForm is a valid lab that writes things in every way there is.
const everyForm = `
name: forms
summary: Every way to write something.
networks: { a: { range: 10.0.0.0/24, delay: 20ms }, b: 10.0.1.0/24, c: { range: 10.0.2.0/24, profile: slow, loss: 1 } }
nodes:
  c1: { kind: client, on: a, via: p }
  c2: { kind: client, on: [a, { b: 10.0.1.9 }], via: [p] }
  p:  { kind: proxy, on: { a: 10.0.0.9, b: 10.0.1.10 }, protocol: http, allow_connect: 443, users: { alice: secret }, idle_timeout: 1m30s }
  f:  { kind: firewall, on: [a, b], allow: [tcp/443], inspect: { websocket: reset } }
  n:  { kind: nat, on: [b, c], idle_timeout: 1h0.5m }
  s:  { kind: server, on: [c, { a: { addr: 10.0.0.20, delay: 1s } }, { b: { profile: slow } }] }
toxics:
  - { at: n, type: latency, latency: 40ms }
  - { at: n, type: latency, stream: upstream, name: up, toxicity: 0.5, latency: 1s, jitter: 5ms }
strategies:
  mine: { ping: { interval: 30s }, tries: 3 }
`

func TestSchemaTakesWhatTheLoaderTakes(t *testing.T) {
	schema := validator(t)
	files := map[string][]byte{"every-form": []byte(everyForm)}
	for _, name := range known() {
		src, err := labs.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = src
	}
	for name, src := range files {
		load(t, string(src))
		if err := schema.Validate(instance(t, document(t, name, src))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRefuses names the wrong files that a schema can tell.
func TestSchemaRefuses(t *testing.T) {
	schema := validator(t)
	for _, name := range []string{
		"bad-duration", "bad-names", "conditions", "duration-out-of-range", "list-at-top", "lists-for-maps", "many-at-once", "missing-keys",
		"no-kind", "no-network", "null-values", "numbers", "proxy-mistakes", "strategies", "toxic-mistakes", "unknown-key",
		"unknown-kind", "unknown-setting", "wrong-types",
	} {
		src, err := os.ReadFile(filepath.Join("testdata/invalid", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var invalid *jsonschema.ValidationError
		if err := schema.Validate(instance(t, document(t, name, src))); !errors.As(err, &invalid) {
			t.Errorf("%s: the schema takes it (%v)", name, err)
		}
	}
}

// TestSchemaHasEveryKey looks for every key that the decoder reads at its place, with its description.
func TestSchemaHasEveryKey(t *testing.T) {
	raw, err := json.Marshal(Schema(testRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	type node struct {
		Title                string          `json:"title"`
		Description          string          `json:"description"`
		Properties           map[string]node `json:"properties"`
		AdditionalProperties json.RawMessage `json:"additionalProperties"`
		Items                *node           `json:"items"`
		OneOf                []node          `json:"oneOf"`
	}
	var lab node
	if err := json.Unmarshal(raw, &lab); err != nil {
		t.Fatal(err)
	}
	has := func(where string, in node, v any, more ...string) {
		if string(in.AdditionalProperties) != "false" {
			t.Errorf("%s takes unknown keys", where)
		}
		for _, name := range append(keyNames(Keys(v)), more...) {
			if in.Properties[name].Description == "" {
				t.Errorf("%s: the schema lacks %s", where, name)
			}
		}
	}
	has("lab", lab, labKeys{})
	var nodes node
	if err := json.Unmarshal(lab.Properties["nodes"].AdditionalProperties, &nodes); err != nil {
		t.Fatal(err)
	}
	reg := testRegistry()
	for i, k := range reg.Kinds {
		has(k.Name, nodes.OneOf[i], k.Settings(), "kind", "on")
	}
	for i, x := range reg.Toxics {
		has(x.Name, lab.Properties["toxics"].Items.OneOf[i], x.Attributes())
		has(x.Name, lab.Properties["toxics"].Items.OneOf[i], toxicKeys{})
	}
	var strategy node
	if err := json.Unmarshal(lab.Properties["strategies"].AdditionalProperties, &strategy); err != nil {
		t.Fatal(err)
	}
	has("strategy", strategy, reg.NewStrategy())
	if got := nodes.OneOf[3].Properties["idle_timeout"].Description; got != "Silence. It is at least 1s." {
		t.Errorf("%q", got)
	}
}

func TestReferenceHasEveryKey(t *testing.T) {
	text := Reference(testRegistry())
	for _, w := range []string{"### nat", "`idle_timeout`", "(at least 1s)", "`inspect.websocket`", "pass, drop, reset", "### latency", "`ping.interval`", "120h |"} {
		if !strings.Contains(text, w) {
			t.Errorf("the reference lacks %s", w)
		}
	}
	golden(t, "testdata/reference.md", text)
}
