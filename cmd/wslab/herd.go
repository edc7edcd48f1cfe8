package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/internal/strategies"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

// mostClients bounds a herd: each client of each strategy is played one after another.
const mostClients = 100000

// herdDocument is a herd in JSON.
type herdDocument struct {
	Strategy string  `json:"strategy"`
	Attempts float64 `json:"attempts_per_client"`
	Peak     int     `json:"peak_in_100_ms"`
	Back     int     `json:"back"`
	// Last is when the last one was back, null where none is.
	Last *float64 `json:"last_back_s"`
}

// printHerd says how clients come back that lose their connections at the same moment.
func (c *cli) printHerd(names []string, clients int, down time.Duration) error {
	if clients < 1 || clients > mostClients {
		return usagef("--clients %d: there can be 1 to %d", clients, mostClients)
	}
	if down <= 0 || down > 24*time.Hour {
		return usagef("--down %s: the server can be down for up to 24h", down)
	}
	all := strategy.Builtin()
	for _, name := range names {
		if !slices.ContainsFunc(all, func(n strategy.Named) bool { return n.Name == name }) {
			return usagef("there is no strategy %q; %s", name, topology.Suggest(name, registry().Strategies))
		}
	}
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(n strategy.Named) bool { return !slices.Contains(names, n.Name) })
	}
	herds := strategies.Crowd{Clients: clients, Down: down, Seed: 1}.Gather(all)
	if len(herds) < len(all) && len(names) > 0 {
		c.progress("left out, because they do not reconnect: %s", strings.Join(missing(all, herds), ", "))
	}
	if c.settings.format == "json" {
		documents := make([]herdDocument, len(herds))
		for i, h := range herds {
			documents[i] = herdDocument{Strategy: h.Strategy, Attempts: h.Attempts, Peak: h.Peak, Back: h.Back}
			if last := h.Last.Seconds(); h.Back > 0 {
				documents[i].Last = &last
			}
		}
		return c.printJSON(documents)
	}
	rows := make([][]string, len(herds))
	for i, h := range herds {
		back, last := fmt.Sprint(h.Back), fmt.Sprintf("+%.1f s", h.Last.Seconds())
		if h.Back == 0 {
			back, last = "none, they have given up", "-"
		}
		rows[i] = []string{h.Strategy, fmt.Sprintf("%.1f", h.Attempts), fmt.Sprint(h.Peak), back, last}
	}
	return c.printTable([]string{"STRATEGY", "ATTEMPTS", "PEAK IN 100 MS", "BACK", "LAST"}, rows)
}

// missing are the names of strategies that have no herd.
func missing(all []strategy.Named, herds []strategies.Herd) []string {
	var names []string
	for _, n := range all {
		if !slices.ContainsFunc(herds, func(h strategies.Herd) bool { return h.Strategy == n.Name }) {
			names = append(names, n.Name)
		}
	}
	return names
}
