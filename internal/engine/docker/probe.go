package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strings"

	"github.com/docker/docker/api/types/versions"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/nsexec"
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

// Checks says what the engine is and which version it has; see [engine.Checker]. What
// labs use of the kernel is the engine's machine's, and tried by no one but its nodes.
func (e *Engine) Checks(ctx context.Context) []engine.Check {
	answers := engine.Check{Name: "engine", Needed: "every lab on Docker"}
	api := engine.Check{Name: "API version", Needed: fmt.Sprintf("every lab on Docker: %s or later", oldestAPI)}
	enter := engine.Check{Name: "exec", Needed: "wslab exec: root, and an engine on this machine"}
	err := e.Probe(ctx)
	var unfit *engine.UnfitError
	ping, errPing := e.client.Ping(ctx)
	switch {
	case err == nil:
		answers.Verdict, answers.Found = engine.OK, e.describe(ctx)
		api.Verdict, api.Found = engine.OK, ping.APIVersion
	case !errors.As(err, &unfit):
		answers.Verdict, answers.Found = engine.Unfit, err.Error()
	case errPing == nil && (ping.OSType == "" || ping.OSType == "linux"):
		answers.Verdict, answers.Found = engine.OK, e.describe(ctx)
		api.Verdict, api.Found, api.Remedy = engine.Unfit, unfit.Problem, unfit.Remedy
	default:
		answers.Verdict, answers.Found, answers.Remedy = engine.Unfit, unfit.Problem, unfit.Remedy
	}
	if answers.Verdict != engine.OK {
		api.Verdict, api.Found = engine.Untried, "rests on the engine"
	}
	enter.Verdict, enter.Found = engine.OK, "allowed"
	if unfit := e.mayEnter(); unfit != nil {
		enter.Verdict, enter.Found, enter.Remedy = engine.Lacking, unfit.Problem, unfit.Remedy
	}
	return []engine.Check{answers, api, enter}
}

// describe is the engine's own name and place.
func (e *Engine) describe(ctx context.Context) string {
	host := e.client.DaemonHost()
	v, err := e.client.ServerVersion(ctx)
	if err != nil {
		return "at " + host
	}
	return fmt.Sprintf("Docker %s at %s, kernel %s", v.Version, host, v.KernelVersion)
}

// mayEnter says why exec cannot work here, nil if it may.
func (e *Engine) mayEnter() *engine.UnfitError {
	if err := nsexec.Permitted(); err != nil {
		return &engine.UnfitError{
			Problem: fmt.Sprintf("exec enters the network namespace of a node, and %v", err),
			Remedy:  "run it with sudo, on a Linux machine that has its own Docker engine",
			Err:     err,
		}
	}
	if host := e.client.DaemonHost(); !strings.HasPrefix(host, "unix://") {
		return &engine.UnfitError{
			Problem: fmt.Sprintf("exec enters the network namespace of a node, and the Docker engine at %s is not on this machine", host),
			Remedy:  "run it where the engine is",
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
