package netfilter

import (
	"fmt"

	"github.com/google/nftables"
)

// isolation is a table that stops every packet.
func isolation() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "wslab-down"}
}

// Isolate stops every packet that comes in or goes out, as if the machine was
// switched off. The rules outlive the process; [Connect] takes them back.
func Isolate() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: isolate: %w", err)
	}
	t := conn.AddTable(isolation())
	const first = -500
	drop := nftables.ChainPolicyDrop
	in := BaseChain(t, "in", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, first)
	out := BaseChain(t, "out", nftables.ChainTypeFilter, nftables.ChainHookOutput, first)
	in.Policy, out.Policy = &drop, &drop
	conn.AddChain(in)
	conn.AddChain(out)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: isolate: %w", err)
	}
	return nil
}

// Connect takes back [Isolate].
func Connect() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: connect: %w", err)
	}
	conn.AddTable(isolation()) // so that there is one to delete
	conn.DelTable(isolation())
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: connect: %w", err)
	}
	return nil
}
