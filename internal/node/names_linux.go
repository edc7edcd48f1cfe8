package node

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"time"

	"github.com/wslab/wslab/internal/node/names"
	"github.com/wslab/wslab/internal/trace"
)

// nameServer is where a node asks for names: itself.
const nameServer = "127.0.0.1:53"

// lookupTimeout is how long a node waits for an answer of its name server before it asks
// once more, in lab time: that of resolv.conf(5).
const lookupTimeout = 5 * time.Second

// leastLookup is what a look-up is given in wall time, however fast the lab is: the answer
// of a busy machine takes longer than a thousandth of it.
const leastLookup = 250 * time.Millisecond

// answerNames begins to answer DNS for the names of the lab, and lets the host make
// look-ups fail (names {"name", "fail"}). The node's own dialling asks there, and so fails
// with them. A node on which something else has that port goes without: /etc/hosts has the
// names as well.
func (p *process) answerNames(ctx context.Context) {
	spec := &p.env.Spec
	hosts := make(map[string]netip.Addr, len(spec.Hosts)+1)
	if len(spec.Interfaces) > 0 {
		hosts[spec.Name] = spec.Interfaces[0].Addr.Addr()
	}
	maps.Copy(hosts, spec.Hosts)
	server := names.New(hosts, func(name string, how names.Failure) {
		p.env.Record(trace.Event{Type: trace.LookupFailed, Detail: name, Err: string(how)})
	})
	p.server.Handle("names", func(_ context.Context, params json.RawMessage) (any, error) {
		var r struct {
			Name string        `json:"name"`
			Fail names.Failure `json:"fail"`
		}
		if err := json.Unmarshal(params, &r); err != nil {
			return nil, fmt.Errorf("names: %w", err)
		}
		return nil, server.Fail(r.Name, r.Fail)
	})
	packets, err := new(net.ListenConfig).ListenPacket(ctx, "udp4", nameServer)
	if err != nil {
		p.env.Logf("no name server: %v", err)
		return
	}
	streams, err := p.env.Listen(ctx, "tcp4", nameServer)
	if err != nil {
		_ = packets.Close() // the error above is the cause
		p.env.Logf("no name server: %v", err)
		return
	}
	resolver := &names.Resolver{Server: nameServer, Timeout: max(leastLookup, p.env.Wall(lookupTimeout))}
	p.env.Dial = resolver.Dialer(p.env.Dial)
	go func() {
		if err := server.Serve(ctx, packets, streams); err != nil {
			p.env.Logf("name server: %v", err)
		}
	}()
}
