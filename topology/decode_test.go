package topology

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// inline is what another struct embeds.
type inline struct {
	Inside string `json:"inside"`
}

// short reads itself: a text, or a map.
type short struct {
	Text string `json:"text"`
	Many int    `json:"many"`
}

func (s *short) DecodeValue(v *Value) {
	if v.Kind() == ScalarValue {
		s.Text = v.Text()
		return
	}
	type long short // without the method
	v.Decode((*long)(s))
}

type everything struct {
	inline
	Text     string                  `json:"text"`
	Yes      bool                    `json:"yes"`
	Whole    int                     `json:"whole" min:"1" max:"10"`
	Small    int8                    `json:"small"`
	Share    float64                 `json:"share" min:"0" max:"1"`
	Wait     time.Duration           `json:"wait" max:"1h"`
	Range    netip.Prefix            `json:"range"`
	Addr     netip.Addr              `json:"addr"`
	Port     netip.AddrPort          `json:"port"`
	Choice   string                  `json:"choice" enum:"one,two"`
	Choices  []string                `json:"choices" enum:"one,two"`
	Waits    []time.Duration         `json:"waits"`
	Pointer  *short                  `json:"pointer"`
	Shorts   []short                 `json:"shorts"`
	ByName   map[string]int          `json:"by_name"`
	Inner    struct{ short }         `json:"inner"`
	Anything any                     `json:"anything"`
	Kept     *Value                  `json:"kept"`
	Table    map[string]*inline      `json:"table"`
	Deep     map[string][]netip.Addr `json:"deep"`
	Hidden   string                  `json:"hidden" yaml:"-"`
	Default  int                     `json:"default"`
}

