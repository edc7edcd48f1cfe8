package topology

import (
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"github.com/wslab/wslab/labs"
)

var update = flag.Bool("update", false, "write golden files anew")

// The registry of the tests: topology knows no kinds, so it is tested with some of its own.
type testClient struct {
	Via []string `json:"via" doc:"Through which nodes."`
	URL string   `json:"url" doc:"Where to."`

	Blocked bool `json:"blocked" doc:"Whether it gets there."`
}

// known are the embedded labs that the registry of the tests understands. With the
// real one all of them are read in cmd/wslab.
func known() []string {
	return []string{
		"cloud-load-balancer", "corporate", "corporate-debian", "dpi-firewall", "home", "kubernetes-ingress",
		"missing-upgrade", "two-office-vpn",
	}
}

type testProxy struct {
	Protocol     string            `json:"protocol" doc:"What it speaks." enum:"http,socks5,reverse" required:"true"`
	AllowConnect []int             `json:"allow_connect" doc:"Ports." min:"1" max:"65535"`
	Users        map[string]string `json:"users" doc:"Names and passwords."`
	Upstream     []string          `json:"upstream" doc:"Nodes."`
	IdleTimeout  time.Duration     `json:"idle_timeout" doc:"Silence after which it closes." max:"24h"`
	// What the embedded labs have besides.
	UpstreamTLS bool          `json:"upstream_tls" doc:"Whether it speaks TLS."`
	MaxLifetime time.Duration `json:"max_lifetime" doc:"Age at which it closes."`
	OnLifetime  string        `json:"on_lifetime" doc:"How." enum:"fin,1001"`
	OnDrain     string        `json:"on_drain" doc:"How."`
	Upgrade     string        `json:"upgrade" doc:"Whether it passes." enum:"pass,strip"`
}

type testConditions struct {
	Delay time.Duration `json:"delay,omitempty" doc:"How long."`
	Loss  int           `json:"loss,omitempty" doc:"How much." max:"100"`
	Down  bool          `json:"down,omitempty" doc:"Whether nothing passes."`
}

// Check refuses what no single key tells.
func (c *testConditions) Check() error {
	if c.Down && c.Delay > 0 {
		return errors.New("what is down delays nothing")
	}
	return nil
}

type testFirewall struct {
	Allow       []string       `json:"allow" doc:"What passes."`
	Rules       []testRule     `json:"rules" doc:"What passes, in order."`
	Stateful    bool           `json:"stateful" doc:"Whether answers pass."`
	IdleTimeout time.Duration  `json:"idle_timeout" doc:"Silence." clock:"kernel" min:"1s"`
	OnExpiry    string         `json:"on_expiry" doc:"What then." enum:"drop,reset,recover"`
	Inspect     testInspection `json:"inspect" doc:"What is looked at."`
}

type testRule struct {
	Name      string     `json:"name" doc:"What it is called."`
	From      []string   `json:"from" doc:"From where."`
	To        []string   `json:"to" doc:"Where to."`
	Direction string     `json:"direction" doc:"Which way."`
	Proto     string     `json:"proto" doc:"Which protocol."`
	Port      []testPort `json:"port" doc:"Which ports."`
	Action    string     `json:"action" doc:"What is done." required:"true"`
}

// testPort is a text that may be written as a number.
type testPort string

func (testPort) Schema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "integer"}, {Type: "string"}}}
}

// testInspection has what is inside of other keys: a list, and a default.
type testInspection struct {
	WebSocket string      `json:"websocket" doc:"What is done to a cleartext Upgrade." enum:"pass,drop,reset"`
	PlainHTTP string      `json:"plain_http" doc:"What is done to what is no TLS."`
	Names     []testNames `json:"tls_server_name" doc:"What is done to TLS."`
	Slow      testSlow    `json:"slow" doc:"How slow."`
}

type testNames struct {
	Names  []string `json:"names" doc:"Which names." required:"true"`
	Action string   `json:"action" doc:"What is done."`
}

type testSlow struct {
	Bandwidth int64         `json:"bandwidth" doc:"Bytes a second."`
	Delay     time.Duration `json:"delay" doc:"How much later."`
}

// testCommand may be a proxy or none.
type testCommand struct {
	Command     []string          `json:"command" doc:"What runs."`
	Image       string            `json:"image" doc:"Of what."`
	Files       map[string]string `json:"files" doc:"Its files."`
	Certificate bool              `json:"certificate" doc:"Whether it has one."`
	Proxy       *testProxy        `json:"proxy" doc:"Whether it is one."`
}

func (c *testCommand) Passage() Passage {
	if c.Proxy == nil {
		return nil
	}
	return c.Proxy
}

func (p *testProxy) PassageUsers() []string { return slices.Sorted(maps.Keys(p.Users)) }

