// Package netfilter is what nodes ask of the kernel's packet filter over netlink:
// the connection table (nf_conntrack), the packets that a rule logs (nfnetlink_log),
// and a small vocabulary to write nftables rules with. IPv4 only.
//
// Everything acts on the network namespace of the calling process.
package netfilter
