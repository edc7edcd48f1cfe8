package netns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/wslab/wslab/topology"
)

// systemPath are directories of programs that not every user has in PATH.
const systemPath = "/usr/local/sbin:/usr/sbin:/sbin"

// Refuse refuses what this machine does not have: container images, and programs
// that are not installed. See [engine.Engine].
func (*Engine) Refuse(needs topology.Needs) *topology.Refusal {
	if needs.Program == "" {
		if needs.Image == "" {
			return nil
		}
		return &topology.Refusal{
			Why:  fmt.Sprintf("the image %s needs Docker", needs.Image),
			Hint: "give a command of this host as well, or use --engine docker",
		}
	}
	if installed(needs.Program) {
		return nil
	}
	hint := "install it, or write the whole path of the program"
	if needs.Image != "" {
		hint = "install it, or use --engine docker for the image " + needs.Image
	}
	return &topology.Refusal{Why: fmt.Sprintf("there is no program %s on this machine", needs.Program), Hint: hint}
}

// installed says whether a program can be found.
func installed(program string) bool {
	if _, err := exec.LookPath(program); err == nil {
		return true
	}
	if strings.Contains(program, "/") {
		return false
	}
	for _, dir := range filepath.SplitList(systemPath) {
		full := filepath.Join(dir, program)
		if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return true
		}
	}
	return false
}
