package netns

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
)

// fakeHost is a machine with these files.
func fakeHost(root bool, files map[string]string) host {
	return host{root: root, read: func(path string) (string, bool) {
		text, ok := files[path]
		return text, ok
	}}
}

func TestRefusal(t *testing.T) {
	denied := fmt.Errorf("fork/exec /usr/bin/wslab: %w", unix.EPERM)
	ubuntu := map[string]string{
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
		"/proc/sys/kernel/unprivileged_userns_clone":             "1\n",
		"/proc/sys/user/max_user_namespaces":                     "63704\n",
	}
	for _, tt := range []struct {
		name            string
		host            host
		err             error
		problem, remedy []string
	}{
		{
			"Ubuntu 24.04", fakeHost(false, ubuntu), errors.New("links: loopback interface: operation not permitted"),
			[]string{"AppArmor forbids unprivileged user namespaces (kernel.apparmor_restrict_unprivileged_userns=1), as Ubuntu 24.04 and later do by default"},
			[]string{
				"an administrator can allow it: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
				"echo kernel.apparmor_restrict_unprivileged_userns=0 | sudo tee /etc/sysctl.d/60-wslab.conf",
				"AppArmor profile with `userns,`", "run wslab as root",
			},
		},
		{
			"root of Ubuntu 24.04", fakeHost(true, ubuntu), denied,
			[]string{"this user may not make user and network namespaces", "operation not permitted"}, []string{"as root"},
		},
		{
			"an old Debian", fakeHost(false, map[string]string{"/proc/sys/kernel/unprivileged_userns_clone": "0\n"}), denied,
			[]string{"ordinary users may not", "kernel.unprivileged_userns_clone=0"}, []string{"sysctl -w kernel.unprivileged_userns_clone=1"},
		},
		{
			"forbidden to all", fakeHost(true, map[string]string{"/proc/sys/user/max_user_namespaces": "0\n"}), unix.ENOSPC,
			[]string{"user.max_user_namespaces=0"}, []string{"sysctl -w user.max_user_namespaces=15000"},
		},
		{
			"no network namespaces", fakeHost(false, map[string]string{"/proc/sys/user/max_net_namespaces": "0\n"}), unix.ENOSPC,
			[]string{"user.max_net_namespaces=0"}, []string{"sysctl -w user.max_net_namespaces=15000"},
		},
		{
			"too many", fakeHost(false, map[string]string{"/proc/sys/user/max_user_namespaces": "10\n"}), fmt.Errorf("start: %w", unix.ENOSPC),
			[]string{"as many namespaces as this user may have", "user.max_user_namespaces=10"}, []string{"wslab down"},
		},
		{
			"a Docker container", fakeHost(true, map[string]string{"/.dockerenv": ""}), denied,
			[]string{"this container may not make"}, []string{"--security-opt seccomp=unconfined", "outside"},
		},
		{
			"a filter of system calls", fakeHost(false, map[string]string{"/proc/self/status": "Name:\twslab\nSeccomp:\t2\nSeccomp_filters:\t1\n"}), denied,
			[]string{"this container may not make"}, []string{"--privileged"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.host.refusal(tt.err)
			for _, want := range tt.problem {
				if !strings.Contains(got.Problem, want) {
					t.Errorf("problem %q lacks %q", got.Problem, want)
				}
			}
			for _, want := range tt.remedy {
				if !strings.Contains(got.Remedy, want) {
					t.Errorf("remedy %q lacks %q", got.Remedy, want)
				}
			}
			if !errors.Is(got, tt.err) {
				t.Error("the cause is lost")
			}
			if c := tt.host.check(tt.err); c.Verdict != engine.Unfit || c.Found != got.Problem || c.Remedy != got.Remedy {
				t.Errorf("%+v", c)
			}
		})
	}
	c := fakeHost(false, ubuntu).check(nil)
	if c.Verdict != engine.OK || c.Found != "allowed, user.max_user_namespaces=63704" || c.Remedy != "" {
		t.Errorf("%+v", c)
	}
}

func TestProbeSaysWhatIsUnfit(t *testing.T) {
	checks := []engine.Check{{Name: "a", Verdict: engine.OK}, {Name: "b", Verdict: engine.Lacking}}
	if err := lacking(checks); err != nil {
		t.Error(err)
	}
	if err := lacking(append(checks, engine.Check{Name: "links", Verdict: engine.Unfit, Found: "no bridge"})); err == nil || err.Error() != "links: no bridge" {
		t.Error(err)
	}
}
