package scenarios

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

//go:embed *.yaml
var files embed.FS

// EmbeddedPrefix stands before the name of a scenario that came with the binary.
const EmbeddedPrefix = "embedded:"

// Known is what a scenario file may name.
type Known struct {
	Registry *topology.Registry
	// Labs are the names of the embedded labs.
	Labs []string
	// Lab reads a lab: an embedded one by its name, or a lab file by its path.
	Lab func(ref string) (*topology.Lab, error)
}

// scenarioKeys are the keys of a scenario file.
type scenarioKeys struct {
	Name       string                     `json:"name" doc:"The scenario's name: lower-case letters, digits and hyphens." required:"true"`
	Family     string                     `json:"family" doc:"What the scenario belongs to, for wslab run --list." enum:"nat,firewall,proxy,load-balancer,server,link,client,security"`
	Summary    string                     `json:"summary" doc:"What happens, in one sentence."`
	Why        string                     `json:"why" doc:"Why it happens and to whom, and what there is to see, for wslab run --explain."`
	Source     []string                   `json:"source" doc:"Where that is from: a citation with its URL, or a list of them."`
	Lab        *topology.Value            `json:"lab" doc:"The lab that it is played on: the name of an embedded one or the path of a lab file; or a list of labs." required:"true"`
	Client     string                     `json:"client" doc:"The client node that the sessions start from; the first one of the lab if left out."`
	Via        []string                   `json:"via" doc:"The ways to the server that are played, one after another: direct, or the name of a proxy. The client's first way if left out."`
	With       map[string]*topology.Value `json:"with" doc:"Settings of nodes that are changed for the time of the play; preset names some."`
	Strategies map[string]*topology.Value `json:"strategies" doc:"Strategies of the scenario's own, beside the built-in ones and the lab's, by name."`
	Seed       int64                      `json:"seed" doc:"The same seed lets strategies, and toxics and links without a seed of their own, draw the same at random in every run; 0 takes others each time." min:"0"`
	Steps      *topology.Value            `json:"steps" doc:"What happens, in order." required:"true"`
	Expect     *topology.Value            `json:"expect" doc:"What is expected of each strategy; all of them run side by side." required:"true"`
}

// entryKeys are the keys of a lab in the list of labs.
type entryKeys struct {
	Name   string                     `json:"name" doc:"The name of an embedded lab or the path of a lab file." required:"true"`
	Client string                     `json:"client" doc:"Overrides the scenario's client on this lab."`
	Via    []string                   `json:"via" doc:"Overrides the scenario's ways on this lab."`
	With   map[string]*topology.Value `json:"with" doc:"Settings changed on this lab; those of a node replace the scenario's."`
	Expect *topology.Value            `json:"expect" doc:"What is expected otherwise on this lab."`
}

// loader reads one file.
type loader struct {
	doc   *topology.Document
	known Known
	keys  scenarioKeys
	out   *Scenario

	expect []Expectation
	steps  list
}

// Load reads and checks a scenario file. file is the name that problems show; a
// lab file that the scenario names is looked for beside it. The error is of type
// [topology.Problems] and holds everything that is wrong.
func Load(file string, src []byte, known Known) (*Scenario, error) {
	doc, err := topology.ParseDocument(file, src)
	if err != nil {
		return nil, err
	}
	l := &loader{doc: doc, known: known, out: &Scenario{File: file, Strategies: make(map[string]json.RawMessage)}}
	doc.Decode(&l.keys)
	l.out.Name, l.out.Summary, l.out.Seed = l.keys.Name, l.keys.Summary, l.keys.Seed
	l.out.Family, l.out.Why, l.out.Source = l.keys.Family, l.keys.Why, l.keys.Source
	if v := doc.Root().Get("name"); v != nil && v.Kind() == topology.ScalarValue && !topology.ValidName(l.keys.Name) {
		v.Problemf("a name has up to 30 lower-case letters, digits and hyphens", "%q cannot be a scenario's name", l.keys.Name)
	}
	l.strategies()
	if l.keys.Steps != nil {
		l.steps = decodeSteps(known.Registry, l.keys.Steps)
		l.out.Steps = l.steps.steps
		l.removals(l.steps, make(map[toxicPlace]bool))
		l.limits()
	}
	if l.keys.Expect != nil {
		l.expect = l.expectations(l.keys.Expect)
	}
	if l.keys.Lab != nil {
		l.labs(l.keys.Lab)
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return l.out, nil
}

// LoadFile reads and checks the scenario file at a path.
func LoadFile(file string, known Known) (*Scenario, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("scenario file: %w", err)
	}
	return Load(file, src, known)
}

