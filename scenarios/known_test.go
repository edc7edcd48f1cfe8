package scenarios

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wslab/wslab/internal/node/link"
	"github.com/wslab/wslab/labs"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
	"github.com/wslab/wslab/toxics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The kinds of this test: the keys of the real ones that scenarios have to do with.
type (
	clientSettings struct {
		Origin  string            `json:"origin"`
		Headers map[string]string `json:"headers"`
		Via     []string          `json:"via"`
		URL     string            `json:"url"`
		Block   bool              `json:"blocked"`
		Paths   []any             `json:"paths" yaml:"-"`
	}
	proxySettings struct {
		Protocol string            `json:"protocol" required:"true"`
		Allow    []int             `json:"allow_connect"`
		Users    map[string]string `json:"users"`
		Upstream []string          `json:"upstream"`
		Upgrade  string            `json:"upgrade"`
		Lifetime time.Duration     `json:"max_lifetime"`
		OnLife   string            `json:"on_lifetime"`
		OnDrain  string            `json:"on_drain"`
		Activity string            `json:"activity"`
		Close    string            `json:"close_frames" enum:"pass,drop"`
		TLS      bool              `json:"upstream_tls"`
		Idle     time.Duration     `json:"idle_timeout"`
		Captive  string            `json:"captive"`
		Connect  string            `json:"captive_connect"`
		Inside   string            `json:"upgrade_inside"`
		Trusted  bool              `json:"trusted"`
		Exempt   []string          `json:"exempt"`
	}
	firewallSettings struct {
		Allow    []string       `json:"allow"`
		Rules    []any          `json:"rules"`
		Stateful bool           `json:"stateful"`
		Idle     time.Duration  `json:"idle_timeout" clock:"kernel" min:"1s"`
		OnExpiry string         `json:"on_expiry" enum:"drop,reset,recover"`
		Inspect  map[string]any `json:"inspect"`
	}
	natSettings struct {
		Idle       time.Duration     `json:"idle_timeout" clock:"kernel" min:"1s"`
		Transitory time.Duration     `json:"transitory_timeout" clock:"kernel" min:"1s"`
		OnExpiry   string            `json:"on_expiry" enum:"drop,reset,recover"`
		Ports      string            `json:"ports" enum:"keep,random"`
		MaxEntries int               `json:"max_entries"`
		OnFull     string            `json:"on_full" enum:"drop,evict"`
		Forward    map[string]string `json:"forward"`
		Hairpin    bool              `json:"hairpin"`
	}
	serverSettings struct {
		Origins  []string          `json:"origins,omitempty"`
		Sessions map[string]string `json:"sessions,omitempty"`
		CSRF     string            `json:"csrf" enum:"off,session,double-submit"`
		OnEnd    string            `json:"on_restart"`
		Delay    time.Duration     `json:"handshake_delay"`
	}
)

func (s *proxySettings) PassageUsers() []string { return nil }
func (s *proxySettings) Drains() bool           { return s.Protocol == "reverse" }

func preset(t testing.TB, name, kind, settings string) *topology.Preset {
	t.Helper()
	doc, err := topology.ParseDocument("presets.yaml", []byte(settings))
	if err != nil {
		t.Fatal(err)
	}
	return &topology.Preset{Name: name, Kind: kind, Settings: doc.Root()}
}

func known(t testing.TB) Known {
	t.Helper()
	reg := &topology.Registry{
		Toxics:        toxics.Types(),
		NewStrategy:   func() any { return new(strategy.Strategy) },
		NewConditions: link.NewConditions,
		Profiles:      link.Profiles(),
		Kinds: []*topology.Kind{
			{Name: "client", Settings: func() any { return &clientSettings{} }, Moves: true},
			{Name: "proxy", Settings: func() any { return &proxySettings{} }, Carries: true, Needs: func(s any) topology.Needs {
				return topology.Needs{CA: s.(*proxySettings).Captive != ""}
			}},
			{Name: "firewall", Settings: func() any { return &firewallSettings{} }, Carries: true, Routes: true},
			{Name: "nat", Settings: func() any { return &natSettings{OnExpiry: "drop"} }, Carries: true, Routes: true, OneWay: true, Moves: true},
			{Name: "server", Settings: func() any { return &serverSettings{} }, Target: true},
		},
	}
	reg.Presets = []*topology.Preset{
		preset(t, "cloud-nat", "nat", "{ idle_timeout: 350s, on_expiry: reset }"),
		preset(t, "nginx", "proxy", "{ protocol: reverse, idle_timeout: 60s }"),
	}
	for _, s := range strategy.Builtin() {
		reg.Strategies = append(reg.Strategies, s.Name)
	}
	return Known{
		Registry: reg,
		Labs:     labs.Names(),
		Lab: func(ref string) (*topology.Lab, error) {
			src, err := labs.Read(ref)
			if err != nil {
				return nil, err
			}
			return topology.Load("embedded:"+ref, src, reg)
		},
	}
}
