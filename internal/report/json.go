package report

import (
	"encoding/json"
	"io"
	"math"
	"time"
)

// document is the JSON document of a run. Seconds are lab time, null where there
// is none.
type document struct {
	Passed bool    `json:"passed"`
	Speed  float64 `json:"speed"`
	Engine string  `json:"engine"`
	Cells  []cell  `json:"cells"`
}

// cell is one client in one play.
type cell struct {
	Scenario string `json:"scenario"`
	Lab      string `json:"lab"`
	Path     string `json:"path"`
	Client   string `json:"client"`
	Verdict  string `json:"verdict"`
	// Expected is a verdict; where several pass they are joined with " or ".
	Expected    string   `json:"expected"`
	Passed      bool     `json:"passed"`
	Cause       string   `json:"cause"`
	Connections int      `json:"connections"`
	Sent        int      `json:"sent"`
	Lost        int      `json:"lost"`
	Duplicated  int      `json:"duplicated"`
	Outage      *float64 `json:"outage_s"`
	Detect      *float64 `json:"detect_s"`
	Recover     *float64 `json:"recover_s"`
}

func writeJSON(w io.Writer, r Run, o Options) error {
	d := document{Passed: r.Passed(), Speed: r.Speed, Engine: r.Engine, Cells: []cell{}}
	for _, p := range r.Results {
		for _, c := range p.Cells {
			d.Cells = append(d.Cells, cell{
				Scenario: p.Scenario, Lab: p.Lab, Path: p.Path, Client: c.Client,
				Verdict: string(c.Verdict), Expected: c.Expected.String(), Passed: c.Passed,
				Cause:       c.Cause.Text(o.Language),
				Connections: c.Connections, Sent: c.Sent, Lost: c.Lost, Duplicated: c.Duplicated,
				Outage: seconds(c.Outage), Detect: seconds(c.Detect), Recover: seconds(c.Recover),
			})
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(d)
}

// seconds to the millisecond: more is noise.
func seconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	s := math.Round(d.Seconds()*1000) / 1000
	return &s
}
