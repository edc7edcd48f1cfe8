// Package docker runs labs on a Docker engine: a bridge network for each
// network, a container for each node, and an image made from the wslab binary.
//
// Everything that it makes carries labels, and it finds everything by them: no
// file on the host has to be kept for a lab to be taken down.
package docker

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"github.com/wslab/wslab/internal/engine"
)

// Options of New. The zero value is what the command uses.
type Options struct {
	// Host is where the engine answers, such as unix:///run/docker.sock or
	// tcp://127.0.0.1:2375. Empty is DOCKER_HOST, and without it Docker's default.
	// The contexts of the docker command are not read.
	Host string
	// Binary is the wslab binary that the node image is made from and that Exec
	// starts again. Empty is the running one.
	Binary string
	// Version of wslab for the labels; empty is "dev".
	Version string
	// ReadyTimeout bounds how long Up waits for one node to say that it is
	// ready; 0 is one minute.
	ReadyTimeout time.Duration
}

// Engine is a Docker engine that labs run on. It is safe for concurrent use.
type Engine struct {
	client       *client.Client
	negotiated   *sync.Once
	hostGiven    bool
	binary       string
	version      string
	readyTimeout time.Duration
}

var (
	_ engine.Engine  = (*Engine)(nil)
	_ engine.Checker = (*Engine)(nil)
)

// New returns an engine. It does not speak to it yet: see [Engine.Probe]. What is
// wrong with Options.Host or DOCKER_HOST is an [*engine.UnfitError].
//
// DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH and DOCKER_API_VERSION are
// read as the docker command reads them.
func New(o Options) (*Engine, error) {
	host := o.Host
	if host == "" {
		host = os.Getenv(client.EnvOverrideHost)
	}
	if strings.HasPrefix(host, "ssh://") {
		return nil, &engine.UnfitError{
			Problem: fmt.Sprintf("the Docker host %s is reached over ssh, which wslab does not do", host),
			Remedy:  "run wslab on that machine, or forward its socket: ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST, then DOCKER_HOST=unix:///tmp/docker.sock",
		}
	}
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if o.Host != "" {
		opts = append(opts, client.WithHost(o.Host))
	}
	c, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, &engine.UnfitError{
			Problem: fmt.Sprintf("the settings of the Docker host are wrong: %v", err),
			Remedy:  "correct --docker-host or DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
			Err:     err,
		}
	}
	e := &Engine{
		client:       c,
		negotiated:   new(sync.Once),
		hostGiven:    host != "",
		binary:       o.Binary,
		version:      o.Version,
		readyTimeout: o.ReadyTimeout,
	}
	if e.binary == "" {
		if e.binary, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("the running binary: %w", err)
		}
	}
	if e.version == "" {
		e.version = "dev"
	}
	if e.readyTimeout == 0 {
		e.readyTimeout = time.Minute
	}
	return e, nil
}

// Name returns "docker".
func (e *Engine) Name() string { return "docker" }

// Close releases the connections to the engine.
func (e *Engine) Close() error { return e.client.Close() }

// negotiate agrees on the version of the API. The client would do so with its
// first request, but not when several are the first.
func (e *Engine) negotiate(ctx context.Context) {
	e.negotiated.Do(func() { e.client.NegotiateAPIVersion(ctx) })
}

// requestTimeout bounds a request that changes something and is not given up
// when its context ends.
const requestTimeout = time.Minute

// whole runs f, which makes something on the engine, to its end although ctx may
// end meanwhile: the engine goes on with a request whose client has left, and
// then nobody would know what it made. It does not begin when ctx has ended.
func whole(ctx context.Context, f func(context.Context) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	return f(ctx)
}
