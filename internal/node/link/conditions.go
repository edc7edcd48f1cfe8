// Package link is the conditions of a node's place on a network: delay, jitter, loss,
// reordering, duplicates, rate, maximum packet size, and a link that is down. They act on every
// packet that arrives, the TCP handshake included.
//
// Packets are held in a queue of the kernel (NFQUEUE) and let go one by one. netem would do
// much of it in the kernel, where the kernel has it; many small ones do not. The queue is
// there on all of them, and gives the same figures everywhere, from a seed.
//
// Packets are held where they arrive (prerouting), not where they leave: what TCP has
// sent and the machine still holds counts against the sender's own limit on unsent
// data (TCP Small Queues), which would throttle it to a few packets in each delay.
package link

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/wslab/wslab/topology"
)

// Conditions of one direction of a link. The zero value changes nothing.
type Conditions struct {
	Delay     time.Duration `json:"delay,omitempty" doc:"How long every packet is delayed, one way."`
	Jitter    time.Duration `json:"jitter,omitempty" doc:"The delay varies at random by up to this much, less or more; order is kept."`
	Loss      Percent       `json:"loss,omitempty" doc:"Share of packets that are lost, such as 1%."`
	Reorder   Percent       `json:"reorder,omitempty" doc:"Share of packets that overtake those that are delayed: they are not delayed themselves."`
	Duplicate Percent       `json:"duplicate,omitempty" doc:"Share of packets that arrive twice: the second directly behind the first."`
	Rate      Rate          `json:"rate,omitempty" doc:"Bits a second, such as 2mbit or 300kbit. Up to 250 ms of packets wait for it; what comes then is lost."`
	MTU       int           `json:"mtu,omitempty" doc:"Largest packet in bytes; 0 is the network's own." min:"0" max:"65535"`
	Down      bool          `json:"down,omitempty" doc:"Nothing passes, as when a cable is pulled beyond the switch."`
	Seed      int64         `json:"seed,omitempty" doc:"The same seed gives the same packets (the first, the second ...) the same fate in every run; 0 takes another each time." min:"0"`
}

// None says whether the conditions change nothing.
func (c Conditions) None() bool {
	c.Seed = 0
	return c == Conditions{}
}

// shapes says whether packets have to be held or lost by chance.
func (c Conditions) shapes() bool {
	c.Seed, c.MTU, c.Down = 0, 0, false
	return c != Conditions{}
}

// Check says what is wrong beyond the bounds of single figures.
func (c Conditions) Check() error {
	switch {
	case c.Reorder > 0 && c.Delay == 0:
		return fmt.Errorf("reorder needs a delay: packets overtake those that are delayed")
	case c.MTU != 0 && c.MTU < minMTU:
		return fmt.Errorf("mtu is %d, not at least %d (RFC 791, section 3.2)", c.MTU, minMTU)
	}
	return nil
}

// minMTU is the least that IPv4 allows.
const minMTU = 68

// Wall divides the times by the speed and multiplies the rate with it.
func (c Conditions) Wall(speed float64) Conditions {
	c.Delay = time.Duration(float64(c.Delay) / speed)
	c.Jitter = time.Duration(float64(c.Jitter) / speed)
	c.Rate = Rate(float64(c.Rate) * speed)
	return c
}

// String lists what is set, as on a command line.
func (c Conditions) String() string {
	var parts []string
	add := func(set bool, key string, value any) {
		if set {
			parts = append(parts, fmt.Sprintf("%s=%v", key, value))
		}
	}
	add(c.Down, "down", c.Down)
	add(c.Delay != 0, "delay", c.Delay)
	add(c.Jitter != 0, "jitter", c.Jitter)
	add(c.Loss != 0, "loss", c.Loss)
	add(c.Reorder != 0, "reorder", c.Reorder)
	add(c.Duplicate != 0, "duplicate", c.Duplicate)
	add(c.Rate != 0, "rate", c.Rate)
	add(c.MTU != 0, "mtu", c.MTU)
	add(c.Seed != 0, "seed", c.Seed)
	return strings.Join(parts, " ")
}

// Percent is a share from 0 to 100, written as "1.5%".
type Percent float64

// String writes it down.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'g', -1, 64) + "%" }

// Describe says what a file gives.
func (Percent) Describe() string { return "a share, such as 1.5%" }

// Schema is a text.
func (Percent) Schema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)?%$`}
}

// ParsePercent reads "1.5%".
func ParsePercent(text string) (Percent, error) {
	number, ok := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(n >= 0 && n <= 100) {
		return 0, fmt.Errorf("%q is no share from 0%% to 100%%, such as 1.5%%", text)
	}
	return Percent(n), nil
}

// DecodeValue reads it from a file.
func (p *Percent) DecodeValue(v *topology.Value) {
	if v.Kind() != topology.ScalarValue {
		v.Problemf("", "this has to be %s, not %s", p.Describe(), v.Kind())
		return
	}
	n, err := ParsePercent(v.Text())
	if err != nil {
		v.Problemf("", "%v", err)
		return
	}
	*p = n
}

// MarshalJSON writes "1.5%".
func (p Percent) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// UnmarshalJSON reads "1.5%".
func (p *Percent) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	n, err := ParsePercent(text)
	*p = n
	return err
}

// Rate is bits a second, written as tc(8) does: 300kbit, 2mbit, 1gbit.
type Rate int64

// units of a rate, the largest first.
var units = []struct {
	name string
	bits float64
}{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

// String writes it down.
func (r Rate) String() string {
	for _, u := range units {
		if n := float64(r) / u.bits; n >= 1 || u.bits == 1 {
			return strconv.FormatFloat(n, 'f', -1, 64) + u.name
		}
	}
	return ""
}

// Describe says what a file gives.
func (Rate) Describe() string { return "a rate, such as 2mbit" }

// Schema is a text.
func (Rate) Schema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)?(bit|kbit|mbit|gbit)$`}
}

// ParseRate reads "2mbit".
func ParseRate(text string) (Rate, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(strings.ToLower(text), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if bits := math.Round(n * u.bits); err == nil && bits >= 1 && bits <= 1e12 {
			return Rate(bits), nil
		}
		break
	}
	return 0, fmt.Errorf("%q is no rate, such as 300kbit, 2mbit or 1gbit", text)
}

// DecodeValue reads it from a file.
func (r *Rate) DecodeValue(v *topology.Value) {
	if v.Kind() != topology.ScalarValue {
		v.Problemf("", "this has to be %s, not %s", r.Describe(), v.Kind())
		return
	}
	n, err := ParseRate(v.Text())
	if err != nil {
		v.Problemf("", "%v", err)
		return
	}
	*r = n
}

// MarshalJSON writes "2mbit".
func (r Rate) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }

// UnmarshalJSON reads "2mbit".
func (r *Rate) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	n, err := ParseRate(text)
	*r = n
	return err
}
