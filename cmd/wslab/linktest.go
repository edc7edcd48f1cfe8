package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/internal/node/link"
	"github.com/wslab/wslab/topology"
)

// trial is a condition that is measured.
type trial struct {
	what string
	// c is in wall time.
	c     link.Conditions
	burst link.Burst
	// asked and measured are in the unit of the trial's kind, limit is how far apart they may be.
	asked, limit float64
	unit         string
	measured     func(base, got link.Arrived, sent int) float64
}

// trials is the list of what wslab link test measures.
func trials() []trial {
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	var all []trial
	for _, d := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond} {
		all = append(all, trial{
			what: "delay", c: link.Conditions{Delay: d}, burst: link.Burst{Packets: 2000, Size: 100, Every: time.Millisecond},
			asked: ms(d), limit: 1, unit: "ms",
			measured: func(base, got link.Arrived, _ int) float64 { return ms(got.Median - base.Median) },
		})
	}
	// So far apart that no packet has to wait for the one before it, as order is kept.
	const jitter = 10 * time.Millisecond
	all = append(all, trial{
		what: "jitter", c: link.Conditions{Delay: 2 * jitter, Jitter: jitter, Seed: 1}, burst: link.Burst{Packets: 1000, Size: 100, Every: 21 * time.Millisecond},
		asked: ms(jitter), limit: ms(jitter) / 10, unit: "ms",
		// The quartiles of an even distribution are half of its width apart, which is twice the jitter.
		measured: func(_, got link.Arrived, _ int) float64 { return ms(got.High - got.Low) },
	})
	for _, p := range []link.Percent{10, 25} {
		all = append(all, trial{
			what: "loss", c: link.Conditions{Loss: p, Seed: 1}, burst: link.Burst{Packets: 10_000, Size: 100, Every: 200 * time.Microsecond},
			asked: float64(p), limit: float64(p) / 10, unit: "%",
			measured: func(_, got link.Arrived, sent int) float64 { return 100 * float64(sent-got.Packets) / float64(sent) },
		})
	}
	ten := link.Percent(10)
	all = append(all, trial{
		what: "duplicate", c: link.Conditions{Duplicate: ten, Seed: 1}, burst: link.Burst{Packets: 10_000, Size: 100, Every: 200 * time.Microsecond},
		asked: float64(ten), limit: float64(ten) / 10, unit: "%",
		measured: func(_, got link.Arrived, sent int) float64 { return 100 * float64(got.Again) / float64(sent) },
	}, trial{
		// The delay is many times the interval, so that who is not delayed overtakes somebody.
		what: "reorder", c: link.Conditions{Delay: 20 * time.Millisecond, Reorder: ten, Seed: 1}, burst: link.Burst{Packets: 10_000, Size: 100, Every: 200 * time.Microsecond},
		asked: float64(ten), limit: float64(ten) / 10, unit: "%",
		measured: func(_, got link.Arrived, sent int) float64 { return 100 * float64(got.Overtook) / float64(sent) },
	})
	for _, r := range []link.Rate{1_000_000, 10_000_000, 100_000_000} {
		const size = 1200
		every := time.Duration(float64(size*8) / (1.25 * float64(r)) * float64(time.Second))
		all = append(all, trial{
			what: "rate", c: link.Conditions{Rate: r}, burst: link.Burst{Packets: int(4 * time.Second / every), Size: size, Every: every},
			asked: float64(r) / 1e6, limit: 0.03 * float64(r) / 1e6, unit: "mbit/s",
			measured: func(_, got link.Arrived, _ int) float64 { return float64(got.Bits) / got.Span.Seconds() / 1e6 },
		})
	}
	return all
}

// accuracy is what a trial came to.
type accuracy struct {
	Condition string  `json:"condition"`
	Unit      string  `json:"unit"`
	Asked     float64 `json:"asked"`
	Measured  float64 `json:"measured"`
	Limit     float64 `json:"limit"`
	Packets   int     `json:"packets"`
	OK        bool    `json:"ok"`
}

// errInaccurate says that a figure was off. The table has said which.
var errInaccurate = errors.New("conditions are not carried out exactly enough here")

func (c *cli) linkTest(cmd *cobra.Command, running engine.Lab, args []string) error {
	network, from, to, err := measured(running.Plan(), args)
	if err != nil {
		return err
	}
	c.progress("packets from %s to %s over network %s", from, to, network)
	m := &measurement{running: running, place: topology.Link{Network: network, Node: to}, from: from}
	before, err := m.conditions(cmd.Context())
	if err != nil {
		return err
	}
	results, err := m.all(cmd.Context(), c.progress)
	restoring, stop := context.WithTimeout(context.WithoutCancel(cmd.Context()), 10*time.Second)
	defer stop()
	if err := errors.Join(err, m.set(restoring, before)); err != nil {
		return err
	}
	if c.settings.format == "json" {
		err = c.printJSON(results)
	} else {
		err = c.printTable([]string{"CONDITION", "ASKED", "MEASURED", "OFF BY", "ALLOWED", "PACKETS", ""}, accuracyRows(results))
	}
	for _, r := range results {
		if err == nil && !r.OK {
			return errInaccurate
		}
	}
	return err
}

