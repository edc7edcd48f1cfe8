package topology

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// namePattern is what names of labs, networks and nodes look like: they become
// host names (RFC 1123) and parts of the engine's names.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$`)

const nameHint = "a name has up to 30 lower-case letters, digits and hyphens, and begins and ends with a letter or a digit"

// ValidName says whether a name can be that of a lab, a network or a node.
func ValidName(name string) bool { return namePattern.MatchString(name) }

// nodeNameProblem says why a name that is valid cannot be a node's; "" if it can.
func nodeNameProblem(name string) string {
	switch {
	case name == "localhost":
		return "every node is localhost to itself"
	case name == "runner":
		return "the runner records its own events under that name"
	case name == "direct":
		return "it is how a way without a proxy is called"
	case strings.Trim(name, "0123456789") == "":
		return "programs take a number for an address"
	}
	return ""
}

// labKeys are the keys of a lab file.
type labKeys struct {
	Name       string `json:"name" doc:"The lab's name: lower-case letters, digits and hyphens." required:"true"`
	Summary    string `json:"summary" doc:"What the lab shows, in one sentence."`
	Networks   *Value `json:"networks" doc:"The networks of the lab: a name and a range each, such as office: 10.20.0.0/24." required:"true"`
	Nodes      *Value `json:"nodes" doc:"The machines of the lab: a name and what it is each." required:"true"`
	Toxics     *Value `json:"toxics" doc:"Faults on streams that are there from the start."`
	Strategies *Value `json:"strategies" doc:"Strategies of the lab's own, beside the built-in ones, by name."`
}

// DecodeValue keeps the value as it is, for a second look.
func (v *Value) DecodeValue(from *Value) { *v = *from }

// loader reads one file.
type loader struct {
	doc *Document
	reg *Registry
	lab *Lab
	// torn names the nodes whose kind or place is wrong: what follows from that
	// about the rest of the lab is an echo, and not reported.
	torn map[string]bool
}

// Load reads and checks a lab file. file is the name that problems show. The
// error is of type [Problems] and holds everything that is wrong.
func Load(file string, src []byte, reg *Registry) (*Lab, error) {
	doc, err := ParseDocument(file, src)
	if err != nil {
		return nil, err
	}
	l := &loader{doc: doc, reg: reg, lab: &Lab{doc: doc, Strategies: make(map[string]any)}, torn: make(map[string]bool)}
	var keys labKeys
	doc.Decode(&keys)
	l.lab.Name, l.lab.Summary = keys.Name, keys.Summary
	if v := doc.Root().Get("name"); v != nil && v.Kind() == ScalarValue && !ValidName(keys.Name) {
		v.Problemf(nameHint, "%q cannot be a lab's name", keys.Name)
	}
	if keys.Networks != nil {
		l.networks(keys.Networks)
	}
	if keys.Nodes != nil {
		l.nodes(keys.Nodes)
	}
	if keys.Toxics != nil {
		l.toxics(keys.Toxics)
	}
	if keys.Strategies != nil {
		l.strategies(keys.Strategies)
	}
	if keys.Nodes != nil && len(l.lab.Networks) > 0 {
		l.checkNodes(keys.Nodes)
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return l.lab, nil
}

// allowedRanges are the ranges that a lab's networks may be in: private, shared and
// documentation addresses, so that nothing resembles a real host (RFC 1918, 6598, 5737, 2544).
var allowedRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
}

