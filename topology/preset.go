package topology

import (
	"fmt"
	"slices"
	"strings"
)

// presetKey is the key of a node that names its preset.
const presetKey = "preset"

// presetDoc describes the key.
const presetDoc = "What some middlebox is known to do, by name; its settings hold where the file gives no others. `wslab presets` lists them."

// Preset is settings of a kind under a name: what some middlebox is known to do. A
// lab file's own keys are laid over them.
type Preset struct {
	// Name is what `preset:` says.
	Name string
	// Kind of the nodes that it is for.
	Kind string
	// Summary is one sentence for the schema and the documentation.
	Summary string
	// Settings are keys of the kind as a lab file would have them, a map.
	Settings *Value
}

// WithPreset lays the settings of a node, a map, over those of the preset that its key
// preset names, and takes that key out. Maps are merged key by key, everything else
// is replaced. A preset that is not there or not for the kind is reported; p is nil
// then, and where the map names none. keys are the preset's that the map does not give.
func (r *Registry) WithPreset(kind *Kind, v *Value) (merged *Value, p *Preset, keys []string) {
	name := v.Get(presetKey)
	v = v.Without(presetKey)
	if name == nil || name.broken || !name.want(ScalarValue, "the name of a preset") {
		return v, nil, nil
	}
	known := r.presetsOf(kind.Name)
	hint := fmt.Sprintf("there is none for a %s", kind.Name)
	if len(known) > 0 {
		hint = fmt.Sprintf("there is, for a %s: %s", kind.Name, strings.Join(known, ", "))
	}
	p, ok := r.Preset(name.Text())
	switch {
	case !ok:
		if near, found := nearest(name.Text(), known); found {
			hint = didYouMean(near) + " (" + hint + ")"
		}
		name.Problemf(hint, "there is no preset %q", name.Text())
		return v, nil, nil
	case p.Kind != kind.Name:
		name.Problemf(hint, "preset %s is for a %s, this is a %s", p.Name, p.Kind, kind.Name)
		return v, nil, nil
	}
	for _, key := range p.Settings.keyNames() {
		if v.Get(key) == nil {
			keys = append(keys, key)
		}
	}
	return v.over(p.Settings), p, keys
}

// over returns the value laid over another one: a map has the keys of both, its own
// first; anything else takes the place of the other.
func (v *Value) over(base *Value) *Value {
	if v.kind != MapValue || base.kind != MapValue {
		return v
	}
	merged := *v
	merged.pairs = slices.Clone(v.pairs)
	for _, p := range base.pairs {
		i := slices.IndexFunc(merged.pairs, func(own Pair) bool { return own.Key.text == p.Key.text })
		if i < 0 {
			merged.pairs = append(merged.pairs, p)
			continue
		}
		merged.pairs[i].Value = merged.pairs[i].Value.over(p.Value)
	}
	return &merged
}

// fromPreset says whether the value of a key, or of one inside of it, is the preset's.
func (n *Node) fromPreset(key string) bool {
	if i := strings.IndexAny(key, ".["); i >= 0 {
		key = key[:i]
	}
	return slices.Contains(n.FromPreset, key)
}
