// Package labs holds the labs that come with wslab, embedded. Each of them runs
// as it stands, and is there to be copied and changed.
package labs

import (
	"embed"
	"slices"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names returns the names of the labs, in order.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the files are part of the binary
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// Read returns the file of a lab. It fails when there is none of that name.
func Read(name string) ([]byte, error) { return files.ReadFile(name + ".yaml") }
