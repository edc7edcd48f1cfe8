package nodespec

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wslab/wslab/topology"
)

func spec(padding int) topology.NodeSpec {
	settings, _ := json.Marshal(map[string]string{"padding": strings.Repeat("x", padding)})
	return topology.NodeSpec{
		Lab: "lab", Name: "alice", Kind: "client", Speed: 2,
		Interfaces: []topology.Interface{{Network: "office", Addr: netip.MustParsePrefix("10.20.0.2/24")}},
		Hosts:      map[string]netip.Addr{"server": netip.MustParseAddr("203.0.113.2")},
		Settings:   settings,
	}
}

func TestRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name     string
		padding  int
		variable string
	}{
		{"small", 10, Plain},
		{"large", 300 << 10, Packed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := spec(tt.padding)
			entry, err := Environ(want)
			if err != nil {
				t.Fatal(err)
			}
			if name, _, _ := strings.Cut(entry, "="); name != tt.variable {
				t.Errorf("carried in %s, want %s", name, tt.variable)
			}
			got, err := FromEnviron([]string{"PATH=/bin", entry})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The kernel has to take what Environ returns.
func TestLargestPlainIsTakenByTheKernel(t *testing.T) {
	entry, err := Environ(spec(plainLimit - 1000))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = []string{entry}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

func TestFromEnvironErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		environ []string
		want    string
	}{
		{"nothing", nil, "neither WSLAB_SPEC nor WSLAB_SPEC_GZ is set: only an engine starts a node"},
		{"no JSON", []string{Plain + "={"}, "spec of the node: unexpected end of JSON input"},
		{"no base64", []string{Packed + "=****"}, "WSLAB_SPEC_GZ: illegal base64 data at input byte 0"},
		{"no gzip", []string{Packed + "=AAAAAAAAAAAAAAAA"}, "WSLAB_SPEC_GZ: gzip: invalid header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := FromEnviron(tt.environ)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %q, want %q", err, tt.want)
			}
		})
	}
}

func FuzzFromEnviron(f *testing.F) {
	entry, err := Environ(spec(10))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(entry)
	f.Add(Packed + "=H4sIAAAAAAAA")
	f.Fuzz(func(t *testing.T, entry string) {
		s, err := FromEnviron([]string{entry})
		if err != nil {
			return
		}
		if _, err := Environ(s); err != nil && !strings.Contains(err.Error(), "too large") {
			t.Errorf("decoded but not encoded: %v", err)
		}
	})
}
