package netns

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wslab/wslab/internal/engine/enginetest"
)

// newEngine returns an engine with a state directory of its own, and the real
// command as its binary.
func newEngine(t testing.TB) *Engine {
	t.Helper()
	binary := enginetest.Build(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	e, err := New(Options{Binary: binary, Notice: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Probe(t.Context()); err != nil {
		if os.Getenv("WSLAB_REQUIRE_NETNS") != "" {
			t.Fatalf("network namespaces are required here: %v", err)
		}
		t.Skipf("no network namespaces: %v", err)
	}
	return e
}

func TestEngine(t *testing.T) {
	e := newEngine(t)
	enginetest.Run(t, &enginetest.Rig{
		Engine: e,
		Lab:    "test",
		// Every lab has its own namespaces, so all have the same ranges.
		Prefixes: func(testing.TB, int) []netip.Prefix {
			return []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("10.0.2.0/24")}
		},
		Left: func(t testing.TB, lab string) []string { return left(t, e, lab) },
	})
}

// left lists the files of a lab and the processes of the engine's binary that are
// not of another lab with a socket.
func left(t testing.TB, e *Engine, lab string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(e.dir, lab+".*"))
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if exe, err := os.Readlink(filepath.Join(d, "exe")); err != nil || exe != e.binary {
			continue
		}
		environ, err := os.ReadFile(filepath.Join(d, "environ"))
		if err == nil && bytes.Contains(environ, []byte(`"lab":"`+lab+`"`)) {
			cmdline, _ := os.ReadFile(filepath.Join(d, "cmdline"))
			found = append(found, filepath.Base(d)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}
