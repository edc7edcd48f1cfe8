package docker

import (
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/topology"
)

func TestRefuse(t *testing.T) {
	for _, c := range []struct {
		needs   topology.Needs
		refused bool
	}{
		{topology.Needs{}, false},
		{topology.Needs{Image: "busybox"}, false},
		{topology.Needs{Image: "busybox", Program: "sh"}, false},
		{topology.Needs{Program: "sh"}, true},
	} {
		if r := (*Engine)(nil).Refuse(c.needs); (r != nil) != c.refused {
			t.Errorf("%+v: %+v", c.needs, r)
		}
	}
}

// TestTakeOver: the container is of the user's image and runs wslab in it, which is
// told what the image would have run and nothing that only the node image needs.
func TestTakeOver(t *testing.T) {
	config := &container.Config{
		Image: "wslab-node:x", Entrypoint: []string{binaryPath}, Cmd: []string{"node"}, Hostname: "mine", OpenStdin: true,
		Env: []string{"GODEBUG=netdns=go", "LD_LIBRARY_PATH=/lib", "WSLAB_SPEC={}"},
	}
	says := &node.Image{Entrypoint: []string{"/docker-entrypoint.sh"}, Cmd: []string{"nginx", "-g", "daemon off;"}, User: "101:101", WorkingDir: "/srv"}
	if err := takeOver(config, "nginx:1", says); err != nil {
		t.Fatal(err)
	}
	want := &container.Config{
		Image: "nginx:1", Entrypoint: []string{"/.wslab/wslab"}, Cmd: []string{"node"}, Hostname: "mine", OpenStdin: true,
		User: "0", WorkingDir: "/", Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		Env: []string{
			"WSLAB_SPEC={}",
			`WSLAB_IMAGE={"entrypoint":["/docker-entrypoint.sh"],"cmd":["nginx","-g","daemon off;"],"user":"101:101","working_dir":"/srv"}`,
		},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Error(diff)
	}
}

// TestKeepsNodesOfImages: a node stays as long as its image and the wslab in it do.
func TestKeepsNodesOfImages(t *testing.T) {
	spec := &topology.NodeSpec{Name: "mine", Needs: topology.Needs{Image: "mine:latest"}}
	there := func(image, binary string) container.Summary {
		return container.Summary{State: container.StateRunning, Image: image, Labels: map[string]string{
			labelDigest: spec.Digest(), labelBinary: binary,
		}}
	}
	for _, c := range []struct {
		there container.Summary
		keeps bool
	}{
		{there("mine:latest", "wslab-node:1"), true},
		{there("sha256:0123", "wslab-node:1"), false}, // the name is another image's by now
		{there("mine:latest", "wslab-node:0"), false},
	} {
		if got := runs(c.there, spec, "wslab-node:1"); got != c.keeps {
			t.Errorf("%s with %s: %v", c.there.Image, c.there.Labels[labelBinary], got)
		}
	}
}
