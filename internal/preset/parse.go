package preset

import (
	"github.com/wslab/wslab/topology"
)

// keys are the keys of an entry.
type keys struct {
	Kind     string          `json:"kind" doc:"The kind of node." required:"true"`
	Summary  string          `json:"summary" doc:"What it is, in one sentence." required:"true"`
	Use      string          `json:"use" doc:"The situation to take it in." required:"true"`
	Settings *topology.Value `json:"settings" doc:"Keys of the kind, as in a lab file." required:"true"`
	Claims   Claims          `json:"claims" doc:"What it does to a connection." required:"true"`
	Sources  []Source        `json:"sources" doc:"Where that is known from." required:"true"`
	Note     string          `json:"note" doc:"What the settings leave out."`
}

// Parse reads a catalogue: a map of entries by name. Settings are checked against those
// of the kinds. The error is of type [topology.Problems] and holds everything that is
// wrong. file is the name that problems show.
func Parse(file string, src []byte, kinds []*topology.Kind) ([]Preset, error) {
	doc, err := topology.ParseDocument(file, src)
	if err != nil {
		return nil, err
	}
	root := doc.Root()
	if root.Kind() != topology.MapValue {
		root.Problemf("", "this has to be a map of presets, not %s", root.Kind())
	}
	reg := &topology.Registry{Kinds: kinds}
	var all []Preset
	for _, p := range root.Pairs() {
		if !topology.ValidName(p.Key.Text()) {
			p.Key.Problemf("lower-case letters, digits and hyphens", "%q cannot be a preset's name", p.Key.Text())
		}
		var k keys
		p.Value.Decode(&k)
		checkSettings(reg, p.Value, k)
		checkClaims(p.Value, k)
		all = append(all, Preset{
			Preset: topology.Preset{Name: p.Key.Text(), Kind: k.Kind, Summary: k.Summary, Settings: k.Settings},
			Use:    k.Use, Claims: k.Claims, Sources: k.Sources, Confidence: least(k.Sources), Note: k.Note,
		})
	}
	return all, doc.Err()
}

// checkSettings reads the settings as a lab file would.
func checkSettings(reg *topology.Registry, entry *topology.Value, k keys) {
	name := entry.Get("kind")
	if name == nil || k.Settings == nil {
		return // reported as missing
	}
	kind, ok := reg.Kind(k.Kind)
	if !ok {
		var known []string
		for _, kind := range reg.Kinds {
			known = append(known, kind.Name)
		}
		name.Problemf(topology.Suggest(k.Kind, known), "unknown kind %q", k.Kind)
		return
	}
	k.Settings.DecodePart(kind.Settings())
}

// checkClaims reports claims that contradict themselves, and entries without a source.
func checkClaims(entry *topology.Value, k keys) {
	claims, sources := entry.Get("claims"), entry.Get("sources")
	switch c := k.Claims; {
	case claims == nil || claims.Kind() != topology.MapValue:
	case c.Timeout == 0 && c.MaxLifetime == 0:
		claims.Problemf("give timeout, max_lifetime or both", "a middlebox that does nothing needs no preset")
	case (c.Timeout == 0) != (c.Activity == None):
		claims.Problemf("", "activity none goes with no timeout, and the other way round")
	}
	if sources != nil && len(k.Sources) == 0 {
		sources.Problemf("", "nothing is presented as fact without a source")
	}
}
