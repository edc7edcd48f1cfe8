package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts plays testdata/script: the command line without an engine.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Condition:     condition,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+e.Getenv("PATH"))
			// No settings of the person who runs the tests, and no engine.
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("DOCKER_HOST", "unix://"+filepath.Join(e.WorkDir, "nobody.sock"))
			return nil
		},
	})
}

// condition answers [netns]: whether labs can run in network namespaces here.
func condition(name string) (bool, error) {
	if name != "netns" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	out, err := exec.Command(binary, "doctor", "--engine", "netns").CombinedOutput()
	if err != nil && os.Getenv("WSLAB_REQUIRE_NETNS") != "" {
		return false, fmt.Errorf("network namespaces are required here: %s", out)
	}
	return err == nil, nil
}
