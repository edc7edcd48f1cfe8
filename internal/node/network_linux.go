package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/topology"
)

// Engines may attach a machine to its networks while it starts.
const (
	interfacePatience = 3 * time.Second
	interfacePoll     = 20 * time.Millisecond
)

// setUpNetwork brings the loopback interface up, takes the engine's default routes
// away, and adds the routes of the spec. The engine has given the interfaces their
// addresses; their names follow no order, so an interface is known by its address.
func setUpNetwork(ctx context.Context, spec *topology.NodeSpec) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	if err := awaitInterfaces(ctx, spec.Interfaces); err != nil {
		return err
	}
	if err := removeDefaultRoutes(); err != nil {
		return err
	}
	return setRoutes(spec)
}

// setRoutes adds the routes of the spec that are not there, and sets TCP's clock on all.
func setRoutes(spec *topology.NodeSpec) error {
	for _, r := range spec.Routes {
		route := &netlink.Route{Dst: ipNet(r.Dst), Gw: r.Via.AsSlice()}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route to %s via %s: %w", r.Dst, r.Via, err)
		}
	}
	return scaleTCP(spec)
}

// awaitInterfaces waits until every interface has its address and is up.
func awaitInterfaces(ctx context.Context, interfaces []topology.Interface) error {
	deadline := time.Now().Add(interfacePatience)
	for {
		_, err := InterfaceNames(interfaces)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if !sleep(ctx, interfacePoll) {
			return context.Cause(ctx)
		}
	}
}

// InterfaceNames returns the name of each interface in the order given. It fails if
// the machine has an address on no interface that is up.
func InterfaceNames(interfaces []topology.Interface) ([]string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	// An address that has been changed is the spare one by now.
	byAddr := make(map[netip.Addr]net.Interface)
	for _, link := range links {
		addrs, err := link.Addrs()
		if err != nil {
			return nil, fmt.Errorf("addresses of interface %s: %w", link.Name, err)
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				byAddr[prefix.Addr()] = link
			}
		}
	}
	names := make([]string, 0, len(interfaces))
	for _, i := range interfaces {
		var link net.Interface
		ok := false
		for _, a := range i.Addrs() {
			if link, ok = byAddr[a]; ok {
				break
			}
		}
		if !ok {
			return nil, fmt.Errorf("no interface has the address %s on network %s", i.Addr.Addr(), i.Network)
		}
		if link.Flags&net.FlagUp == 0 {
			return nil, fmt.Errorf("interface %s on network %s is down", link.Name, i.Network)
		}
		names = append(names, link.Name)
	}
	return names, nil
}

// removeDefaultRoutes shuts the way to wherever the engine's gateway leads.
func removeDefaultRoutes() error {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones != 0 {
				continue
			}
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove the default route: %w", err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
