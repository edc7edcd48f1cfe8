package topology

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PlanOptions are what a plan depends on beside the lab.
type PlanOptions struct {
	// Name of the instance; empty is the lab's name.
	Name string
	// File that the lab was read from.
	File string
	// Speed divides every duration; it has to be over 0.
	Speed float64
	// Taken are ranges that others use: networks of the lab that overlap one are
	// moved to a free range of the same size.
	Taken []PlannedNetwork
	// Running is the plan of the instance as it runs, nil if it does not: a
	// network whose range in the file is the same keeps its range.
	Running *Plan
	// CA of the instance.
	CA *Authority
}

// SpeedError says that a speed would take a duration that the kernel keeps in
// whole seconds under one second.
type SpeedError struct {
	Speed, Max float64
	// Key is the duration that limits the speed, such as "nat.idle_timeout".
	Key string
	// Preset that the duration is from; "" if the file gives it.
	Preset string
}

// Error names the largest speed that works.
func (e *SpeedError) Error() string {
	key := e.Key
	if e.Preset != "" {
		key += " (from preset " + e.Preset + ")"
	}
	return fmt.Sprintf("speed %s takes %s under one second, which the kernel does not count: the largest speed that works here is %s",
		plain(e.Speed), key, plain(e.Max))
}

// plain writes a speed without an exponent.
func plain(speed float64) string { return strconv.FormatFloat(speed, 'f', -1, 64) }

// NewPlan works a lab out: addresses, routes and a spec for each node.
func NewPlan(l *Lab, o PlanOptions) (*Plan, error) {
	p := &Plan{Lab: o.Name, File: o.File, Speed: o.Speed}
	if p.Lab == "" {
		p.Lab = l.Name
	}
	if !ValidName(p.Lab) {
		return nil, fmt.Errorf("%q cannot be a lab's name: %s", p.Lab, nameHint)
	}
	if err := checkSpeed(l, o.Speed); err != nil {
		return nil, err
	}
	if err := p.place(l, o); err != nil {
		return nil, err
	}
	addresses, err := p.address(l)
	if err != nil {
		return nil, err
	}
	spares := p.spares(l, addresses)
	routes := newRouting(l)
	for i := range l.Nodes {
		spec, err := p.spec(l, &l.Nodes[i], addresses, spares, routes)
		if err != nil {
			return nil, err
		}
		if o.CA != nil {
			ca := *o.CA
			if !spec.Needs.CA {
				ca.KeyPEM = ""
			}
			spec.CA = &ca
		}
		p.Nodes = append(p.Nodes, spec)
	}
	p.shareOnwardPorts()
	return p, p.link(l)
}

// The ports that NodeSpec.OnwardPorts are of.
const (
	firstOnwardPort = 16384
	lastOnwardPort  = 32767
	// mostShares leaves a node 1024 of them. Nodes whose shares are the same are seldom on one way.
	mostShares = 16
)

// shareOnwardPorts gives each node that asks for source ports as many as the others.
func (p *Plan) shareOnwardPorts() {
	var askers []*NodeSpec
	for i := range p.Nodes {
		if p.Nodes[i].Needs.OnwardPorts {
			askers = append(askers, &p.Nodes[i])
		}
	}
	const all = lastOnwardPort - firstOnwardPort + 1
	shares := min(len(askers), mostShares)
	for i, n := range askers {
		share := i % shares
		first, next := firstOnwardPort+share*all/shares, firstOnwardPort+(share+1)*all/shares
		n.OnwardPorts = [2]uint16{uint16(first), uint16(next - 1)}
	}
}

// checkSpeed refuses a speed that the kernel's clocks do not bear.
func checkSpeed(l *Lab, speed float64) error {
	if !(speed > 0) || math.IsInf(speed, 0) {
		return fmt.Errorf("speed %g: it has to be a number over 0", speed)
	}
	limit := &SpeedError{Speed: speed, Max: math.Inf(1)}
	lower := func(settings any, of string) (key string, lower bool) {
		most, key := MaxSpeed(settings)
		if most >= limit.Max {
			return "", false
		}
		limit.Max, limit.Key, limit.Preset = most, of+"."+key, ""
		return key, true
	}
	for _, n := range l.Nodes {
		if key, lowered := lower(n.Settings, n.Name); lowered && n.fromPreset(key) {
			limit.Preset = n.Preset.Name
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Strategies)) {
		lower(l.Strategies[name], "strategies."+name)
	}
	if speed > limit.Max {
		return limit
	}
	return nil
}

