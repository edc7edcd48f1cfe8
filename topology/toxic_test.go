package topology

import (
	"errors"
	"testing"
)

func TestParseToxic(t *testing.T) {
	spec, err := ParseToxic(testRegistry(), "latency", []string{"latency=40ms", "stream=upstream", "toxicity=0.5"})
	if err != nil {
		t.Fatal(err)
	}
	if spec.Name != "latency_upstream" || spec.Stream != "upstream" || spec.Toxicity != 0.5 || string(spec.Attributes) != `{"latency":40000000,"jitter":0}` {
		t.Errorf("%+v %s", spec, spec.Attributes)
	}
}

// Lists are written with commas, maps in braces.
func TestParseToxicOfListsAndMaps(t *testing.T) {
	reg := testRegistry()
	reg.Toxics = append(reg.Toxics, &ToxicType{Name: "frames", Attributes: func() any {
		return &struct {
			Opcodes []string          `json:"opcodes" enum:"ping,pong"`
			Headers map[string]string `json:"headers"`
		}{}
	}})
	spec, err := ParseToxic(reg, "frames", []string{"opcodes=ping,pong", `headers={Location: "http://portal/"}`})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"opcodes":["ping","pong"],"headers":{"Location":"http://portal/"}}`; string(spec.Attributes) != want {
		t.Errorf("%s, want %s", spec.Attributes, want)
	}
	if _, err := ParseToxic(reg, "frames", []string{"opcodes=ping,]["}); err == nil {
		t.Error("accepted")
	}
}

func TestParseToxicRefuses(t *testing.T) {
	for _, c := range []struct {
		kind, word, want string
	}{
		{"latncy", "latency=1s", `unknown type of toxic "latncy"`},
		{"latency", "latncy=1s", `unknown key "latncy" in a toxic of type latency`},
		{"latency", "latency", `"" is not a duration`},
		{"latency", "latency=1s: x", `"1s: x" is not a duration`},
		{"latency", "latency={a: b}", `"{a: b}" is not a duration`},
		{"latency", "latency=it's", `"it's" is not a duration`},
		{"latency", "type=latency", `"type" stands here a second time`},
		{"latency", "at=nat", `"at" stands here a second time`},
	} {
		_, err := ParseToxic(testRegistry(), c.kind, []string{c.word})
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Errorf("%s %s: %v", c.kind, c.word, err)
			continue
		}
		found := false
		for _, p := range problems {
			found = found || p.Message == c.want
		}
		if !found {
			t.Errorf("%s %s: %v\nwant %s", c.kind, c.word, err, c.want)
		}
	}
}
