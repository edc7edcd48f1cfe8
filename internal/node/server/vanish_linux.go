package server

import (
	"fmt"

	"github.com/google/nftables"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/trace"
)

// vanishing is the kernel's rules for connections of which nothing goes in or out any
// more. They outlive the process, as a machine that is gone does not come back with it:
// remove, or the next service, takes them away.
type vanishing struct {
	conn  *nftables.Conn
	table *nftables.Table
	gone  *nftables.Set
}

func vanishingTable() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "wslab-vanished"}
}

// installVanishing sets the rules up, for no connection yet.
func installVanishing() (*vanishing, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: vanish: %w", err)
	}
	t := vanishingTable()
	conn.AddTable(t) // so that there is one to delete
	conn.DelTable(t)
	conn.AddTable(t)
	v := &vanishing{conn: conn, table: t, gone: netfilter.TupleSet(t, "gone")}
	if err := conn.AddSet(v.gone, nil); err != nil {
		return nil, fmt.Errorf("nftables: vanish: %w", err)
	}
	const first = -500
	for name, hook := range map[string]*nftables.ChainHook{"in": nftables.ChainHookPrerouting, "out": nftables.ChainHookOutput} {
		chain := conn.AddChain(netfilter.BaseChain(t, name, nftables.ChainTypeFilter, hook, first))
		conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: netfilter.Rule(
			netfilter.Protocol(netfilter.TCP), netfilter.InSet(v.gone), netfilter.Drop(),
		)})
	}
	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("nftables: vanish: %w", err)
	}
	return v, nil
}

// clearVanishing removes what a process before this one has left.
func clearVanishing() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: vanish: %w", err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil // who may not look may not have left anything
	}
	for _, t := range tables {
		if t.Name == vanishingTable().Name {
			conn.DelTable(t)
			if err := conn.Flush(); err != nil {
				return fmt.Errorf("nftables: vanish: %w", err)
			}
		}
	}
	return nil
}

// add lets a connection vanish.
func (v *vanishing) add(f trace.Flow) error {
	in := netfilter.Tuple{Protocol: netfilter.TCP, Src: f.Src, Dst: f.Dst}
	out := netfilter.Tuple{Protocol: netfilter.TCP, Src: f.Dst, Dst: f.Src}
	if err := v.conn.SetAddElements(v.gone, []nftables.SetElement{netfilter.Element(in), netfilter.Element(out)}); err != nil {
		return fmt.Errorf("nftables: vanish: %w", err)
	}
	if err := v.conn.Flush(); err != nil {
		return fmt.Errorf("nftables: vanish: %w", err)
	}
	return nil
}

// remove takes the rules away.
func (v *vanishing) remove() error {
	v.conn.DelTable(v.table)
	if err := v.conn.Flush(); err != nil {
		return fmt.Errorf("nftables: vanish: %w", err)
	}
	return nil
}
