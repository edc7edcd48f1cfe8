package link

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/netfilter"
)

// Packets are held before anything else of the machine sees them: before connection
// tracking (-200) and what every kind of node does.
const (
	inPriority  = -310
	outPriority = 310
)

// rule is what happens to the packets of an interface.
type rule struct {
	ifname string
	down   bool
	queue  uint16 // 0: none
	// from are the hardware addresses whose packets go to the queue; none is every packet.
	from []string
}

// install sets the rules up in place of those that are there.
func install(rules []rule) error {
	// The kernel may have either, as an expression of nftables or as a target of iptables.
	err := installWith(rules, queueExpr)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return installWith(rules, queueTarget)
	}
	return err
}

func installWith(rules []rule, toQueue func(uint16) netfilter.Part) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "wslab-link"}
	conn.AddTable(t) // so that there is one to delete
	conn.DelTable(t)
	if len(rules) > 0 {
		conn.AddTable(t)
		in := conn.AddChain(netfilter.BaseChain(t, "in", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, inPriority))
		out := conn.AddChain(netfilter.BaseChain(t, "out", nftables.ChainTypeFilter, nftables.ChainHookPostrouting, outPriority))
		add := func(c *nftables.Chain, parts ...netfilter.Part) {
			conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: netfilter.Rule(parts...)})
		}
		for _, r := range rules {
			if r.down {
				add(in, netfilter.In(r.ifname), netfilter.Drop())
				add(out, netfilter.Out(r.ifname), netfilter.Drop())
			}
			if r.queue != 0 {
				// Copies have been held already, see again.
				add(in, netfilter.In(r.ifname), netfilter.Mark(againMark), netfilter.SetMark(0), netfilter.Accept())
			}
			switch {
			case r.queue != 0 && len(r.from) == 0:
				add(in, netfilter.In(r.ifname), toQueue(r.queue))
			case r.queue != 0:
				for _, from := range r.from {
					add(in, netfilter.In(r.ifname), netfilter.FromHardware([]byte(from)), toQueue(r.queue))
				}
			}
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: link rules: %w", err)
	}
	return nil
}

// queueExpr sends packets to a queue; they pass while nobody listens there.
func queueExpr(number uint16) netfilter.Part {
	return netfilter.Part{&expr.Queue{Num: number, Total: 1, Flag: expr.QueueFlagBypass}}
}

// queueTarget is the same for a kernel without nft_queue: iptables' NFQUEUE, revision 3
// (struct xt_NFQ_info_v3 in linux/netfilter/xt_NFQUEUE.h).
func queueTarget(number uint16) netfilter.Part {
	const bypass = 1
	var info []byte
	for _, field := range []uint16{number, 1, bypass} {
		info = append(info, binaryutil.NativeEndian.PutUint16(field)...)
	}
	raw := xt.Unknown(info)
	return netfilter.Part{&expr.Target{Name: "NFQUEUE", Rev: 3, Info: &raw}}
}