func allowedRangesText() string {
	texts := make([]string, len(allowedRanges))
	for i, r := range allowedRanges {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}

func (l *loader) networks(v *Value) {
	if !v.want(MapValue, "a map of networks") {
		return
	}
	for _, p := range v.Pairs() {
		n := Network{Name: p.Key.Text()}
		if !ValidName(n.Name) {
			p.Key.Problemf(nameHint, "%q cannot be a network's name", n.Name)
		}
		if l.network(l.networkRange(p.Key, p.Value, &n), &n) {
			for _, other := range l.lab.Networks {
				if other.Prefix.IsValid() && other.Prefix.Overlaps(n.Prefix) {
					p.Value.Problemf("", "%s overlaps network %s (%s)", n.Prefix, other.Name, other.Prefix)
				}
			}
		}
		l.lab.Networks = append(l.lab.Networks, n)
	}
	if len(v.Pairs()) == 0 {
		v.Problemf("", "a lab needs a network")
	}
}

// networkKeys are the keys of the long form of a network beside its conditions.
type networkKeys struct {
	Range string `json:"range" doc:"The range, such as 10.20.0.0/24." required:"true"`
}

// networkRange reads the conditions of a network that is written in the long form, and
// returns the value of its range, nil where there is none.
func (l *loader) networkRange(name, v *Value, n *Network) *Value {
	if v.Kind() != MapValue || l.reg.NewConditions == nil {
		return v
	}
	n.Conditions, _ = DecodeConditions(l.reg, v, keyNames(Keys(networkKeys{}))...)
	r := v.Get("range")
	if r == nil && !v.broken {
		name.Problemf("write range: 10.20.0.0/24", "network %s has no range", name.Text())
	}
	return r
}

// network reads the range of a network and says whether it can be one.
func (l *loader) network(v *Value, n *Network) bool {
	if v == nil || !v.want(ScalarValue, describe(prefixType)) {
		return false
	}
	prefix, err := netip.ParsePrefix(v.Text())
	switch {
	case err != nil:
		hint := "write an address and the length of the prefix: 10.20.0.0/24"
		if addr, err := netip.ParseAddr(v.Text()); err == nil && addr.Is4() {
			hint = didYouMean(addr.String() + "/24")
		}
		v.Problemf(hint, "%q is not a network", v.Text())
	case prefix.Addr().Is6():
		v.Problemf("", "%s is IPv6: labs are IPv4 so far", prefix)
	case prefix != prefix.Masked():
		v.Problemf(didYouMean(prefix.Masked().String()), "%s is an address inside a network, not a network", prefix)
	case prefix.Bits() > 29:
		v.Problemf("a /29 has room for five nodes, a /24 for 253", "%s is too small for a network", prefix)
	case !slices.ContainsFunc(allowedRanges, func(r netip.Prefix) bool { return r.Bits() <= prefix.Bits() && r.Contains(prefix.Addr()) }):
		v.Problemf("take one of: "+allowedRangesText(), "%s belongs to real hosts", prefix)
	default:
		n.Prefix = prefix
		return true
	}
	return false
}

func (l *loader) nodes(v *Value) {
	if !v.want(MapValue, "a map of nodes") {
		return
	}
	for _, p := range v.Pairs() {
		if !ValidName(p.Key.Text()) {
			p.Key.Problemf(nameHint, "%q cannot be a node's name", p.Key.Text())
		} else if why := nodeNameProblem(p.Key.Text()); why != "" {
			p.Key.Problemf(why, "%q cannot be a node's name", p.Key.Text())
		}
		if l.isNetwork(p.Key.Text()) {
			p.Key.Problemf("", "%q is the name of a network already", p.Key.Text())
		}
		if !p.Value.want(MapValue, "a map, such as { kind: client, on: [office] }") {
			l.torn[p.Key.Text()] = true
			continue
		}
		l.node(p.Key, p.Value)
	}
	if len(v.Pairs()) == 0 {
		v.Problemf("", "a lab needs nodes")
	}
}

func (l *loader) node(name, v *Value) {
	n := Node{Name: name.Text()}
	n.Kind = l.kind(name, v)
	if on := v.Get("on"); on != nil {
		n.On = l.attachments(n.Name, on)
	} else if !v.broken {
		name.Problemf("say where it is: on: [NETWORK]", "node %s is on no network", n.Name)
		l.torn[n.Name] = true
	}
	if n.Kind == nil {
		l.torn[n.Name] = true
		return
	}
	n.Settings = n.Kind.Settings()
	l.settings(v, &n)
	l.lab.Nodes = append(l.lab.Nodes, n)
}

// kind reads the kind of a node; it returns nil when there is none of that name.
func (l *loader) kind(name, node *Value) *Kind {
	v := node.Get("kind")
	if v == nil {
		if !node.broken {
			name.Problemf("there is: "+strings.Join(l.kindNames(), ", "), "node %s has no kind", name.Text())
		}
		return nil
	}
	if !v.want(ScalarValue, "the name of a kind") {
		return nil
	}
	k, ok := l.reg.Kind(v.Text())
	if !ok {
		v.Problemf(Suggest(v.Text(), l.kindNames()), "unknown kind %q", v.Text())
		return nil
	}
	return k
}

func (l *loader) kindNames() []string {
	var names []string
	for _, k := range l.reg.Kinds {
		names = append(names, k.Name)
	}
	return names
}

// settings reads the keys of a node that are its kind's, over those of its preset.
func (l *loader) settings(v *Value, n *Node) {
	rest := v.Without("kind", "on")
	known := append([]string{"kind", "on"}, keyNames(Keys(n.Settings))...)
	if len(l.reg.presetsOf(n.Kind.Name)) > 0 {
		known = append(known, presetKey)
	}
	if len(l.reg.Presets) > 0 {
		rest, n.Preset, n.FromPreset = l.reg.WithPreset(n.Kind, rest)
	}
	for _, p := range rest.Pairs() {
		if !slices.Contains(known, p.Key.Text()) {
			p.Key.Problemf(Suggest(p.Key.Text(), known), "unknown key %q in a %s", p.Key.Text(), n.Kind.Name)
			rest = rest.Without(p.Key.Text())
		}
	}
	if v.Get(presetKey) != nil && n.Preset == nil {
		rest.DecodePart(n.Settings) // what the right preset would have given is not missing
		return
	}
	rest.Decode(n.Settings)
}

// placeKeys are the keys of the long form of a node's place on a network beside its
// conditions.
type placeKeys struct {
	Addr string `json:"addr" doc:"The node's address on the network; the plan chooses one if left out."`
}

// place reads what stands behind the name of a network in `on`: an address, or a map.
func (l *loader) place(v *Value, a *Attachment) {
	if v.Kind() != MapValue || l.reg.NewConditions == nil {
		a.Addr = l.address(v, a.Network)
		return
	}
	a.Conditions, _ = DecodeConditions(l.reg, v, keyNames(Keys(placeKeys{}))...)
	if addr := v.Get("addr"); addr != nil {
		a.Addr = l.address(addr, a.Network)
	}
}

// attachments reads `on`: [office, {dmz: 10.20.1.5}], or {office: {addr: 10.20.0.5,
// delay: 20ms}}, or office.
func (l *loader) attachments(node string, v *Value) []Attachment {
	var all []Attachment
	named := 0
	add := func(network, address *Value) {
		named++
		a := Attachment{Network: network.Text()}
		switch {
		case !l.isNetwork(a.Network):
			l.unknownNetwork(network)
			l.torn[node] = true
			return
		case slices.ContainsFunc(all, func(b Attachment) bool { return b.Network == a.Network }):
			network.Problemf("", "%s is on network %s already", node, a.Network)
			l.torn[node] = true
			return
		case address != nil:
			l.place(address, &a)
		}
		all = append(all, a)
	}
	items := []*Value{v}
	if v.Kind() == ListValue {
		items = v.List()
	}
	for _, item := range items {
		switch item.Kind() {
		case ScalarValue:
			add(item, nil)
		case MapValue:
			for _, p := range item.Pairs() {
				add(p.Key, p.Value)
			}
		default:
			item.Problemf("write the networks that it is on: [NETWORK], or { NETWORK: ADDRESS }", "this has to be the name of a network, not %s", item.Kind())
			named, l.torn[node] = named+1, true
		}
	}
	if named == 0 {
		v.Problemf(Suggest("", l.networkNames()), "node %s is on no network", node)
		l.torn[node] = true
	}
	return all
}

// unknownNetwork reports a network that is not there; without any networks that is said already.
func (l *loader) unknownNetwork(name *Value) {
	if len(l.lab.Networks) > 0 {
		name.Problemf(Suggest(name.Text(), l.networkNames()), "unknown network %q", name.Text())
	}
}

// address reads the address that a node asks for on a network.
func (l *loader) address(v *Value, network string) netip.Addr {
	if !v.want(ScalarValue, describe(addrType)) {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(v.Text())
	if err != nil {
		hint := ""
		if prefix, err := netip.ParsePrefix(v.Text()); err == nil {
			hint = didYouMean(prefix.Addr().String())
		}
		v.Problemf(hint, "%q is not an address", v.Text())
		return netip.Addr{}
	}
	i := slices.IndexFunc(l.lab.Networks, func(n Network) bool { return n.Name == network })
	prefix := l.lab.Networks[i].Prefix
	switch {
	case addr.Is6():
		v.Problemf("", "%s is IPv6: labs are IPv4 so far", addr)
	case !prefix.IsValid(): // reported where the network is
	case !prefix.Contains(addr):
		v.Problemf("", "%s is outside of network %s (%s)", addr, network, prefix)
	case addr == prefix.Addr():
		v.Problemf("", "%s is the address of network %s itself", addr, network)
	case addr == lastAddr(prefix):
		v.Problemf("", "%s is the broadcast address of network %s", addr, network)
	case l.taken(addr) != "":
		v.Problemf("", "%s is the address of %s already", addr, l.taken(addr))
	default:
		return addr
	}
	return netip.Addr{}
}

// taken names the node that has asked for an address.
func (l *loader) taken(addr netip.Addr) string {
	for _, n := range l.lab.Nodes {
		for _, a := range n.On {
			if a.Addr == addr {
				return n.Name
			}
		}
	}
	return ""
}

func (l *loader) isNetwork(name string) bool { return slices.Contains(l.networkNames(), name) }

func (l *loader) networkNames() []string {
	var names []string
	for _, n := range l.lab.Networks {
		names = append(names, n.Name)
	}
	return names
}

// toxicKeys are the keys of a toxic beside the attributes of its type.
type toxicKeys struct {
	At       string  `json:"at" doc:"The node that carries the streams: a proxy, a firewall or a NAT." required:"true"`
	Type     string  `json:"type" doc:"The type of toxic." required:"true"`
	Stream   string  `json:"stream" doc:"upstream is from the client towards the server." enum:"upstream,downstream"`
	Name     string  `json:"name" doc:"Unique at its node; TYPE_STREAM if left out."`
	Toxicity float64 `json:"toxicity" doc:"The share of connections that it acts on." min:"0" max:"1"`
}

func (l *loader) toxics(v *Value) {
	if !v.want(ListValue, "a list of toxics") {
		return
	}
	for _, item := range v.List() {
		t, ok := DecodeToxic(l.reg, item)
		if at := item.Get("at"); at != nil && at.Kind() == ScalarValue {
			l.toxicPlace(at)
		}
		if !ok {
			continue
		}
		if slices.ContainsFunc(l.lab.Toxics, func(o Toxic) bool { return o.At == t.At && o.Name == t.Name }) {
			item.Problemf("give one of them a name of its own: name: ...", "there is a toxic %q at %s already", t.Name, t.At)
		}
		l.lab.Toxics = append(l.lab.Toxics, t)
	}
}

// toxicPlace checks that a toxic can be at a node.
func (l *loader) toxicPlace(at *Value) {
	n, ok := l.lab.Node(at.Text())
	if !ok {
		if l.torn[at.Text()] {
			return // it is there, and what is wrong with it is said there
		}
		at.Problemf(Suggest(at.Text(), l.carriers()), "a toxic at %q, which is no node of the lab", at.Text())
		return
	}
	if !n.Kind.Carries {
		at.Problemf("toxics can be at: "+strings.Join(l.carriers(), ", "), "%s is a %s and carries no streams", n.Name, n.Kind.Name)
	}
}

// carriers are the nodes that toxics can be at.
func (l *loader) carriers() []string {
	var names []string
	for _, n := range l.lab.Nodes {
		if n.Kind.Carries {
			names = append(names, n.Name)
		}
	}
	return names
}

// strategies reads the lab's own strategies.
func (l *loader) strategies(v *Value) {
	if !v.want(MapValue, "a map of strategies") {
		return
	}
	for _, p := range v.Pairs() {
		name := p.Key.Text()
		if !ValidName(name) {
			p.Key.Problemf(nameHint, "%q cannot be a strategy's name", name)
		}
		if slices.Contains(l.reg.Strategies, name) {
			p.Key.Problemf("give it another name", "%q is a built-in strategy", name)
		}
		if l.reg.NewStrategy == nil {
			continue
		}
		s := l.reg.NewStrategy()
		p.Value.Decode(s)
		l.lab.Strategies[name] = s
	}
}

// DecodeToxic reads a toxic with the attributes of its type beside its own keys,
// as lab and scenario files write it. It reports problems on the value; ok is
// false when there were any. The node is not looked at.
func DecodeToxic(reg *Registry, v *Value) (t Toxic, ok bool) {
	before := len(v.doc.problems)
	t.Stream, t.Toxicity = "downstream", 1
	if !v.want(MapValue, "a map, such as { at: nat, type: latency, latency: 40ms }") {
		return t, false
	}
	own := toxicKeys{Stream: t.Stream, Toxicity: t.Toxicity}
	ownNames := keyNames(Keys(own))
	rest := v.Without(ownNames...)
	v.Without(rest.keyNames()...).Decode(&own)
	kind, known := reg.ToxicType(own.Type)
	if tv := v.Get("type"); !known {
		if tv != nil && tv.Kind() == ScalarValue {
			tv.Problemf(Suggest(own.Type, toxicTypeNames(reg)), "unknown type of toxic %q", own.Type)
		}
		return t, false
	}
	attributes := kind.Attributes()
	for _, p := range rest.Pairs() {
		if names := keyNames(Keys(attributes)); !slices.Contains(names, p.Key.Text()) {
			p.Key.Problemf(Suggest(p.Key.Text(), slices.Concat(ownNames, names)), "unknown key %q in a toxic of type %s", p.Key.Text(), kind.Name)
			rest = rest.Without(p.Key.Text())
		}
	}
	rest.Decode(attributes)
	if c, ok := attributes.(interface{ Check() error }); ok && len(v.doc.problems) == before {
		if err := c.Check(); err != nil {
			v.Problemf("", "%s", err)
		}
	}
	if own.Name == "" {
		own.Name = own.Type + "_" + own.Stream
	}
	raw, err := json.Marshal(attributes)
	if err != nil {
		panic("topology: attributes of " + kind.Name + ": " + err.Error()) // a struct of plain fields
	}
	t.At = own.At
	t.ToxicSpec = ToxicSpec{Name: own.Name, Type: own.Type, Stream: own.Stream, Toxicity: own.Toxicity, Attributes: raw}
	return t, len(v.doc.problems) == before
}

func toxicTypeNames(reg *Registry) []string {
	var names []string
	for _, t := range reg.Toxics {
		names = append(names, t.Name)
	}
	return names
}

// ParseToxic reads a toxic from a type and KEY=VALUE words, as a command line
// has them: a list as its items with commas between them, a map as in a lab file, in
// braces. Problems are shown with the words as the source.
func ParseToxic(reg *Registry, kind string, words []string) (ToxicSpec, error) {
	src := []string{"type: " + quoted(kind)}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		src = append(src, key+": "+written(reg, kind, key, value))
	}
	src = append(src, "at: command-line") // last, since what is wrong with all of it is shown at the first
	doc, err := ParseDocument("toxic", []byte(strings.Join(src, "\n")))
	if err != nil {
		return ToxicSpec{}, err
	}
	t, _ := DecodeToxic(reg, doc.Root())
	return t.ToxicSpec, doc.Err()
}

// written writes an attribute's value as YAML.
func written(reg *Registry, kind, key, value string) string {
	t, known := reg.ToxicType(kind)
	if !known {
		return quoted(value)
	}
	keys := Keys(t.Attributes())
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == key })
	switch {
	case i >= 0 && keys[i].Type.Kind() == reflect.Slice:
		var items []string
		for item := range strings.SplitSeq(value, ",") {
			items = append(items, quoted(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case i >= 0 && keys[i].Type.Kind() == reflect.Map && strings.HasPrefix(value, "{") && !strings.Contains(value, "\n"):
		return value
	}
	return quoted(value)
}

// quoted leaves words and numbers as they are, and quotes what YAML could take for something else.
func quoted(s string) string {
	if regexp.MustCompile(`^[A-Za-z0-9._/-]+$`).MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