// MaxSpeed returns the largest speed that takes no duration with clock:"kernel" of
// a struct, or of what it holds, under one second, and the key that limits it;
// +Inf when none does. A duration of 0 is one that is not set.
func MaxSpeed(v any) (speed float64, key string) {
	speed = math.Inf(1)
	for _, k := range Keys(v) {
		if d, ok := k.Value.(time.Duration); ok {
			if k.Kernel && d > 0 && d.Seconds() < speed {
				speed, key = d.Seconds(), k.Name
			}
			continue
		}
		if inner, innerKey := maxSpeedInside(reflect.ValueOf(k.Value)); inner < speed {
			speed, key = inner, k.Name+innerKey
		}
	}
	return speed, key
}

// maxSpeedInside is MaxSpeed of what a key holds; the key it returns goes after that key.
func maxSpeedInside(v reflect.Value) (speed float64, key string) {
	speed = math.Inf(1)
	lower := func(item reflect.Value, prefix string) {
		if inner, innerKey := maxSpeedInside(item); inner < speed {
			speed, key = inner, prefix+innerKey
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return maxSpeedInside(v.Elem())
		}
	case reflect.Struct:
		speed, key = MaxSpeed(v.Interface())
		key = "." + key
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			lower(v.Index(i), fmt.Sprintf("[%d]", i))
		}
	case reflect.Map:
		names := v.MapKeys()
		slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, name := range names {
			lower(v.MapIndex(name), fmt.Sprintf(".%v", name))
		}
	}
	return speed, key
}

// place gives every network its range: the one it runs at, else the one that the
// file asks for, else a free one.
func (p *Plan) place(l *Lab, o PlanOptions) error {
	var used []netip.Prefix
	for _, t := range o.Taken {
		used = append(used, t.Prefix)
	}
	// Networks that can stay where they are come first: none that moves may take their place.
	kept := make(map[string]netip.Prefix)
	for _, n := range l.Networks {
		if r, ok := keptRange(o.Running, n); ok && !overlapsAny(r, used) {
			kept[n.Name] = r
			used = append(used, r)
		}
	}
	for _, n := range l.Networks {
		planned := PlannedNetwork{Name: n.Name, Asked: n.Prefix, Prefix: n.Prefix}
		r, stays := kept[n.Name]
		switch {
		case stays && r != n.Prefix:
			p.notef("network %s stays at %s, where it was moved to: the lab file asks for %s", n.Name, r, n.Prefix)
			planned.Prefix = r
		case !stays && overlapsAny(n.Prefix, used):
			free, ok := freeRange(n.Prefix.Bits(), used, l.Networks)
			if !ok {
				return fmt.Errorf("network %s: %s is taken and no other /%d is free", n.Name, n.Prefix, n.Prefix.Bits())
			}
			p.notef("network %s is at %s: %s is taken by another lab or network of this engine", n.Name, free, n.Prefix)
			planned.Prefix = free
		}
		used = append(used, planned.Prefix)
		p.Networks = append(p.Networks, planned)
	}
	return nil
}

