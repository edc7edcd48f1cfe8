package topology

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestSchemaHasEveryKey walks the schema: what the decoder reads, the schema knows.
func TestSchemaHasEveryKey(t *testing.T) {
	raw, err := json.MarshalIndent(Schema(testRegistry()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	want := []string{`"name"`, `"networks"`, `"at"`, `"toxicity"`, `"ping"`, `"const": "nat"`, `"const": "latency"`, `"Silence."`}
	for _, k := range testRegistry().Kinds {
		for _, name := range keyNames(Keys(k.Settings())) {
			want = append(want, `"`+name+`"`)
		}
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the schema lacks %s", w)
		}
	}
}

func TestReferenceHasEveryKey(t *testing.T) {
	text := Reference(testRegistry())
	for _, w := range []string{"### nat", "`idle_timeout`", "`inspect.websocket`", "pass, drop, reset", "### latency", "`ping.interval`", "432000"} {
		if !strings.Contains(text, w) && !strings.Contains(text, strings.ReplaceAll(w, "432000", "120h0m0s")) {
			t.Errorf("the reference lacks %s", w)
		}
	}
}
