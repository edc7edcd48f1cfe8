package scenarios

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/topology"
)

// Step is one step of a scenario.
type Step interface {
	// String returns the step as it stands in a file.
	String() string
	// takes is how long the step lasts, in lab time.
	takes() time.Duration
	// node that the step acts on, or "".
	node() string
	// short returns a pointer to the field that the short form fills, or nil.
	short() any
	// check reports what is wrong with the step in this lab.
	check(c *stepCheck)
	// play does it.
	play(ctx context.Context, p *branch) error
}

// compound is a step that is made of others.
type compound interface {
	// lists are the steps inside, each list in its order.
	lists() []list
}

// list is steps with where they stand in the file.
type list struct {
	steps  []Step
	values []*topology.Value
}

// every yields the steps of a list and those inside of them.
func every(steps []Step) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		for _, s := range steps {
			if !yield(s) {
				return
			}
			c, ok := s.(compound)
			if !ok {
				continue
			}
			for _, l := range c.lists() {
				for inner := range every(l.steps) {
					if !yield(inner) {
						return
					}
				}
			}
		}
	}
}

// StepType is a kind of step, as a file writes it.
type StepType struct {
	// Name is the key of the step.
	Name string
	// Summary is one sentence for the schema and the documentation.
	Summary string
	// New returns a pointer to a step with its defaults set; its tags describe
	// the keys of the long form.
	New func() Step
}

// StepTypes is the list of the steps. A new one is added here and nowhere else.
//
// Talking goes on through every step but quiet: what stands between two talks happens
// while the clients talk.
func StepTypes() []StepType {
	return []StepType{
		{"talk", "Clients and server send numbered messages to each other, or one side does, for this long.", func() Step { return &Talk{Every: 500 * time.Millisecond, By: byBoth} }},
		{"quiet", "Nobody sends a message for this long; keepalive goes on.", func() Step { return &Quiet{} }},
		{"toxic", "A fault is put on the streams that a node carries, or taken away; it ends with the play at the latest.", func() Step { return &Toxic{} }},
		{"reset", "A node sends RST to both ends of every connection that it carries.", func() Step { return &Reset{} }},
		{"drain", "A reverse proxy ends the connections that it carries, as when its configuration is replaced; new ones are served on.", func() Step { return &Drain{} }},
		{"flush-nat", "A NAT forgets all of its mappings.", func() Step { return &FlushNAT{} }},
		{"address-change", "A NAT's outside address, or a client's, changes to another one: what was open is left behind, and nobody is told.", func() Step { return &AddressChange{} }},
		{"crowd", "A client opens many connections that say nothing, as other people's do, and keeps those that it gets.", func() Step { return &Crowd{} }},
		{"close", "A server closes connections with a close frame.", func() Step { return &Close{} }},
		{"half-open", "A server's end of connections is gone, and nobody is told: what is sent there gets no answer, and no FIN or RST comes.", func() Step { return &HalfOpen{} }},
		{"restart", "A node's process is replaced: all of its connections end; toxics that were added to it are gone.", func() Step { return &Restart{} }},
		{"link", "A network, or a node's place on one, gets other conditions: delay, loss, rate, or down altogether. They take the place of those that it has.", func() Step { return &Link{} }},
		{"pause", "A node's process stands still for this long, its kernel goes on.", func() Step { return &Pause{} }},
		{"sleep", "A node is asleep for this long, as a laptop with its lid closed: its programs stand still and its network is off. The timers of its kernel go on: TCP keepalive may give a connection up meanwhile.", func() Step { return &Sleep{} }},
		{"stall", "The program of a client does not come back from a message for a while: it reads nothing more and sends nothing, while the keepalive of its library goes on.", func() Step { return &Stall{} }},
		{"names", "Look-ups of names fail at a node.", func() Step { return &LookUps{Fail: "servfail"} }},
		{"configure", "A node's settings are changed, and its process is replaced for it; they are what they were after the play.", func() Step { return &Configure{} }},
		{"until", "The play waits until something has happened, or for a time at most.", func() Step { return &Until{Condition: Condition{Count: 1}} }},
		{"repeat", "Steps are played several times.", func() Step { return &Repeat{} }},
		{"together", "Lists of steps are played side by side; the next step begins when all have ended.", func() Step { return &Together{} }},
	}
}