func (p *Plan) notef(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// keptRange returns the range that a network has in the running instance.
func keptRange(running *Plan, n Network) (netip.Prefix, bool) {
	if running == nil {
		return netip.Prefix{}, false
	}
	for _, r := range running.Networks {
		if r.Name == n.Name && r.Asked == n.Prefix {
			return r.Prefix, true
		}
	}
	return netip.Prefix{}, false
}

func overlapsAny(p netip.Prefix, used []netip.Prefix) bool {
	return slices.ContainsFunc(used, p.Overlaps)
}

// freeRange finds a range of that size that nobody uses and no network of the
// lab asks for, from the private ranges that are seldom used.
func freeRange(bits int, used []netip.Prefix, asked []Network) (netip.Prefix, bool) {
	for _, n := range asked {
		used = append(slices.Clone(used), n.Prefix)
	}
	for _, pool := range []string{"10.64.0.0/10", "10.128.0.0/9", "172.24.0.0/13", "10.0.0.0/8"} {
		within := netip.MustParsePrefix(pool)
		if bits < within.Bits() {
			continue
		}
		for p := netip.PrefixFrom(within.Addr(), bits); within.Contains(p.Addr()); {
			if !overlapsAny(p, used) {
				return p, true
			}
			next := lastAddr(p).Next()
			if !next.IsValid() {
				break
			}
			p = netip.PrefixFrom(next, bits)
		}
	}
	return netip.Prefix{}, false
}

// placeKey is a node's place on a network.
type placeKey struct{ node, network string }

// address gives every node its addresses: those asked for first, the others in
// the order of the file from the second address on. What is left over is reserved.
func (p *Plan) address(l *Lab) (map[placeKey]netip.Addr, error) {
	addresses := make(map[placeKey]netip.Addr)
	for i := range p.Networks {
		n := &p.Networks[i]
		used := make(map[netip.Addr]bool)
		for _, node := range l.Nodes {
			for _, a := range node.On {
				if a.Network == n.Name && a.Addr.IsValid() {
					addr := moved(a.Addr, n.Asked, n.Prefix)
					addresses[placeKey{node.Name, n.Name}] = addr
					used[addr] = true
				}
			}
		}
		first := n.Prefix.Addr().Next()
		n.Reserved = first
		if used[first] {
			for a := lastAddr(n.Prefix).Prev(); used[n.Reserved]; a = a.Prev() {
				n.Reserved = a
			}
		}
		used[n.Reserved] = true
		next := first.Next()
		for _, node := range l.Nodes {
			for _, a := range node.On {
				if a.Network != n.Name || a.Addr.IsValid() {
					continue
				}
				for used[next] {
					next = next.Next()
				}
				if next == lastAddr(n.Prefix) || !n.Prefix.Contains(next) {
					// The upper end is full of addresses that were asked for: go round.
					next = first
					for used[next] && n.Prefix.Contains(next) {
						next = next.Next()
					}
				}
				if !n.Prefix.Contains(next) || next == lastAddr(n.Prefix) {
					return nil, fmt.Errorf("network %s: %s has no address left for %s", n.Name, n.Prefix, node.Name)
				}
				addresses[placeKey{node.Name, n.Name}] = next
				used[next] = true
			}
		}
	}
	return addresses, nil
}

// spares gives each node that can change its address another one to change to, from
// the upper end of the network, as long as there are some.
func (p *Plan) spares(l *Lab, addresses map[placeKey]netip.Addr) map[placeKey]netip.Addr {
	used := make(map[netip.Addr]bool)
	for _, a := range addresses {
		used[a] = true
	}
	spares := make(map[placeKey]netip.Addr)
	for _, n := range p.Networks {
		used[n.Reserved], used[n.Prefix.Addr()] = true, true
		next := lastAddr(n.Prefix).Prev()
		for _, node := range l.Nodes {
			for i, at := range node.On {
				if at.Network != n.Name || !node.Kind.Moves || node.Kind.OneWay && i < len(node.On)-1 {
					continue
				}
				for used[next] && next != n.Prefix.Addr() {
					next = next.Prev()
				}
				if next == n.Prefix.Addr() {
					continue
				}
				used[next] = true
				spares[placeKey{node.Name, n.Name}] = next
			}
		}
	}
	return spares
}

// moved returns the address at the same place of another range.
func moved(a netip.Addr, from, to netip.Prefix) netip.Addr {
	offset := number(a) - number(from.Addr())
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], number(to.Addr())+offset)
	return netip.AddrFrom4(b)
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// spec works one node out.
func (p *Plan) spec(l *Lab, n *Node, addresses, spares map[placeKey]netip.Addr, routes *routing) (NodeSpec, error) {
	spec := NodeSpec{Lab: p.Lab, Name: n.Name, Kind: n.Kind.Name, Speed: p.Speed, Source: l.Name, File: p.File}
	for _, a := range n.On {
		spec.Interfaces = append(spec.Interfaces, Interface{
			Network: a.Network,
			Addr:    netip.PrefixFrom(addresses[placeKey{n.Name, a.Network}], p.network(a.Network).Prefix.Bits()),
			Spare:   spares[placeKey{n.Name, a.Network}],
		})
	}
	reached := routes.from(n)
	for _, network := range p.Networks {
		if h, ok := reached[network.Name]; ok && h.gateway != nil {
			spec.Routes = append(spec.Routes, Route{Dst: network.Prefix, Via: addresses[placeKey{h.gateway.Name, h.network}]})
		}
	}
	spec.Hosts = hosts(l, n, addresses, reached)
	var err error
	if spec.Settings, err = json.Marshal(n.Settings); err != nil {
		return spec, fmt.Errorf("settings of node %s: %w", n.Name, err)
	}
	if n.Preset != nil {
		spec.Preset = &PresetUse{Name: n.Preset.Name, Keys: n.FromPreset}
	}
	for _, t := range l.Toxics {
		if t.At == n.Name {
			spec.Toxics = append(spec.Toxics, t.ToxicSpec)
		}
	}
	if n.Kind.Needs != nil {
		spec.Needs = n.Kind.Needs(n.Settings)
	}
	if spec.Needs.Sysctls, err = sysctls(spec.Needs.Sysctls, p.Speed); err != nil {
		return spec, fmt.Errorf("node %s: %w", n.Name, err)
	}
	if spec.Needs.Networks {
		spec.Networks = p.Networks
	}
	if spec.Needs.Strategies {
		spec.Strategies = make(map[string]json.RawMessage)
		for name, s := range l.Strategies {
			if spec.Strategies[name], err = json.Marshal(s); err != nil {
				return spec, fmt.Errorf("strategy %s: %w", name, err)
			}
		}
	}
	return spec, nil
}

