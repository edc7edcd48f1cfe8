package topology

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/labs"
)

var update = flag.Bool("update", false, "write golden files anew")

// The registry of the tests: topology knows no kinds, so it is tested with some of its own.
type testClient struct {
	Via []string `json:"via" doc:"Through which nodes."`
}

type testProxy struct {
	Protocol     string            `json:"protocol" doc:"What it speaks." enum:"http,socks5,reverse" required:"true"`
	AllowConnect []int             `json:"allow_connect" doc:"Ports." min:"1" max:"65535"`
	Users        map[string]string `json:"users" doc:"Names and passwords."`
	Upstream     string            `json:"upstream" doc:"A node."`
	IdleTimeout  time.Duration     `json:"idle_timeout" doc:"Silence after which it closes." max:"24h"`
}

type testFirewall struct {
	Allow   []string `json:"allow" doc:"What passes."`
	Inspect struct {
		WebSocket string `json:"websocket" doc:"What is done to a cleartext Upgrade." enum:"pass,drop,reset"`
	} `json:"inspect" doc:"What is looked at."`
}

type testNAT struct {
	IdleTimeout time.Duration `json:"idle_timeout" doc:"Silence." clock:"kernel" min:"1s"`
	OnExpiry    string        `json:"on_expiry" doc:"What then." enum:"drop,reset,recover"`
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
			{Name: "client", Summary: "Talks.", Settings: func() any { return &testClient{} }, Check: checkClient},
			{Name: "proxy", Summary: "Carries.", Carries: true, Settings: func() any { return &testProxy{AllowConnect: []int{443}} }},
			{Name: "firewall", Summary: "Stops.", Carries: true, Routes: true, MinNetworks: 2, Settings: func() any { return &testFirewall{} }},
			{Name: "nat", Summary: "Translates.", Carries: true, Routes: true, OneWay: true, MinNetworks: 2,
				Settings: func() any { return &testNAT{IdleTimeout: 432000 * time.Second, OnExpiry: "drop"} },
				Needs: func(s any) Needs {
					return Needs{Sysctls: map[string]string{"net.netfilter.nf_conntrack_tcp_timeout_established": "@" + s.(*testNAT).IdleTimeout.String()}}
				}},
			{Name: "server", Summary: "Answers.", Target: true, Settings: func() any { return &struct{}{} }},
		},
		Toxics:      []*ToxicType{{Name: "latency", Summary: "Delays.", Attributes: func() any { return &testLatency{} }}},
		Strategies:  []string{"none", "ws-ping"},
		NewStrategy: func() any { return &testStrategy{} },
	}
}

// checkClient is what a kind's check looks like.
func checkClient(c *NodeCheck) {
	for _, n := range c.Lab.Nodes {
		if n.Kind.Target && c.Reaches(c.Node.Name, n.Name) {
			return
		}
		if n.Kind.Carries && !n.Kind.Routes && c.Reaches(c.Node.Name, n.Name) {
			return
		}
	}
	c.Problemf("", "", "client %s has no way to a server", c.Node.Name)
}

func TestEmbeddedLabsAreValid(t *testing.T) {
	for _, name := range labs.Names() {
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