func stepNames() []string {
	var names []string
	for _, t := range StepTypes() {
		names = append(names, t.Name)
	}
	return names
}

// Talk lets clients and server talk.
type Talk struct {
	For   time.Duration `json:"for" doc:"How long." required:"true"`
	Every time.Duration `json:"every" doc:"The time from one message to the next." min:"1ms"`
	By    string        `json:"by" doc:"Who sends: of a break in silence the side that sends first learns first, or alone." enum:"both,client,server"`
	Size  int           `json:"size" doc:"How many bytes are added to each message, to fill a narrow way." min:"0" max:"262144"`
	Until *Condition    `json:"until" doc:"The step ends earlier once this has happened."`
}

// Who sends in a talk.
const (
	byBoth   = "both"
	byClient = "client"
	byServer = "server"
)

// Quiet stops all talk.
type Quiet struct {
	For   time.Duration `json:"for" doc:"How long." required:"true"`
	Until *Condition    `json:"until" doc:"The step ends earlier once this has happened."`
}

// Toxic adds a toxic to a node, or removes one.
type Toxic struct {
	At     string
	Spec   topology.ToxicSpec
	For    time.Duration
	Remove string
}

// toxicTime are the keys of a toxic step beside those of a toxic.
type toxicTime struct {
	For time.Duration `json:"for" doc:"The toxic is removed after this time, while later steps go on; left out, it stays to the end of the play."`
}

// toxicRemoval are the keys of a step that removes a toxic.
type toxicRemoval struct {
	At     string `json:"at" doc:"The node that has the toxic." required:"true"`
	Remove string `json:"remove" doc:"The name of the toxic; TYPE_STREAM if it was given none." required:"true"`
}

// Reset resets every connection that a node carries.
type Reset struct {
	At string `json:"at" doc:"The node: a proxy, a firewall or a NAT." required:"true"`
}

// Drain lets a reverse proxy end its connections.
type Drain struct {
	At    string        `json:"at" doc:"The reverse proxy." required:"true"`
	Grace time.Duration `json:"grace" doc:"How long the connections may go on before they are ended; the next step begins at once."`
}

// FlushNAT lets a NAT forget its mappings.
type FlushNAT struct {
	At string `json:"at" doc:"The NAT." required:"true"`
}

// Restart replaces a node's process.
type Restart struct {
	Node string        `json:"node" doc:"The node." required:"true"`
	Down time.Duration `json:"down" doc:"How long it stays away."`
	// Close is nil where nothing is said to the clients.
	Close *int `json:"close" doc:"A server closes its connections with this code before it goes, such as 1001 or 1012; without it they end as on_restart says." min:"1000" max:"4999"`
}

// Pause stops a node's process and continues it.
type Pause struct {
	Node string        `json:"node" doc:"The node." required:"true"`
	For  time.Duration `json:"for" doc:"How long." required:"true"`
}

// String returns the step as in a file.
func (s *Talk) String() string {
	text := "talk: " + s.For.String()
	if s.By != byBoth {
		text += " by the " + s.By
	}
	if s.Size > 0 {
		text += fmt.Sprintf(" with %d bytes more in each message", s.Size)
	}
	return text + s.Until.orUntil()
}

// String returns the step as in a file.
func (s *Quiet) String() string { return "quiet: " + s.For.String() + s.Until.orUntil() }

// String returns the step as in a file.
func (s *Toxic) String() string {
	if s.Remove != "" {
		return fmt.Sprintf("toxic: remove %s at %s", s.Remove, s.At)
	}
	text := fmt.Sprintf("toxic: %s %s at %s", s.Spec.Type, s.Spec.Stream, s.At)
	if s.For > 0 {
		text += " for " + s.For.String()
	}
	return text
}

// String returns the step as in a file.
func (s *Reset) String() string { return "reset: " + s.At }