func (p *Plan) network(name string) *PlannedNetwork {
	i := slices.IndexFunc(p.Networks, func(n PlannedNetwork) bool { return n.Name == name })
	return &p.Networks[i] // the loader has checked that it is there
}

// hosts are the names of the lab as a node resolves them: the address on a network
// of its own, else one that it has a route to, else the first (a name may
// resolve where packets do not get to: a proxy does). Each address of a one-way router has
// a name of its own as well, NODE.NETWORK.
func hosts(l *Lab, n *Node, addresses map[placeKey]netip.Addr, reached map[string]hop) map[string]netip.Addr {
	all := make(map[string]netip.Addr)
	for _, other := range l.Nodes {
		if other.Name == n.Name || len(other.On) == 0 {
			continue
		}
		best, rank := other.On[0].Network, 3
		for _, a := range other.On {
			r := 2
			h, ok := reached[a.Network]
			switch {
			case ok && h.gateway == nil:
				r = 0
			case ok:
				r = 1
			}
			if r < rank {
				best, rank = a.Network, r
			}
		}
		all[other.Name] = addresses[placeKey{other.Name, best}]
		if other.Kind.OneWay {
			// Its sides are not the same to those who connect to it.
			for _, a := range other.On {
				all[other.Name+"."+a.Network] = addresses[placeKey{other.Name, a.Network}]
			}
		}
	}
	return all
}

// sysctls resolves values that are durations of the lab ("@30s") into whole
// seconds of wall time, at least one.
func sysctls(in map[string]string, speed float64) (map[string]string, error) {
	// A new network namespace may forward packets because the host does (ip-sysctl.rst of
	// the kernel, devconf_inherit_init_net): who does not ask for it is no router.
	out := map[string]string{"net.ipv4.ip_forward": "0"}
	for key, value := range in {
		if text, ok := strings.CutPrefix(value, "@"); ok {
			d, err := time.ParseDuration(text)
			if err != nil {
				return nil, fmt.Errorf("sysctl %s: %w", key, err)
			}
			value = strconv.FormatInt(int64(max(1, math.Round(d.Seconds()/speed))), 10)
		}
		out[key] = value
	}
	return out, nil
}

// Digest is equal for specs that an engine need not tell apart. Where the file
// lies makes no difference, nor does the key of the certificate authority: its
// certificate says which one it is.
func (s *NodeSpec) Digest() string {
	c := *s
	c.File = ""
	if c.CA != nil {
		c.CA = &Authority{CertPEM: c.CA.CertPEM}
	}
	return digest(c)
}

// Digest is equal for networks that an engine need not tell apart.
func (n PlannedNetwork) Digest() string { return digest(n) }

func digest(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("topology: " + err.Error()) // specs are made of plain fields
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}
