package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// ChangeAddress gives the node its other address on a network of its own: the spare one,
// or, if it has that, the first again. It records the change. What was bound to the
// old address stays bound to it and gets nothing any more; the kernel tells it nothing,
// either. Routes are the same afterwards.
func (e *Env) ChangeAddress(network string) error {
	all := e.Spec.Interfaces
	i := slices.IndexFunc(all, func(i topology.Interface) bool { return i.Network == network })
	if i < 0 {
		return fmt.Errorf("%s is not on network %s", e.Spec.Name, network)
	}
	if !all[i].Spare.IsValid() {
		return fmt.Errorf("%s has no second address on network %s", e.Spec.Name, network)
	}
	e.moving.Lock()
	defer e.moving.Unlock()
	from, err := CurrentAddress(all[i])
	if err != nil {
		return err
	}
	to := all[i].Spare
	if from == to {
		to = all[i].Addr.Addr()
	}
	names, err := InterfaceNames(all[i : i+1])
	if err != nil {
		return err
	}
	e.Record(trace.Event{Type: trace.AddressChanged, Detail: from.String() + " > " + to.String()})
	if err := moveAddress(names[0], netip.PrefixFrom(from, all[i].Addr.Bits()), netip.PrefixFrom(to, all[i].Addr.Bits())); err != nil {
		return fmt.Errorf("address %s on network %s: %w", to, network, err)
	}
	return setRoutes(&e.Spec)
}

// CurrentAddress is the address that the interface has now, of the two that it may have.
func CurrentAddress(i topology.Interface) (netip.Addr, error) {
	names, err := InterfaceNames([]topology.Interface{i})
	if err != nil {
		return netip.Addr{}, err
	}
	link, err := netlink.LinkByName(names[0])
	if err != nil {
		return netip.Addr{}, fmt.Errorf("interface %s: %w", names[0], err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("addresses of interface %s: %w", names[0], err)
	}
	for _, a := range addrs {
		if addr, ok := netip.AddrFromSlice(a.IP.To4()); ok && i.Has(addr) {
			return addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("interface %s on network %s has neither of its addresses", names[0], i.Network)
}

// moveAddress takes an address away from an interface and adds another. With the last
// address of an interface its routes go as well.
func moveAddress(name string, from, to netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(from)}); err != nil {
		return err
	}
	return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(to)})
}

// handleAddress answers address.change {"network"}. A kind that has to do more registers
// its own answer.
func (p *process) handleAddress() {
	p.server.Handle("address.change", func(_ context.Context, params json.RawMessage) (any, error) {
		var r struct {
			Network string `json:"network"`
		}
		if err := json.Unmarshal(params, &r); err != nil {
			return nil, err
		}
		return nil, p.env.ChangeAddress(r.Network)
	})
}