func TestDecode(t *testing.T) {
	doc, err := ParseDocument("test.yaml", []byte(`
inside: here
text: "12: not a key"
yes: true
whole: 10
small: -128
share: 0.25
wait: 1m30s
range: 10.0.0.0/8
addr: 10.0.0.1
port: 10.0.0.1:80
choice: two
choices: one
waits: [1s, 250ms]
pointer: written short
shorts: []
by_name: { b: 2, a: 1 }
anything: { list: [1, 2.5, true, "3", x, null], nested: { deep: yes } }
kept: [a]
table: { a: { inside: x } }
deep: { a: [10.0.0.1, 10.0.0.2] }
`))
	if err != nil {
		t.Fatal(err)
	}
	got := everything{Default: 7}
	doc.Decode(&got)
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	if got.Kept == nil || got.Kept.Kind() != ListValue || got.Kept.List()[0].Text() != "a" {
		t.Errorf("kept %+v", got.Kept)
	}
	got.Kept = nil
	want := everything{
		inline: inline{"here"}, Text: "12: not a key", Yes: true, Whole: 10, Small: -128, Share: 0.25, Wait: 90 * time.Second,
		Range: netip.MustParsePrefix("10.0.0.0/8"), Addr: netip.MustParseAddr("10.0.0.1"), Port: netip.MustParseAddrPort("10.0.0.1:80"),
		Choice: "two", Choices: []string{"one"}, Waits: []time.Duration{time.Second, 250 * time.Millisecond},
		Pointer: &short{Text: "written short"}, Shorts: []short{}, ByName: map[string]int{"a": 1, "b": 2},
		Anything: map[string]any{"list": []any{1, 2.5, true, "3", "x", nil}, "nested": map[string]any{"deep": "yes"}},
		Table:    map[string]*inline{"a": {"x"}},
		Deep:     map[string][]netip.Addr{"a": {netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}},
		Default:  7,
	}
	opts := cmp.Options{cmp.AllowUnexported(everything{}, inline{}, struct{ short }{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDecodeRefuses gives one key what it does not take.
func TestDecodeRefuses(t *testing.T) {
	for src, want := range map[string]string{
		"text: [a]":             "this has to be text, not a list",
		"text:":                 `"text" has no value`,
		"yes: yes":              `"yes" is not true or false`,
		`yes: "true"`:           `"true" is not true or false`,
		"whole: 11":             "11 is too much: whole is at most 10",
		"whole: 0":              "0 is too little: whole is at least 1",
		"whole: 1.5":            `"1.5" is not a whole number`,
		"small: 128":            `"128" is not a whole number`,
		"share: .nan":           `".nan" is not a number`,
		"share: many":           `"many" is not a number`,
		"wait: 30":              `"30" is not a duration`,
		"wait: 30 seconds":      `"30 seconds" is not a duration`,
		"wait: 61m":             "61m is too much: wait is at most 1h",
		"wait: 9999999h":        `"9999999h" is not a duration`,
		"range: office":         `"office" is not a network, such as 10.20.0.0/24`,
		"addr: server":          `"server" is not an address, such as 10.20.0.5`,
		"port: [1]":             "this has to be text, not a list",
		"choice: three":         `"three" is no value of "choice"`,
		"choices: [one, three]": `"three" is no value of "choices"`,
		"waits: [1s, 2]":        `"2" is not a duration`,
		"waits: { a: 1s }":      "this has to be a list, not a map",
		"shorts: a":             "this has to be a list, not a single value",
		"shorts: [{ txet: a }]": `unknown key "txet"`,
		"shorts: [{ many: a }]": `"a" is not a whole number`,
		"by_name: { a: b }":     `"b" is not a whole number`,
		"by_name: 5":            "this has to be a map, not a single value",
		"table: { a: b }":       "this has to be a map, not a single value",
		"hidden: a":             `unknown key "hidden"`,
		"Text: a":               `unknown key "Text"`,
		"pointer: *a":           "aliases are not read here",
		"{ text: a, text: b }":  `"text" stands here a second time`,
		"text: a\n---\ntext: b": "the file holds more than one YAML document",
	} {
		doc, err := ParseDocument("test.yaml", []byte(src))
		if err == nil {
			doc.Decode(&everything{})
			err = doc.Err()
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Message != want {
			t.Errorf("%s: %v\nwant %s", src, err, want)
		}
	}
}

func TestProblemsAreFoundByPath(t *testing.T) {
	doc, err := ParseDocument("test.yaml", []byte("nodes:\n  alice: { via: [one, two], on: [a] }\n  bob:\n    via: three\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"nodes.alice.via[1]": "2:23",
		"nodes.alice.via[7]": "2:12", // there is none: the key
		"nodes.alice.url":    "2:3",
		"nodes.bob.via[0]":   "4:10",
		"nodes.bob.via[1]":   "4:5",
		"nodes.carol":        "1:1",
		"nodes":              "2:3", // the value is the map, which begins there
		"":                   "1:1",
	} {
		doc.problems = nil
		doc.Problemf(path, "", "here")
		p := doc.problems[0]
		if got := strings.TrimSuffix(strings.TrimPrefix(p.String(), "test.yaml:"), ": here"); !strings.HasPrefix(got, want+":") {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
		if doc.Has(path) != (doc.find(path).Path() == path) {
			t.Errorf("%q: Has differs", path)
		}
	}
}

// TestProblemsAreInOrder says how many there are, and each one once.
func TestProblemsAreInOrder(t *testing.T) {
	p := Problems{{File: "f", Line: 2, Column: 1, Message: "b"}, {File: "f", Line: 1, Column: 9, Message: "a"}, {File: "f", Line: 2, Column: 1, Message: "b"}}.sorted()
	if got, want := p.Error(), "f:1:9: a\n\nf:2:1: b\n\n2 problems"; got != want {
		t.Errorf("%q", got)
	}
}

func TestSuggest(t *testing.T) {
	keys := []string{"kind", "on", "via", "idle_timeout", "http-proxy"}
	for name, want := range map[string]string{
		"idle_timout": "idle_timeout", "vai": "via", "Via": "via", "knid": "kind", "htt": "http-proxy", "http": "http-proxy",
		"foo": "", "x": "", "": "", "o": "", "url": "",
	} {
		if got, _ := nearest(name, keys); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := Suggest("x", nil); got != "" {
		t.Errorf("%q", got)
	}
}

// FuzzDecode decodes anything into everything: problems, but no panic.
func FuzzDecode(f *testing.F) {
	f.Add("text: a\nwhole: 3")
	f.Add("shorts: [a, { text: b }]\nanything: { a: [b, { c: d }] }")
	f.Add("by_name: { <<: *a }\n? [x]\n: y")
	f.Add("- - - a\n- {}\n--- \n")
	f.Fuzz(func(t *testing.T, src string) {
		doc, err := ParseDocument("fuzz.yaml", []byte(src))
		if err != nil {
			return
		}
		doc.Decode(&everything{})
		lines := strings.Count(src, "\n") + 1
		for _, p := range doc.problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Message == "" || p.String() == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