type testNAT struct {
	IdleTimeout time.Duration `json:"idle_timeout" doc:"Silence." clock:"kernel" min:"1s"`
	OnExpiry    string        `json:"on_expiry" doc:"What then." enum:"drop,reset,recover"`

	Transitory time.Duration     `json:"transitory_timeout" doc:"Half open." min:"1s" clock:"kernel"`
	Ports      string            `json:"ports" doc:"Which." enum:"keep,random"`
	MaxEntries int               `json:"max_entries" doc:"How many." min:"0"`
	OnFull     string            `json:"on_full" doc:"What then." enum:"drop,evict"`
	Forward    map[string]string `json:"forward" doc:"Who stands behind a port."`
	Hairpin    bool              `json:"hairpin" doc:"Whether there is a way back."`
}

type testLatency struct {
	Latency time.Duration `json:"latency" doc:"Delay." required:"true"`
	Jitter  time.Duration `json:"jitter" doc:"More or less."`
}

type testStrategy struct {
	Ping *struct {
		Interval time.Duration `json:"interval" doc:"How often." required:"true" min:"1ms"`
	} `json:"ping" doc:"WebSocket pings."`
	Tries int `json:"tries" doc:"How often." min:"0"`
}

func testRegistry() *Registry {
	return &Registry{
		Kinds: []*Kind{
			{Name: "client", Summary: "Talks.", Moves: true, Settings: func() any { return &testClient{} }, Check: checkClient},
			{Name: "proxy", Summary: "Carries.", Carries: true, Settings: func() any { return &testProxy{AllowConnect: []int{443}} }},
			{Name: "firewall", Summary: "Stops.", Carries: true, Routes: true, MinNetworks: 2, Settings: func() any { return &testFirewall{Inspect: testInspection{Slow: testSlow{Bandwidth: 1000}}} }},
			{Name: "nat", Summary: "Translates.", Carries: true, Routes: true, OneWay: true, Moves: true, MinNetworks: 2,
				Settings: func() any { return &testNAT{IdleTimeout: 432000 * time.Second, OnExpiry: "drop"} },
				Needs: func(s any) Needs {
					return Needs{Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.netfilter.nf_conntrack_tcp_timeout_established": "@" + s.(*testNAT).IdleTimeout.String()}}
				}},
			{Name: "server", Summary: "Answers.", Target: true, Settings: func() any { return &struct{}{} }},
			{Name: "command", Summary: "Is anything.", Opaque: true, Settings: func() any { return &testCommand{} },
				Needs: func(s any) Needs {
					c := s.(*testCommand)
					return Needs{Program: strings.Join(c.Command, " "), Image: c.Image}
				}},
		},
		Presets: []*Preset{
			{Name: "cloud-nat", Kind: "nat", Summary: "Resets.", Settings: testSettings("{ idle_timeout: 350s, on_expiry: reset }")},
			{Name: "old-nat", Kind: "nat", Summary: "Drops.", Settings: testSettings("{ idle_timeout: 30s }")},
			{Name: "squid", Kind: "proxy", Summary: "Tunnels.", Settings: testSettings("{ protocol: http, idle_timeout: 15m, users: { alice: secret } }")},
		},
		Toxics:        []*ToxicType{{Name: "latency", Summary: "Delays.", Attributes: func() any { return &testLatency{} }}},
		Strategies:    []string{"none", "ws-ping"},
		NewStrategy:   func() any { return &testStrategy{} },
		NewConditions: func() any { return &testConditions{} },
		Profiles: []*Profile{
			{Name: "slow", Summary: "Slow.", Sources: []string{"nobody"}, New: func() any { return &testConditions{Delay: time.Second, Loss: 3} }},
		},
	}
}

// testSettings are the settings of a preset.
func testSettings(src string) *Value {
	doc, err := ParseDocument("presets.yaml", []byte(src))
	if err != nil {
		panic(err)
	}
	return doc.Root()
}

// checkClient is what a kind's check looks like.
func checkClient(c *NodeCheck) {
	if c.Node.Settings.(*testClient).URL != "" {
		return
	}
	for _, n := range c.Lab.Nodes {
		if n.Kind.Target && c.Reaches(c.Node.Name, n.Name) {
			return
		}
		if _, ok := n.Passage(); ok && c.Reaches(c.Node.Name, n.Name) {
			return
		}
	}
	c.Problemf("", "", "client %s has no way to a server", c.Node.Name)
}

func TestEmbeddedLabsAreValid(t *testing.T) {
	for _, name := range known() {
		src, err := labs.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Load(name+".yaml", src, testRegistry())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := NewPlan(l, PlanOptions{Speed: 1}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInvalid compares the whole message of each file in testdata/invalid with
// the golden file beside it.
func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Load(filepath.Base(file), src, testRegistry())
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("%v is not Problems", err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", problems.Error()+"\n")
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/invalid/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../labs/home.yaml", "../labs/corporate.yaml") {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(presetLab))
	f.Fuzz(func(t *testing.T, src []byte) {
		l, err := Load("fuzz.yaml", src, testRegistry())
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if _, err := NewPlan(l, PlanOptions{Speed: 1}); err != nil {
			t.Logf("valid, but no plan: %v", err)
		}
	})
}
