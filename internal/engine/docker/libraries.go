package docker

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// defaultLibraryDirs are where loaders look when nothing else is said: those of
// glibc (ld.so(8)) and musl. Debian's multiarch directories are in ld.so.conf.
var defaultLibraryDirs = []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"}

// libraries finds what a dynamically linked binary needs at run time.
type libraries struct {
	class   elf.Class
	machine elf.Machine
	// found maps the name that a DT_NEEDED entry asks for to the file on this machine.
	found map[string]string
	// confDirs are the directories of ld.so.conf.
	confDirs []string
}

// addNeedsOf finds the libraries that the file at path asks for, and theirs.
func (l *libraries) addNeedsOf(path string, f *elf.File) error {
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	dirs, err := l.searchPath(path, f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, name := range needed {
		if _, ok := l.found[name]; ok {
			continue
		}
		if err := l.add(name, path, dirs); err != nil {
			return err
		}
	}
	return nil
}

// add finds one library for user, the file that needs it.
func (l *libraries) add(name, user string, dirs []string) error {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		f, err := elf.Open(path)
		if err != nil {
			continue
		}
		if f.Class != l.class || f.Machine != l.machine {
			_ = f.Close()
			continue // as ld.so does: a library of another architecture is passed over
		}
		l.found[name] = path
		err = l.addNeedsOf(path, f)
		_ = f.Close()
		return err
	}
	return fmt.Errorf("%s needs the library %s, which is not on this machine", user, name)
}

// searchPath returns the directories in the order of ld.so(8).
func (l *libraries) searchPath(path string, f *elf.File) ([]string, error) {
	rpath, err := f.DynString(elf.DT_RPATH)
	if err != nil {
		return nil, err
	}
	runpath, err := f.DynString(elf.DT_RUNPATH)
	if err != nil {
		return nil, err
	}
	if len(runpath) > 0 {
		rpath = nil // DT_RUNPATH turns DT_RPATH off
	}
	// $ORIGIN is the directory of the file itself, symbolic links resolved.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	origin := strings.NewReplacer("$ORIGIN", filepath.Dir(path), "${ORIGIN}", filepath.Dir(path))
	var dirs []string
	for _, list := range slices.Concat(rpath, []string{os.Getenv("LD_LIBRARY_PATH")}, runpath) {
		for dir := range strings.SplitSeq(list, ":") {
			if dir = origin.Replace(dir); filepath.IsAbs(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return slices.Concat(dirs, l.confDirs, defaultLibraryDirs), nil
}

// libraryConf returns the directories that a file in the form of /etc/ld.so.conf
// lists, its includes followed to some depth.
func libraryConf(path string, depth int) []string {
	f, err := os.Open(path)
	if err != nil || depth == 0 {
		return nil // as on musl, which has none
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(raw)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 1 && filepath.IsAbs(fields[0]):
			dirs = append(dirs, fields[0])
		case len(fields) > 1 && fields[0] == "include":
			for _, pattern := range fields[1:] {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(filepath.Dir(path), pattern)
				}
				included, _ := filepath.Glob(pattern) // a malformed pattern matches nothing
				for _, path := range included {
					dirs = append(dirs, libraryConf(path, depth-1)...)
				}
			}
		}
	}
	return dirs
}
