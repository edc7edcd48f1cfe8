package scenarios

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wslab/wslab/labs"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
	"github.com/wslab/wslab/toxics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The kinds of this test: the keys of the real ones that scenarios have to do with.
type (
	clientSettings struct {
		Via   []string `json:"via"`
		Paths []any    `json:"paths" yaml:"-"`
	}
	proxySettings struct {
		Protocol string            `json:"protocol"`
		Allow    []int             `json:"allow_connect"`
		Users    map[string]string `json:"users"`
		Upstream string            `json:"upstream"`
		Idle     time.Duration     `json:"idle_timeout"`
	}
	firewallSettings struct {
		Allow   []string          `json:"allow"`
		Inspect map[string]string `json:"inspect"`
	}
	natSettings struct {
		Idle     time.Duration `json:"idle_timeout" clock:"kernel" min:"1s"`
		OnExpiry string        `json:"on_expiry" enum:"drop,reset,recover"`
	}
	serverSettings struct{}
)

func (s *proxySettings) PassageUsers() []string { return nil }

func known(t testing.TB) Known {
	t.Helper()
	reg := &topology.Registry{
		Toxics:      toxics.Types(),
		NewStrategy: func() any { return new(strategy.Strategy) },
		Kinds: []*topology.Kind{
			{Name: "client", Settings: func() any { return &clientSettings{} }},
			{Name: "proxy", Settings: func() any { return &proxySettings{} }, Carries: true},
			{Name: "firewall", Settings: func() any { return &firewallSettings{} }, Carries: true, Routes: true},
			{Name: "nat", Settings: func() any { return &natSettings{OnExpiry: "drop"} }, Carries: true, Routes: true, OneWay: true},
			{Name: "server", Settings: func() any { return &serverSettings{} }, Target: true},
		},
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