// String returns the step as in a file.
func (s *Drain) String() string {
	if s.Grace > 0 {
		return fmt.Sprintf("drain: %s, with a grace of %s", s.At, s.Grace)
	}
	return "drain: " + s.At
}

// String returns the step as in a file.
func (s *FlushNAT) String() string { return "flush-nat: " + s.At }

// String returns the step as in a file.
func (s *Restart) String() string {
	text := "restart: " + s.Node
	if s.Down > 0 {
		text += fmt.Sprintf(", down for %s", s.Down)
	}
	if s.Close != nil {
		text += fmt.Sprintf(", after closing with %d", *s.Close)
	}
	return text
}

// String returns the step as in a file.
func (s *Pause) String() string { return fmt.Sprintf("pause: %s for %s", s.Node, s.For) }

func (s *Talk) takes() time.Duration     { return s.For }
func (s *Quiet) takes() time.Duration    { return s.For }
func (s *Toxic) takes() time.Duration    { return 0 }
func (s *Reset) takes() time.Duration    { return 0 }
func (s *Drain) takes() time.Duration    { return 0 }
func (s *FlushNAT) takes() time.Duration { return 0 }
func (s *Restart) takes() time.Duration  { return 0 }
func (s *Pause) takes() time.Duration    { return s.For }

func (s *Talk) node() string     { return "" }
func (s *Quiet) node() string    { return "" }
func (s *Toxic) node() string    { return s.At }
func (s *Reset) node() string    { return s.At }
func (s *Drain) node() string    { return s.At }
func (s *FlushNAT) node() string { return s.At }
func (s *Restart) node() string  { return s.Node }
func (s *Pause) node() string    { return s.Node }

func (s *Talk) short() any     { return &s.For }
func (s *Quiet) short() any    { return &s.For }
func (s *Toxic) short() any    { return nil }
func (s *Reset) short() any    { return &s.At }
func (s *Drain) short() any    { return &s.At }
func (s *FlushNAT) short() any { return &s.At }
func (s *Restart) short() any  { return &s.Node }
func (s *Pause) short() any    { return nil }

// stepCheck is a step in one lab.
type stepCheck struct {
	lab   *topology.Lab
	value *topology.Value
	// clients are the strategies that the scenario plays.
	clients  []string
	registry *topology.Registry
}

// list checks steps.
func (c *stepCheck) list(l list) {
	for i, s := range l.steps {
		inner := *c
		inner.value = l.values[i]
		s.check(&inner)
	}
}

// at returns the value of a key; in the short form that is the step's own.
func (c *stepCheck) at(key string) *topology.Value {
	if v := c.value.Get(key); v != nil {
		return v
	}
	return c.value
}

// positive reports a duration that is not over 0.
func (c *stepCheck) positive(key string, d time.Duration) {
	if d != 0 || c.at(key).Kind() != topology.ScalarValue {
		return
	}
	if zero, err := time.ParseDuration(c.at(key).Text()); err == nil && zero == 0 {
		c.at(key).Problemf("", "a step has to last longer than that")
	}
}

// place reports a node that is not in the lab or is not of the right sort.
func (c *stepCheck) place(key, name, what string, fits func(*topology.Kind) bool) {
	if name == "" {
		return // reported already
	}
	fitting := nodesOf(c.lab, fits)
	n, ok := c.lab.Node(name)
	switch {
	case !ok:
		c.at(key).Problemf(topology.Suggest(name, fitting), "lab %s has no node %q", c.lab.Name, name)
	case !fits(n.Kind):
		hint := ""
		if len(fitting) > 0 {
			hint = "it can be: " + strings.Join(fitting, ", ")
		}
		c.at(key).Problemf(hint, "%s is a %s and %s", name, n.Kind.Name, what)
	}
}

// nodesOf lists the nodes of a lab whose kind fits.
func nodesOf(l *topology.Lab, fits func(*topology.Kind) bool) []string {
	var names []string
	for _, n := range l.Nodes {
		if fits(n.Kind) {
			names = append(names, n.Name)
		}
	}
	return names
}

