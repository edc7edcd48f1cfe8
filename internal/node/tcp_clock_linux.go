package node

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/topology"
)

// kernelRTO is how soon Linux sends a lost segment again at the earliest (TCP_RTO_MIN in
// include/net/tcp.h). Each further wait is twice the one before (RFC 6298, section 5.5).
const kernelRTO = 200 * time.Millisecond

// scaleTCP makes TCP's own clock go as fast as the lab: the least retransmission timeout of every
// route is divided by the speed (rto_min of ip-route(8)). Acknowledgements are not delayed then: 40 ms
// would be longer than the timeout of the other side, and at speed 10 be 0.4 s to a lab's NAT.
// What remains in wall time is the wait for the answer to a SYN and TCP keepalive's whole seconds.
func scaleTCP(spec *topology.NodeSpec) error {
	if spec.Speed <= 1 {
		return nil
	}
	least := max(1, int(float64(kernelRTO/time.Millisecond)/spec.Speed))
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	for _, r := range routes {
		if r.RtoMin == least && r.QuickACK == 1 {
			continue
		}
		r.RtoMin, r.RtoMinLock, r.QuickACK = least, true, 1
		if err := netlink.RouteReplace(&r); err != nil {
			return fmt.Errorf("TCP's clock on the route to %s: %w", r.Dst, err)
		}
	}
	return nil
}
