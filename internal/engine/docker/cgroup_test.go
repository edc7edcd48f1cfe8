package docker

import (
	"testing"

	"github.com/docker/docker/api/types/system"
)

func TestCgroupParent(t *testing.T) {
	seccomp := "name=seccomp,profile=default"
	for _, c := range []struct {
		name, driver string
		security     []string
		want         string
	}{
		{"cgroupfs", "cgroupfs", []string{seccomp}, "/"},
		{"systemd", "systemd", []string{seccomp, "name=cgroupns"}, ""},
		{"rootless without systemd", "none", []string{seccomp, "name=rootless"}, ""},
		{"rootless with groups of its own", "cgroupfs", []string{seccomp, "name=rootless"}, ""},
	} {
		if got := cgroupParent(system.Info{CgroupDriver: c.driver, SecurityOptions: c.security}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
