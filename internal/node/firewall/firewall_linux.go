package firewall

import (
	"context"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/intercept"
	"github.com/wslab/wslab/internal/node/relay"
)

func run(ctx context.Context, env *node.Env) error {
	var settings Settings
	if err := env.Settings(&settings); err != nil {
		return err
	}
	var allowed []service
	ports := []intercept.PortRange{}
	for _, text := range settings.Allow {
		s, err := parseService(text)
		if err != nil {
			return err
		}
		allowed = append(allowed, s)
		if s.protocol == "tcp" {
			ports = append(ports, intercept.PortRange{First: s.first, Last: s.last})
		}
	}
	for _, name := range []string{"net.ipv4.ip_forward", "net.netfilter.nf_conntrack_tcp_be_liberal"} {
		if err := netfilter.EnsureSysctl(name, 1); err != nil {
			return err
		}
	}
	carrier, err := relay.New(env)
	if err != nil {
		return err
	}
	taker := intercept.New(env, intercept.Options{
		Relay:  carrier,
		Ports:  ports,
		Always: settings.Inspect.WebSocket != Pass,
		Look:   look(settings.Inspect),
	})
	log, err := netfilter.OpenLog(netfilter.BlockedGroup)
	if err != nil {
		return err
	}
	if err := install(allowed, settings.OnDeny); err != nil {
		_ = log.Close() // the error above is the cause
		return err
	}
	env.OnRestart(func() {
		if err := netfilter.Isolate(); err != nil {
			env.Logf("going down: %v", err)
		}
	})
	blocked := &netfilter.Blocked{Record: env.Record}
	return node.Together(ctx,
		func(ctx context.Context) error { return blocked.RunLog(ctx, log) },
		func(ctx context.Context) error {
			return taker.Run(ctx, func() {
				if err := netfilter.Connect(); err != nil {
					env.Logf("%v", err)
				}
				env.Ready()
			})
		},
	)
}

// look returns what watches each connection, or nil if there is nothing to look for.
func look(i Inspection) func(*intercept.Pair) intercept.Inspector {
	stop := map[string]intercept.Verdict{Drop: intercept.Drop, Reset: intercept.Reset}
	verdict, ok := stop[i.WebSocket]
	if !ok {
		return nil
	}
	rule := "inspect.websocket: " + i.WebSocket
	return func(*intercept.Pair) intercept.Inspector {
		return upgradeInspector{intercept.Decision{Verdict: verdict, Rule: rule}}
	}
}
