package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"

	"github.com/docker/docker/api/types/versions"

	"github.com/wslab/wslab/internal/engine"
)

// oldestAPI is that of Docker 20.10, the oldest engine that labs were tried on.
const oldestAPI = "1.41"

// Probe says whether the engine answers, lets this user in, runs Linux
// containers and is new enough. Otherwise the error is an [*engine.UnfitError],
// unless ctx has ended.
func (e *Engine) Probe(ctx context.Context) error {
	ping, err := e.client.Ping(ctx)
	host := e.client.DaemonHost()
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrPermission):
		return &engine.UnfitError{
			Problem: fmt.Sprintf("this user may not use the Docker engine at %s", host),
			Remedy:  fmt.Sprintf("add the user to the docker group (sudo usermod -aG docker %s, then log in anew), or run wslab with sudo", userName()),
			Err:     err,
		}
	case err != nil:
		return &engine.UnfitError{
			Problem: fmt.Sprintf("no Docker engine answers at %s", host),
			Remedy:  e.noAnswerRemedy(),
			Err:     err,
		}
	case ping.OSType != "" && ping.OSType != "linux":
		return &engine.UnfitError{
			Problem: fmt.Sprintf("the Docker engine at %s runs %s containers", host, ping.OSType),
			Remedy:  "switch it to Linux containers",
		}
	case ping.APIVersion != "" && versions.LessThan(ping.APIVersion, oldestAPI):
		return &engine.UnfitError{
			Problem: fmt.Sprintf("the Docker engine at %s is too old: its API is %s", host, ping.APIVersion),
			Remedy:  fmt.Sprintf("upgrade it to Docker 20.10 or later (API %s)", oldestAPI),
		}
	}
	return nil
}

func (e *Engine) noAnswerRemedy() string {
	if e.hostGiven {
		return "start the engine there, or correct --docker-host or DOCKER_HOST"
	}
	return "install and start Docker (sudo systemctl start docker). Docker contexts are not read: where the docker command works" +
		" and wslab does not, set DOCKER_HOST=$(docker context inspect -f '{{.Endpoints.docker.Host}}')"
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "$USER"
}
