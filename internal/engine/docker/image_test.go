package docker

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wslab/wslab/internal/engine"
)

func names(t *testing.T, r *rootfs) []string {
	t.Helper()
	var b bytes.Buffer
	if err := r.writeTar(&b); err != nil {
		t.Fatal(err)
	}
	var all []string
	for archive := tar.NewReader(&b); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeReg {
			t.Errorf("%s is neither directory nor file", h.Name)
		}
		all = append(all, h.Name)
	}
}

func TestRootfs(t *testing.T) {
	if staticNode == "" {
		t.Skip("needs Linux")
	}
	r, err := newRootfs(staticNode, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, r), []string{"etc/", "tmp/", "wslab"}; !slices.Equal(got, want) || r.dynamic {
		t.Errorf("static: %v, want %v", got, want)
	}
	first, err := r.tag()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := r.tag(); err != nil || first != second || len(first) != 12 {
		t.Errorf("tags %q and %q, %v", first, second, err)
	}
}

// requireDynamic skips where cgo cannot be had.
func requireDynamic(t *testing.T) {
	t.Helper()
	if dynamicNode == "" {
		t.Skip("needs Linux")
	}
	f, err := elf.Open(dynamicNode)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if loader, err := interpreter(f); err != nil || loader == "" {
		t.Skip("needs a C compiler")
	}
}

func TestRootfsDynamic(t *testing.T) {
	requireDynamic(t)
	r, err := newRootfs(dynamicNode, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if all := names(t, r); !r.dynamic || len(all) < 6 {
		t.Errorf("dynamic: %v", all)
	}
}

// A dynamically linked binary takes its loader and libraries along.
func TestDynamicBinaryRuns(t *testing.T) {
	requireDynamic(t)
	e := newEngine(t, dynamicNode)
	p := newPlan(t, e)
	mustUp(t, e, p)
	l := mustOpen(t, e, p.Lab)
	if _, err := ask[string](t, l, "alice", "dial", serverAddress(p)); err != nil {
		t.Error(err)
	}
	if got := mustAsk[[]string](t, l, "alice", "lookup", "server"); len(got) == 0 {
		t.Error("server does not resolve")
	}
	if err := e.Down(t.Context(), p.Lab, nil); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, e, p.Lab)
}

// Another binary means another image: every node is replaced.
func TestOtherBinary(t *testing.T) {
	requireDynamic(t)
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	mustUp(t, e, p)
	changes := mustUp(t, newEngine(t, dynamicNode), p)
	if got := changes.Replaced; !slices.Equal(got, []string{"alice", "router", "server"}) {
		t.Errorf("replaced %v", got)
	}
	if err := e.Down(t.Context(), p.Lab, nil); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, e, p.Lab)
	if images := imagesOf(t, e, dynamicNode); len(images) > 0 {
		t.Errorf("left: %v", images)
	}
}

func TestUnfitBinary(t *testing.T) {
	if staticNode == "" {
		t.Skip("needs Linux")
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	build := "build it with: CGO_ENABLED=0 GOOS=linux GOARCH=" + runtime.GOARCH + " go build -o wslab ./cmd/wslab"
	for _, tt := range []struct{ name, binary, arch, problem, remedy string }{
		{"no ELF", script, runtime.GOARCH, "nodes run this binary, and " + script + " is not a Linux program", build},
		{"other architecture", staticNode, "mips64le", "nodes run this binary, and " + staticNode + " is for " + runtime.GOARCH +
			" while the Docker engine is mips64le", strings.Replace(build, runtime.GOARCH, "mips64le", 1)},
		{"missing library", withoutLibrary(t), runtime.GOARCH, "needs the library libq.so.6, which is not on this machine", build},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.binary == "" {
				t.Skip("needs a C compiler")
			}
			_, err := newRootfs(tt.binary, tt.arch)
			var unfit *engine.UnfitError
			if !errors.As(err, &unfit) || !strings.HasSuffix(unfit.Problem, tt.problem) || unfit.Remedy != tt.remedy {
				t.Errorf("%v", err)
			}
		})
	}
}

// withoutLibrary returns a dynamically linked binary that asks for a library nobody has.
func withoutLibrary(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(dynamicNode)
	if err != nil {
		t.Fatal(err)
	}
	patched := bytes.ReplaceAll(raw, []byte("\x00libc.so.6\x00"), []byte("\x00libq.so.6\x00"))
	if bytes.Equal(raw, patched) {
		return ""
	}
	path := filepath.Join(t.TempDir(), "patched")
	if err := os.WriteFile(path, patched, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImportResult(t *testing.T) {
	for _, tt := range []struct{ report, want string }{
		{`{"status":"sha256:1"}`, ""},
		{``, ""},
		{`{"status":"x"}{"error":"no space left on device"}`, "import the node image: no space left on device"},
		{`{"status":`, "import the node image: unexpected EOF"},
	} {
		err := importResult(strings.NewReader(tt.report))
		if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%s: %v, want %q", tt.report, err, tt.want)
		}
	}
}

func TestLibraryConf(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"ld.so.conf":    "include conf.d/*.conf\n/opt/lib # ours\n\nrelative\n",
		"conf.d/a.conf": "/usr/lib/multiarch\ninclude ../ld.so.conf\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := libraryConf(filepath.Join(dir, "ld.so.conf"), 2)
	if want := []string{"/usr/lib/multiarch", "/opt/lib"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Whatever the file, looking at it ends with an answer.
func FuzzRootfs(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"))
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "binary")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _ = newRootfs(path, "amd64")
	})
}
