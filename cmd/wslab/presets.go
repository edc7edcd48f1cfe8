package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/preset"
	"github.com/wslab/wslab/topology"
)

func (c *cli) presetsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "presets [NAME]",
		Short: "List the middleboxes that a proxy, firewall or NAT can be, or show one",
		Long: `List the presets: what named proxies, firewalls and NATs are known to do to a quiet
connection, with the source and how sure it is. A node of a lab file takes one with
preset: NAME; its own keys are laid over the preset's.`,
		Example: "  wslab presets\n  wslab presets aws-nat-gateway\n  wslab presets --format json",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, p := range presets() {
				names = append(names, cobra.CompletionWithDesc(p.Name, p.Summary))
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			all := presets()
			if len(args) == 0 {
				return c.printPresets(all)
			}
			p, ok := preset.Find(all, args[0])
			if !ok {
				return usagef("there is no preset %q; %s", args[0], topology.Suggest(args[0], preset.Names(all)))
			}
			if c.settings.format == "json" {
				return c.printJSON(presetJSON(p))
			}
			return c.printPreset(p)
		},
	}
}

// presetDocument is a preset in JSON. Seconds are null where there is no such limit.
type presetDocument struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Summary   string `json:"summary"`
	Use       string `json:"use"`
	Settings  any    `json:"settings"`
	TimeoutS  any    `json:"timeout_s"`
	Range     string `json:"range,omitempty"`
	OnExpiry  string `json:"on_expiry"`
	OnPush    string `json:"on_push"`
	Activity  string `json:"activity"`
	LifetimeS any    `json:"max_lifetime_s"`
	// Source is where the figure is from, Sources are all.
	Source     string          `json:"source"`
	Confidence string          `json:"confidence"`
	Sources    []preset.Source `json:"sources"`
	Note       string          `json:"note,omitempty"`
}

func presetJSON(p preset.Preset) presetDocument {
	d := presetDocument{
		Name: p.Name, Kind: p.Kind, Summary: p.Summary, Use: p.Use, Settings: p.Settings.Plain(),
		Range: p.Claims.Range, OnExpiry: p.Claims.OnExpiry, OnPush: p.Claims.Push(), Activity: p.Claims.Activity,
		Source: p.Sources[0].Where, Confidence: p.Confidence, Sources: p.Sources, Note: p.Note,
	}
	if p.Claims.Timeout > 0 {
		d.TimeoutS = p.Claims.Timeout.Seconds()
	}
	if p.Claims.MaxLifetime > 0 {
		d.LifetimeS = p.Claims.MaxLifetime.Seconds()
	}
	return d
}

func (c *cli) printPresets(all []preset.Preset) error {
	if c.settings.format == "json" {
		documents := make([]presetDocument, len(all))
		for i, p := range all {
			documents[i] = presetJSON(p)
		}
		return c.printJSON(documents)
	}
	var rows [][]string
	for _, p := range all {
		rows = append(rows, []string{
			p.Name, p.What(), p.Claims.TimeoutText(), p.Claims.LifetimeText(), p.Claims.OnExpiry, p.Claims.Activity, p.Confidence,
		})
	}
	return c.printTable([]string{"NAME", "KIND", "TIMEOUT", "LIFETIME", "ON EXPIRY", "ACTIVITY", "CONFIDENCE"}, rows)
}

// printPreset shows all there is to know about a preset.
func (c *cli) printPreset(p preset.Preset) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	line := func(label, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", label, fmt.Sprintf(format, args...)) // Flush tells
	}
	line("Preset", "%s, for a %s", p.Name, p.What())
	line("", "%s", p.Summary)
	line("Situation", "%s", p.Use)
	line("Settings", "%s", strings.Trim(p.Settings.String(), "{ }"))
	if timeout := p.Claims.TimeoutText(); p.Claims.Range != "" {
		line("Timeout", "%s (%s)", timeout, p.Claims.Range)
	} else {
		line("Timeout", "%s", timeout)
	}
	line("Lifetime", "%s", p.Claims.LifetimeText())
	line("Activity", "%s", preset.Activity(p.Claims.Activity))
	line("On expiry", "%s", preset.OnExpiry(p.Claims.OnExpiry))
	if push := p.Claims.Push(); push != p.Claims.OnExpiry {
		line("", "where the server sends first: %s", preset.OnExpiry(push))
	}
	for i, s := range p.Sources {
		label := ""
		if i == 0 {
			label = "Sources"
		}
		line(label, "%s (%s)", s.Where, s.Confidence)
		line("", "  %s", s.Says)
	}
	line("Confidence", "%s: %s", p.Confidence, preset.Confidence(p.Confidence))
	if p.Note != "" {
		line("Note", "%s", p.Note)
	}
	return w.Flush()
}