func accuracyRows(results []accuracy) [][]string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }
	var rows [][]string
	for _, r := range results {
		mark := "ok"
		if !r.OK {
			mark = "off"
		}
		rows = append(rows, []string{
			r.Condition, fmt.Sprintf("%g %s", r.Asked, r.Unit), number(r.Measured) + " " + r.Unit,
			number(math.Abs(r.Measured - r.Asked)), number(r.Limit), fmt.Sprint(r.Packets), mark,
		})
	}
	return rows
}

// measured chooses the network and the two nodes: the receiver is one that does not
// forward, for others may refuse what is for themselves.
func measured(p *topology.Plan, args []string) (network, from, to string, err error) {
	reg := registry()
	known := networksOf(p, "")
	asked := known
	if len(args) > 0 {
		l, _, err := linkNamed(p, args)
		if err != nil {
			return "", "", "", err
		}
		asked = []string{l.Network}
	}
	for _, network := range asked {
		from, to = "", ""
		for _, n := range p.Nodes {
			kind, ok := reg.Kind(n.Kind)
			for _, i := range n.Interfaces {
				switch {
				case i.Network != network:
				case to == "" && ok && !kind.Routes:
					to = n.Name
				case from == "":
					from = n.Name
				}
			}
		}
		if from != "" && to != "" {
			return network, from, to, nil
		}
	}
	return "", "", "", usagef("it takes a network with two nodes, one of which does not forward")
}

// measurement is trials between two nodes.
type measurement struct {
	running engine.Lab
	place   topology.Link // the receiver's
	from    string
}

// conditions of the receiver's place.
func (m *measurement) conditions(ctx context.Context) (link.Conditions, error) {
	all, err := shownLinks(ctx, m.running)
	for _, s := range all {
		if s.Network == m.place.Network && s.Node == m.place.Node {
			return s.Conditions, err
		}
	}
	return link.Conditions{}, err
}

func (m *measurement) set(ctx context.Context, c link.Conditions) error {
	l := m.place
	if !c.None() {
		raw, err := json.Marshal(c)
		if err != nil {
			return err
		}
		l.Conditions = raw
	}
	return setLink(ctx, m.running, l)
}

// all does the trials, after one without conditions, which the delays are measured against.
func (m *measurement) all(ctx context.Context, progress func(string, ...any)) ([]accuracy, error) {
	if err := m.set(ctx, link.Conditions{}); err != nil {
		return nil, err
	}
	base, err := m.burst(ctx, link.Burst{Packets: 2000, Size: 100, Every: time.Millisecond}, 0)
	if err != nil {
		return nil, err
	}
	if base.Packets == 0 {
		return nil, fmt.Errorf("nothing that %s sends arrives at %s, even without conditions", m.from, m.place.Node)
	}
	var results []accuracy
	for _, t := range trials() {
		progress("%v", t.c)
		if err := m.set(ctx, t.c.Wall(1/m.running.Plan().Speed)); err != nil {
			return nil, err
		}
		got, err := m.burst(ctx, t.burst, t.c.Delay)
		if err != nil {
			return nil, err
		}
		value := t.measured(base, got, t.burst.Packets)
		results = append(results, accuracy{
			Condition: t.c.String(), Unit: t.unit, Asked: t.asked, Measured: value, Limit: t.limit,
			Packets: t.burst.Packets, OK: math.Abs(value-t.asked) <= t.limit,
		})
	}
	return results, nil
}

// burst sends packets and returns what arrived; delay is how long they are under way.
func (m *measurement) burst(ctx context.Context, b link.Burst, delay time.Duration) (got link.Arrived, err error) {
	var at netip.AddrPort
	if err := lab.Call(ctx, m.running, m.place.Node, "link.listen", map[string]string{"network": m.place.Network}, &at); err != nil {
		return got, err
	}
	b.To = at
	if err := lab.Call(ctx, m.running, m.from, "link.send", b, nil); err != nil {
		return got, err
	}
	quiet := delay + 500*time.Millisecond
	err = lab.Call(ctx, m.running, m.place.Node, "link.arrived", map[string]time.Duration{"quiet": quiet}, &got)
	return got, err
}