// IsScenario says whether a file is meant to be a scenario rather than a lab: it
// has keys that only a scenario has. What cannot be parsed is none.
func IsScenario(file string, src []byte) bool {
	doc, err := topology.ParseDocument(file, src)
	if err != nil {
		return false
	}
	root := doc.Root()
	return root.Get("nodes") == nil && (root.Get("steps") != nil || root.Get("expect") != nil || root.Get("lab") != nil)
}

// Names returns the names of the built-in scenarios, in order.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the files are part of the binary
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	return names
}

// Builtin returns the built-in scenarios, in the order of their names.
func Builtin(known Known) ([]*Scenario, error) {
	pins, err := readPins(pinnedVerdicts)
	if err != nil {
		return nil, err
	}
	var all []*Scenario
	for _, name := range Names() {
		src, err := files.ReadFile(name + ".yaml")
		if err != nil {
			return nil, err
		}
		s, err := Load(EmbeddedPrefix+name, src, known)
		if err != nil {
			return nil, err
		}
		if err := s.pin(pins); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// strategies reads the scenario's own ones.
func (l *loader) strategies() {
	for _, name := range slices.Sorted(maps.Keys(l.keys.Strategies)) {
		v := l.keys.Strategies[name]
		if slices.Contains(l.known.Registry.Strategies, name) {
			keyOf(name, l.doc.Root().Get("strategies")).Problemf("give it another name", "%q is a built-in strategy", name)
		}
		s := l.known.Registry.NewStrategy()
		v.Decode(s)
		l.out.Strategies[name] = mustJSON(s)
	}
}

// toxicPlace is a toxic by where it is and its name.
type toxicPlace struct{ at, name string }

// removals checks that what is removed was added before, under one name each. there are
// those that are known to be there.
func (l *loader) removals(in list, there map[toxicPlace]bool) {
	for i, s := range in.steps {
		if c, ok := s.(compound); ok {
			for _, inner := range c.lists() {
				l.removals(inner, there)
			}
		}
		toxic, ok := s.(*Toxic)
		if !ok || toxic.At == "" {
			continue
		}
		p := toxicPlace{toxic.At, cmp.Or(toxic.Remove, toxic.Spec.Name)}
		switch {
		case toxic.Remove == "" && there[p] && toxic.Spec.Name != "":
			in.values[i].Problemf("give one of them a name of its own: name: ...", "there is a toxic %q at %s already", p.name, p.at)
		case toxic.Remove != "" && !there[p]:
			in.values[i].Get("remove").Problemf("", "no step before this one adds a toxic %q at %s", p.name, p.at)
		}
		// One with an end of its own may be there twice, one after another.
		there[p] = toxic.Remove == "" && toxic.For == 0
	}
}

// limits reports the step by which a scenario takes too long, or does too much.
func (l *loader) limits() {
	var d time.Duration
	n := 0
	for i, s := range l.steps.steps {
		d, n = atMost(d, s.takes()), n+plays(s)
		switch {
		case d > longest:
			l.steps.values[i].Problemf("", "the steps take more than %s up to here: a scenario may not", hours(longest))
			return
		case n > mostSteps:
			l.steps.values[i].Problemf("", "more than %d steps are played up to here, each as often as it is repeated: a scenario may not", mostSteps)
			return
		}
	}
}

// mostSteps is how many steps a scenario may play, each counted as often as it is repeated.
const mostSteps = 10_000

func hours(d time.Duration) string { return fmt.Sprintf("%.0f h", d.Hours()) }

// expectations reads the expectations of all clients, or those that differ on a lab.
func (l *loader) expectations(v *topology.Value) []Expectation {
	if v.Kind() != topology.MapValue {
		v.Problemf("write: NAME: survived", "expect has to be a map of strategies, not %s", v.Kind())
		return nil
	}
	var all []Expectation
	for _, p := range v.Pairs() {
		all = append(all, decodeExpectation(p.Key.Text(), p.Value))
	}
	if len(all) == 0 {
		v.Problemf("", "a scenario needs a strategy to play")
	}
	return all
}

// labs reads the name of a lab, or a list of names and entries.
func (l *loader) labs(v *topology.Value) {
	items := v.List()
	if v.Kind() != topology.ListValue {
		items = []*topology.Value{v}
	} else if len(items) == 0 {
		v.Problemf("", "a scenario needs a lab")
	}
	for _, item := range items {
		e := entryKeys{Client: l.keys.Client, Via: l.keys.Via, With: l.keys.With}
		name := item
		switch item.Kind() {
		case topology.ScalarValue:
			e.Name = item.Text()
		case topology.MapValue:
			e.With = maps.Clone(l.keys.With)
			item.Decode(&e)
			name = item.Get("name")
		default:
			item.Problemf("", "this has to be the name of a lab, not %s", item.Kind())
			continue
		}
		if name == nil {
			continue // reported as missing
		}
		if lab := l.lab(name, e.Name); lab != nil {
			l.entry(lab, item, e)
		}
	}
}

// lab reads the lab of that name, which the value gives.
func (l *loader) lab(v *topology.Value, ref string) *topology.Lab {
	if strings.ContainsAny(ref, `/\`) || filepath.Ext(ref) != "" {
		if !filepath.IsAbs(ref) && !strings.HasPrefix(l.out.File, EmbeddedPrefix) {
			ref = filepath.Join(filepath.Dir(l.out.File), ref)
		}
	} else if !slices.Contains(l.known.Labs, ref) {
		v.Problemf(topology.Suggest(ref, l.known.Labs), "unknown lab %q", ref)
		return nil
	}
	lab, err := l.known.Lab(ref)
	if err != nil {
		var problems topology.Problems
		if errors.As(err, &problems) {
			v.Problemf("see: wslab validate "+ref, "lab %s has problems of its own (%d)", ref, len(problems))
		} else {
			v.Problemf("", "%s", err)
		}
		return nil
	}
	return lab
}

// entry checks the scenario in one of its labs and adds it.
func (l *loader) entry(lab *topology.Lab, item *topology.Value, e entryKeys) {
	out := Entry{Lab: e.Name, Client: e.Client, Via: e.Via, Expect: l.expect}
	if !strings.HasPrefix(l.out.File, EmbeddedPrefix) && !slices.Contains(l.known.Labs, e.Name) && !filepath.IsAbs(e.Name) {
		out.Lab = filepath.Join(filepath.Dir(l.out.File), e.Name)
	}
	from := func(key string) *topology.Value { // where the key stands: at the lab, or at the top
		if v := item.Get(key); v != nil {
			return v
		}
		return l.doc.Root().Get(key)
	}
	if e.Expect != nil {
		out.Expect = override(l.expect, l.expectations(e.Expect))
		l.clients(lab, e.Expect)
	}
	if l.keys.Expect != nil {
		l.clients(lab, l.keys.Expect)
	}
	if e.Client != "" {
		clients := nodesOf(lab, isClient)
		if !slices.Contains(clients, e.Client) {
			from("client").Problemf(topology.Suggest(e.Client, clients), "lab %s has no client %q", lab.Name, e.Client)
		}
	}
	ways := waysOf(lab)
	for i, way := range e.Via {
		if !slices.Contains(ways, way) {
			v := from("via")
			if i < len(v.List()) {
				v = v.List()[i]
			}
			v.Problemf(topology.Suggest(way, ways), "lab %s has no way %q to the server", lab.Name, way)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(e.With)) {
		if c, ok := l.change(lab, keyOf(node, item.Get("with"), l.doc.Root().Get("with")), e.With[node]); ok {
			out.With = append(out.With, c)
		}
	}
	(&stepCheck{lab: lab, clients: clientsOf(out.Expect), registry: l.known.Registry}).list(l.steps)
	l.out.Labs = append(l.out.Labs, out)
}

// clientsOf are the strategies of which something is expected.
func clientsOf(all []Expectation) []string {
	var names []string
	for _, e := range all {
		names = append(names, e.Client)
	}
	return names
}

// clients checks the names of strategies under `expect`.
func (l *loader) clients(lab *topology.Lab, v *topology.Value) {
	known := slices.Concat(l.known.Registry.Strategies, slices.Sorted(maps.Keys(l.out.Strategies)), slices.Sorted(maps.Keys(lab.Strategies)))
	for _, p := range v.Pairs() {
		if !slices.Contains(known, strings.TrimSuffix(p.Key.Text(), strategy.ResumeSuffix)) {
			p.Key.Problemf(topology.Suggest(p.Key.Text(), known), "unknown strategy %q", p.Key.Text())
		}
	}
}

// change reads the settings of a node that are changed for the play.
func (l *loader) change(lab *topology.Lab, key, v *topology.Value) (Change, bool) {
	name := key.Text()
	n, ok := lab.Node(name)
	if !ok {
		key.Problemf(topology.Suggest(name, nodesOf(lab, anyKind)), "lab %s has no node %q", lab.Name, name)
		return Change{}, false
	}
	return readChange(l.known.Registry, n, v)
}

// readChange reads settings of a node that are changed.
func readChange(reg *topology.Registry, n *topology.Node, v *topology.Value) (Change, bool) {
	name := n.Name
	settings := n.Kind.Settings()
	if v.Kind() != topology.MapValue {
		v.Problemf("", "this has to be a map of settings of a %s, not %s", n.Kind.Name, v.Kind())
		return Change{}, false
	}
	merged, p, keys := reg.WithPreset(n.Kind, v)
	merged.DecodePart(settings)
	c := Change{Node: name, Kind: n.Kind.Name, Text: v.String(), Settings: selectKeys(mustJSON(settings), keysIn(merged))}
	if speed, limit := topology.MaxSpeed(settings); slices.Contains(keysIn(merged), limit) {
		c.MaxSpeed, c.Limit = speed, limit
		if p != nil && slices.Contains(keys, limit) {
			c.Limit += " (from preset " + p.Name + ")"
		}
	}
	if p != nil {
		samePurpose(n, p, v.Get("preset"))
	}
	sameNeeds(n, c, v)
	sameWays(n, v)
	return c, true
}

// sameWays reports what a client connects to, or by which ways: that was worked out when the lab
// came up, and would not change.
func sameWays(n *topology.Node, v *topology.Value) {
	if !isClient(n.Kind) {
		return
	}
	for _, key := range []string{"url", "via"} {
		if at := v.Get(key); at != nil {
			at.Problemf("set it in the lab file; the scenario's own via chooses among its ways", "the ways of %s are worked out when its lab comes up, not for a play", n.Name)
		}
	}
}

// sameNeeds reports a change with which a node would need what it was not given when the
// lab came up: a node is changed in its place.
func sameNeeds(n *topology.Node, c Change, at *topology.Value) {
	if n.Kind.Needs == nil {
		return
	}
	changed := n.Kind.Settings()
	if json.Unmarshal(mustJSON(n.Settings), changed) != nil || json.Unmarshal(c.Settings, changed) != nil {
		return // reported already
	}
	before, after := n.Kind.Needs(n.Settings), n.Kind.Needs(changed)
	before.Sysctls, after.Sysctls = nil, nil // the node sets them itself
	if !bytes.Equal(mustJSON(before), mustJSON(after)) {
		at.Problemf("set it in the lab file", "%s would need what a node is given when its lab comes up, not for a play", n.Name)
	}
}

// samePurpose reports a preset that would make a node another thing than it is: one with
// another value for a key that the kind cannot do without, such as a proxy's protocol.
func samePurpose(n *topology.Node, p *topology.Preset, at *topology.Value) {
	for _, k := range topology.Keys(n.Settings) {
		other := p.Settings.Get(k.Name)
		if k.Required && other != nil && other.Text() != fmt.Sprint(k.Value) {
			at.Problemf("", "preset %s is a %s of %s %s, %s is one of %s %s", p.Name, p.Kind, k.Name, other.Text(), n.Name, k.Name, k.Value)
		}
	}
}

// keyOf returns the key of that name in the first map that has it, where problems
// with the name are shown.
func keyOf(name string, maps ...*topology.Value) *topology.Value {
	for _, m := range maps {
		if m == nil {
			continue
		}
		for _, p := range m.Pairs() {
			if p.Key.Text() == name {
				return p.Key
			}
		}
	}
	panic("scenarios: no map has the key " + name) // the caller has read it from one
}

func keysIn(v *topology.Value) []string {
	var keys []string
	for _, p := range v.Pairs() {
		keys = append(keys, p.Key.Text())
	}
	return keys
}

// selectKeys returns the object with these keys only.
func selectKeys(object json.RawMessage, keys []string) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(object, &all) != nil {
		return nil
	}
	maps.DeleteFunc(all, func(k string, _ json.RawMessage) bool { return !slices.Contains(keys, k) })
	return mustJSON(all)
}

// mustJSON encodes a struct of plain fields.
func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("scenarios: %T: %v", v, err))
	}
	return raw
}

// isClient says whether sessions can start from nodes of the kind: what neither
// carries nor is a target, and is none of somebody else's programs.
func isClient(k *topology.Kind) bool { return !k.Carries && !k.Target && !k.Routes && !k.Opaque }

// waysOf lists the names that `via` may have in a lab.
func waysOf(l *topology.Lab) []string {
	ways := []string{"direct"}
	for _, n := range l.Nodes {
		if _, ok := n.Passage(); ok {
			ways = append(ways, n.Name)
		}
	}
	return ways
}
