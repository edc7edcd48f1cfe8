package nsexec

import (
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestHostsFile(t *testing.T) {
	got := hostsFile(map[string]netip.Addr{
		"server": netip.MustParseAddr("203.0.113.2"),
		"alice":  netip.MustParseAddr("10.20.0.2"),
	})
	want := "127.0.0.1\tlocalhost\n::1\tlocalhost\n10.20.0.2\talice\n203.0.113.2\tserver\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLastWins(t *testing.T) {
	got := lastWins([]string{"A=1", "B=2", "A=3", "C", "B=4"})
	if want := []string{"A=3", "C", "B=4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestUnknownProgram(t *testing.T) {
	cmd := Command(t.Context(), "/proc/self/exe", "/proc/self/ns/net", Options{Args: []string{"no-such-program"}})
	if err := cmd.Start(); !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
	if err := Command(t.Context(), "/proc/self/exe", "/proc/self/ns/net", Options{}).Start(); err == nil || err.Error() != "no program to run" {
		t.Error(err)
	}
}

func TestMainRefuses(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "node-exec is not for people: use exec"},
		{[]string{"{}", "--"}, "node-exec is not for people: use exec"},
		{[]string{"{", "--", "true"}, "node-exec: unexpected end of JSON input"},
		{[]string{`{"netns":"/nonexistent"}`, "--", "true"}, "network namespace of the node: open /nonexistent: no such file or directory"},
	} {
		if err := Main(tt.args); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %s", tt.args, err, tt.want)
		}
	}
}
