package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/intercept"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/node/tracking"
)

// followed says whether the idle timeout is one that somebody lives to see: with that
// of Linux, five days, there is nothing to tell.
func (s *Settings) followed() bool { return s.Stateful && s.IdleTimeout < linuxTimeout }

// runner is a running firewall.
type runner struct {
	env      *node.Env
	settings Settings
	rules    []rule
	taker    *intercept.Interceptor
	// table is followed; nil if the idle timeout is not.
	table *tracking.Table
}

func run(ctx context.Context, env *node.Env) error {
	r := &runner{env: env}
	if err := env.Settings(&r.settings); err != nil {
		return err
	}
	var err error
	if r.rules, err = r.settings.rulesOf(&env.Spec); err != nil {
		return err
	}
	timeout := max(time.Second, env.Wall(r.settings.IdleTimeout).Round(time.Second))
	if err := setSysctls(timeout); err != nil {
		return err
	}
	carrier, err := relay.New(env)
	if err != nil {
		return err
	}
	options := intercept.Options{
		Relay:     carrier,
		Always:    r.settings.Inspect.active(),
		Look:      look(env, r.settings.Inspect),
		Slows:     slices.Contains(r.settings.Inspect.actions(), Slow),
		Stateless: !r.settings.Stateful,
		Timeout:   timeout,
	}
	if r.settings.followed() {
		r.table, err = tracking.New(env, tracking.Options{
			Events:  tracking.Connections(),
			Concern: concern(env),
			Timeout: timeout,
			Vanish:  r.settings.OnExpiry != Recover,
		})
		if err != nil {
			return err
		}
		defer func() { _ = r.table.Close() }()
		options.Began, options.Ended, options.Moved = r.table.Began, r.table.Ended, r.table.Moved
	}
	r.taker = intercept.New(env, options)
	return r.work(ctx)
}

// setSysctls checks what the engine has set, and mends what it may: `configure` can
// change the timeout after the start.
func setSysctls(timeout time.Duration) error {
	return errors.Join(
		netfilter.SetEstablishedTimeout(timeout),
		netfilter.EnsureSysctl("net.ipv4.ip_forward", 1),
		netfilter.EnsureSysctl("net.netfilter.nf_conntrack_acct", 1),
		netfilter.EnsureSysctl("net.netfilter.nf_conntrack_tcp_be_liberal", 1),
	)
}

// concern says which entries are of TCP connections that go through the node.
func concern(env *node.Env) func(netfilter.Entry) bool {
	return func(e netfilter.Entry) bool {
		if e.Orig.Protocol != netfilter.TCP {
			return false
		}
		for _, i := range env.Spec.Interfaces {
			if i.Addr.Addr() == e.Orig.Src.Addr() || i.Addr.Addr() == e.Orig.Dst.Addr() {
				return false
			}
		}
		return true
	}
}

// work judges, watches and takes connections until ctx ends or one of them fails.
func (r *runner) work(ctx context.Context) error {
	log, err := netfilter.OpenLog(netfilter.BlockedGroup)
	if err != nil {
		return err
	}
	blocked := &netfilter.Blocked{Record: r.env.Record}
	parts := []func(context.Context) error{
		func(ctx context.Context) error { return blocked.RunLog(ctx, log) },
		func(ctx context.Context) error {
			return r.taker.Run(ctx, func() {
				if err := netfilter.Connect(); err != nil {
					r.env.Logf("%v", err)
				}
				r.env.Ready()
			})
		},
	}
	if r.table != nil {
		watch, err := netfilter.OpenWatch()
		if err != nil {
			return errors.Join(err, log.Close())
		}
		r.table.Taker = r.taker
		r.env.Handle("flush", func(context.Context, json.RawMessage) (any, error) {
			n, err := r.table.Flush()
			return map[string]int{"connections": n}, err
		})
		parts = append(parts, func(ctx context.Context) error { return r.table.Follow(ctx, watch) })
	}
	if err := install(&r.settings, r.rules); err != nil {
		return errors.Join(err, log.Close()) // what watches ends with the process
	}
	r.env.OnRestart(func() {
		if err := netfilter.Isolate(); err != nil {
			r.env.Logf("going down: %v", err)
		}
	})
	return node.Together(ctx, parts...)
}
