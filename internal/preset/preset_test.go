package preset

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/firewall"
	"github.com/wslab/wslab/internal/node/nat"
	"github.com/wslab/wslab/internal/node/proxy"
	"github.com/wslab/wslab/topology"
)

var update = flag.Bool("update", false, "write golden files anew")

// kinds are those that presets can be of.
func kinds() []*topology.Kind {
	var out []*topology.Kind
	for _, k := range []*node.Kind{proxy.Kind(), firewall.Kind(), nat.Kind()} {
		out = append(out, &k.Kind)
	}
	return out
}

// TestCatalogue reads the data file as the command does: a wrong key of a setting, an
// unknown word of a claim or a missing source fails here, with its place.
func TestCatalogue(t *testing.T) {
	all, err := Parse("presets.yaml", catalogue, kinds())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		kind, ok := (&topology.Registry{Kinds: kinds()}).Kind(p.Kind)
		if !ok {
			t.Fatalf("%s: no kind %q", p.Name, p.Kind)
		}
		settings := kind.Settings()
		p.Settings.DecodePart(settings)
		for _, k := range topology.Keys(settings) {
			if k.Required && p.Settings.Get(k.Name) == nil {
				t.Errorf("%s does not give %s, which a %s cannot do without", p.Name, k.Name, p.Kind)
			}
		}
		// What is claimed is what is set.
		for _, c := range []struct{ key, claim string }{
			{"idle_timeout", p.Claims.Timeout.String()},
			{"max_lifetime", p.Claims.MaxLifetime.String()},
			{"on_expiry", p.Claims.OnExpiry},
		} {
			if c.key == "idle_timeout" && p.Settings.Get("read_timeout") != nil {
				c.key = "read_timeout"
			}
			if c.key == "on_expiry" && p.Settings.Get("ports") != nil {
				continue // a mapping that is made anew with another port is no recovery
			}
			for _, k := range topology.Keys(settings) {
				if set := fmt.Sprint(k.Value); k.Name == c.key && set != c.claim {
					t.Errorf("%s claims %s %s, but sets %s", p.Name, c.key, c.claim, set)
				}
			}
		}
		if !slices.Contains(confidences(), p.Confidence) {
			t.Errorf("%s: confidence %q", p.Name, p.Confidence)
		}
		for _, text := range []string{p.Summary, p.Use} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is no sentence", p.Name, text)
			}
		}
		if OnExpiry(p.Claims.OnExpiry) == "" || Activity(p.Claims.Activity) == "" || Confidence(p.Confidence) == "" {
			t.Errorf("%s: a word without a description", p.Name)
		}
	}
	// Those that the project promises by name.
	for _, name := range strings.Fields(promised) {
		if _, ok := Find(all, name); !ok {
			t.Errorf("there is no preset %s", name)
		}
	}
}

const promised = `aws-nat-gateway aws-nlb aws-alb aws-api-gateway azure-load-balancer azure-nat-gateway gcp-cloud-nat cloudflare
	heroku nginx haproxy squid apache envoy linux-conntrack kube-proxy-ipvs pf fortigate home-gateway rfc-5382`

// TestWrong compares what is said about a catalogue that is wrong in every way.
func TestWrong(t *testing.T) {
	src, err := os.ReadFile("testdata/wrong.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kinds := []*topology.Kind{{Name: "nat", Settings: func() any {
		return &struct {
			IdleTimeout time.Duration `json:"idle_timeout" min:"1s"`
			OnExpiry    string        `json:"on_expiry" enum:"drop,reset,recover"`
		}{}
	}}}
	_, err = Parse("wrong.yaml", src, kinds)
	var problems topology.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("%v", err)
	}
	golden := filepath.Join("testdata", "wrong.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, readErr := os.ReadFile(golden)
	if readErr != nil {
		t.Fatal(readErr)
	}
	if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, src := range []string{"", "[]", "a: b", "a: {}", "{"} {
		if _, err := Parse("wrong.yaml", []byte(src), kinds); err == nil {
			t.Errorf("%q is accepted", src)
		}
	}
}