func anyKind(*topology.Kind) bool   { return true }
func carries(k *topology.Kind) bool { return k.Carries }
func forgets(k *topology.Kind) bool { return k.OneWay }

func (s *Talk) check(c *stepCheck) {
	c.positive("for", s.For)
	c.condition("until", s.Until)
}
func (s *Quiet) check(c *stepCheck) {
	c.positive("for", s.For)
	c.condition("until", s.Until)
}
func (s *Pause) check(c *stepCheck) {
	c.positive("for", s.For)
	c.place("node", s.Node, "", anyKind)
}
func (s *Restart) check(c *stepCheck) {
	c.place("node", s.Node, "cannot be restarted: the sessions start from it", func(k *topology.Kind) bool { return !isClient(k) })
	if s.Close == nil {
		return
	}
	if n, ok := c.lab.Node(s.Node); ok && !isTarget(n.Kind) {
		c.at("close").Problemf("", "%s is a %s: only a server closes with a code", s.Node, n.Kind.Name)
		return
	}
	c.closeCode("close", *s.Close)
}
func (s *Toxic) check(c *stepCheck) { c.place("at", s.At, "carries no streams", carries) }
func (s *Reset) check(c *stepCheck) { c.place("at", s.At, "carries no streams", carries) }
func (s *Drain) check(c *stepCheck) {
	c.place("at", s.At, "carries no streams", carries)
	n, ok := c.lab.Node(s.At)
	if !ok || !carries(n.Kind) {
		return
	}
	if d, ok := n.Settings.(interface{ Drains() bool }); !ok || !d.Drains() {
		c.at("at").Problemf("", "%s is no reverse proxy: it cannot be drained", s.At)
	}
}
func (s *FlushNAT) check(c *stepCheck) {
	c.place("at", s.At, "has no mappings to forget", forgets)
}

// decodeSteps reads the list of steps. Steps that were not understood are left
// out and reported.
func decodeSteps(reg *topology.Registry, v *topology.Value) (l list) {
	if v.Kind() != topology.ListValue {
		v.Problemf("write a list:\n          - talk: 5s\n          - quiet: 45s", "steps have to be a list, not %s", v.Kind())
		return list{}
	}
	if len(v.List()) == 0 {
		v.Problemf("", "this needs a step")
	}
	for _, item := range v.List() {
		if item.Kind() != topology.MapValue || len(item.Pairs()) != 1 {
			item.Problemf("a step is one of: "+strings.Join(stepNames(), ", ")+"; such as talk: 5s", "this is not a step with one key")
			continue
		}
		key, value := item.Pairs()[0].Key, item.Pairs()[0].Value
		i := slices.IndexFunc(StepTypes(), func(t StepType) bool { return t.Name == key.Text() })
		if i < 0 {
			key.Problemf(topology.Suggest(key.Text(), stepNames()), "unknown step %q", key.Text())
			continue
		}
		step := StepTypes()[i].New()
		if d, ok := step.(interface {
			decode(*topology.Registry, *topology.Value)
		}); ok {
			d.decode(reg, value)
		} else {
			decodeStep(step, value)
		}
		l.steps, l.values = append(l.steps, step), append(l.values, value)
	}
	return l
}

// decodeStep reads the short form (a single value) or the long one (a map).
func decodeStep(step Step, v *topology.Value) {
	short := step.short()
	if v.Kind() == topology.ScalarValue && short != nil {
		v.Decode(short)
		return
	}
	v.Decode(step)
}

// decode reads a toxic with the attributes of its type, or a removal.
func (s *Toxic) decode(reg *topology.Registry, v *topology.Value) {
	if v.Get("remove") != nil {
		var r toxicRemoval
		v.Decode(&r)
		s.At, s.Remove = r.At, r.Remove
		return
	}
	if f := v.Get("for"); f != nil {
		f.Decode(&s.For)
		v = v.Without("for")
	}
	t, ok := topology.DecodeToxic(reg, v)
	if ok {
		s.Spec = t.ToxicSpec
	}
	if at := v.Get("at"); at != nil {
		s.At = at.Text() // the place is checked even when the toxic is wrong
	}
}
