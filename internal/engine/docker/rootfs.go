package docker

import (
	"archive/tar"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/wslab/wslab/internal/engine"
)

// binaryPath and libraryDir are where things are in the image.
const (
	binaryPath = "/wslab"
	libraryDir = "/lib"
)

// rootfs is what is in a node image: the binary and, if it was linked
// dynamically, its loader and libraries.
type rootfs struct {
	// arch as GOARCH has it.
	arch string
	// files maps a path in the image to one on this machine.
	files map[string]string
	// dynamic says that the loader has to be told where the libraries are.
	dynamic bool
}

// architectures maps ELF machines to GOARCH, which is also how Docker names them.
var architectures = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm",
	elf.EM_RISCV: "riscv64", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x", elf.EM_LOONGARCH: "loong64",
}

// buildCommand says how a binary is built that any engine of the architecture can run.
func buildCommand(arch string) string {
	return fmt.Sprintf("build it with: CGO_ENABLED=0 GOOS=linux GOARCH=%s go build -o wslab ./cmd/wslab", arch)
}

// newRootfs looks at the binary. arch is the engine's architecture. An
// [*engine.UnfitError] says how to build a binary that fits.
func newRootfs(binary, arch string) (*rootfs, error) {
	unfit := func(err error, format string, args ...any) error {
		return &engine.UnfitError{Problem: fmt.Sprintf(format, args...), Remedy: buildCommand(arch), Err: err}
	}
	file, err := os.Open(binary)
	if err != nil {
		return nil, fmt.Errorf("binary for the node image: %w", err)
	}
	defer func() { _ = file.Close() }()
	f, err := elf.NewFile(file)
	if err != nil {
		return nil, unfit(err, "nodes run this binary, and %s is not a Linux program", binary)
	}
	r := &rootfs{arch: architectures[f.Machine], files: map[string]string{binaryPath: binary}}
	if r.arch == "" {
		r.arch = f.Machine.String()
	}
	if r.arch != arch {
		return nil, unfit(nil, "nodes run this binary, and %s is for %s while the Docker engine is %s", binary, r.arch, arch)
	}
	loader, err := interpreter(f)
	if err != nil {
		return nil, unfit(err, "%s: %v", binary, err)
	}
	if loader == "" {
		return r, nil
	}
	r.dynamic = true
	r.files[loader] = loader
	libs := &libraries{class: f.Class, machine: f.Machine, found: make(map[string]string), confDirs: libraryConf("/etc/ld.so.conf", 4)}
	if err := libs.addNeedsOf(binary, f); err != nil {
		return nil, unfit(err, "the binary was linked dynamically, and %v", err)
	}
	for name, file := range libs.found {
		r.files[path.Join(libraryDir, path.Base(name))] = file
	}
	return r, nil
}

// interpreter returns the path of the loader that the binary asks for, or "".
func interpreter(f *elf.File) (string, error) {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		raw, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
		if err != nil {
			return "", fmt.Errorf("its loader: %w", err)
		}
		loader := strings.TrimRight(string(raw), "\x00")
		if !path.IsAbs(loader) {
			return "", fmt.Errorf("its loader %q is no absolute path", loader)
		}
		return path.Clean(loader), nil
	}
	return "", nil
}

// env is what the binary's environment needs in the image.
func (r *rootfs) env() []string {
	// Names are resolved by Go itself: glibc would load libraries that nobody
	// can see in the binary.
	env := []string{"GODEBUG=netdns=go"}
	if r.dynamic {
		env = append(env, "LD_LIBRARY_PATH="+libraryDir)
	}
	return env
}

// tag is what the image's content comes to, in 12 hexadecimal digits.
func (r *rootfs) tag() (string, error) {
	hash := sha256.New()
	if err := r.writeTar(hash); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// writeTar writes the image's files. The same files give the same bytes.
func (r *rootfs) writeTar(w io.Writer) error {
	out := tar.NewWriter(w)
	dirs := map[string]bool{"/etc": true, "/tmp": true}
	for name := range r.files {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755}); err != nil {
			return fmt.Errorf("node image: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		if err := addFile(out, name, r.files[name]); err != nil {
			return fmt.Errorf("node image: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("node image: %w", err)
	}
	return nil
}

// addFile writes one file; a symbolic link on this machine becomes the file it leads to.
func addFile(out *tar.Writer, name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name[1:], Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.CopyN(out, f, info.Size())
	return err
}
