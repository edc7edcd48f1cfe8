// Package preset is the catalogue of middleboxes: what named proxies, firewalls and
// NATs are known to do to a quiet connection, as settings of the lab's own kinds, with
// what each claims and where that is from. Everything in it is in presets.yaml.
package preset

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/wslab/wslab/topology"
)

//go:embed presets.yaml
var catalogue []byte

// Preset is an entry of the catalogue.
type Preset struct {
	topology.Preset
	// Use says in which situation to take it.
	Use    string
	Claims Claims
	// Sources of the claims, the figure's first.
	Sources []Source
	// Confidence is that of the least sure source.
	Confidence string
	// Note says what the settings leave out; may be empty.
	Note string
}

// What says what a node of the preset is: its kind, and the protocol of a proxy.
func (p Preset) What() string {
	if protocol := p.Settings.Get("protocol"); protocol != nil {
		return p.Kind + " (" + protocol.Text() + ")"
	}
	return p.Kind
}

// Claims are what the middlebox does to a connection, as its sources have it. A test
// plays every preset and compares.
type Claims struct {
	// Timeout is the silence after which it acts; 0 is none.
	Timeout time.Duration `json:"timeout" doc:"The silence after which it acts; none if left out."`
	// Range that the timeout can be set to, in words; may be empty.
	Range string `json:"range" doc:"What the timeout can be set to, in words."`
	// OnExpiry says what becomes of the connection then; see [OnExpiry].
	OnExpiry string `json:"on_expiry" doc:"What becomes of the connection then." required:"true" enum:"drop,reset,recover,fin"`
	// OnPush is OnExpiry where the server speaks first afterwards; the same if empty.
	OnPush string `json:"on_push" doc:"What becomes of it where the server speaks first; as on_expiry if left out." enum:"drop,reset,recover,fin"`
	// Activity says what keeps the connection; see [Activity].
	Activity string `json:"activity" doc:"What counts as activity." required:"true" enum:"packets,data,messages,none"`
	// MaxLifetime is the age at which it ends a connection, whatever passes; 0 is none.
	MaxLifetime time.Duration `json:"max_lifetime" doc:"The age at which it ends a connection, whatever passes; none if left out."`
}

// What becomes of a connection that was silent for too long.
const (
	// Drop: it is a black hole from then on.
	Drop = "drop"
	// Reset: the next packet is answered with a RST.
	Reset = "reset"
	// Recover: the next packet makes it go on.
	Recover = "recover"
	// FIN: both sides are closed at that time, without a close frame.
	FIN = "fin"
)

// OnExpiry describes a value of [Claims.OnExpiry] in a sentence.
func OnExpiry(value string) string {
	return map[string]string{
		Drop:    "nothing is said: packets vanish from then on",
		Reset:   "nothing is said: whoever sends next is answered with a RST",
		Recover: "nothing is said: the next packet makes the connection go on",
		FIN:     "both sides are closed with a FIN, without a close frame (1006)",
	}[value]
}

// What counts as activity.
const (
	// Packets: any packet, those of TCP keepalive included.
	Packets = "packets"
	// Data: bytes of the stream, WebSocket pings included, TCP keepalive not.
	Data = "data"
	// Messages: WebSocket messages only.
	Messages = "messages"
	// None: nothing prevents what it does.
	None = "none"
)

// Activity describes a value of [Claims.Activity] in a sentence.
func Activity(value string) string {
	return map[string]string{
		Packets:  "any packet, TCP keepalive included",
		Data:     "data either way, WebSocket pings included; TCP keepalive does not count",
		Messages: "WebSocket messages; neither pings nor TCP keepalive count",
		None:     "nothing",
	}[value]
}

// Push is what becomes of the connection where the server speaks first afterwards.
func (c Claims) Push() string { return cmp.Or(c.OnPush, c.OnExpiry) }

// TimeoutText is the timeout as a person writes it, "-" for none.
func (c Claims) TimeoutText() string { return durationText(c.Timeout) }

// LifetimeText is the maximum lifetime as a person writes it, "-" for none.
func (c Claims) LifetimeText() string { return durationText(c.MaxLifetime) }

// durationText is 1h, 386m or 350s: sources give seconds where minutes are not round.
func durationText(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0 && d > time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%gs", d.Seconds())
}

// KeptByTCP says whether a client's TCP keepalive keeps the connection.
func (c Claims) KeptByTCP() bool { return c.Timeout == 0 || c.Activity == Packets }

// KeptByPing says whether WebSocket pings keep the connection.
func (c Claims) KeptByPing() bool {
	return c.Timeout == 0 || c.Activity == Packets || c.Activity == Data
}

// Source is where something is known from.
type Source struct {
	Where      string `json:"where" doc:"A URL, or a document and its section." required:"true"`
	Says       string `json:"says" doc:"What it says, in short." required:"true"`
	Confidence string `json:"confidence" doc:"How sure it is." required:"true" enum:"documented,source code,measured,secondary"`
}

// confidences are the values of [Source.Confidence], the surest first: what the maker
// documents; what was read in the source code; what was measured; what others report.
func confidences() []string { return []string{"documented", "source code", "measured", "secondary"} }

// least returns the confidence of the least sure source.
func least(sources []Source) string {
	all := confidences()
	worst := 0
	for _, s := range sources {
		worst = max(worst, slices.Index(all, s.Confidence))
	}
	return all[worst]
}

// Confidence describes a value of [Source.Confidence].
func Confidence(value string) string {
	return map[string]string{
		"documented":  "the maker or a standard says so",
		"source code": "read in its source code",
		"measured":    "seen in a measurement",
		"secondary":   "reported by others",
	}[value]
}

// Builtin returns the catalogue in the order of its file, checked against the kinds. The
// caller owns the result.
func Builtin(kinds []*topology.Kind) []Preset {
	all, err := Parse("presets.yaml", catalogue, kinds)
	if err != nil {
		panic(err) // the file is part of the binary
	}
	return all
}

// Find returns the preset of that name.
func Find(all []Preset, name string) (Preset, bool) {
	i := slices.IndexFunc(all, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		return Preset{}, false
	}
	return all[i], true
}

// Names returns the names of presets.
func Names(all []Preset) []string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return names
}

// Topology returns the presets as lab files know them.
func Topology(all []Preset) []*topology.Preset {
	out := make([]*topology.Preset, len(all))
	for i := range all {
		out[i] = &all[i].Preset
	}
	return out
}
