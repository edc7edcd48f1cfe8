package nat

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/topology"
)

// forward is a port forward: a service at the NAT's outside address that a node of
// the inside stands behind.
type forward struct {
	protocol uint8
	port     uint16
	to       string // node
	toPort   uint16
}

const forwardHint = "such as tcp/8443: server, or tcp/8443: server:443"

// parseForward reads an entry of `forward`. key says which half of it is wrong.
func parseForward(service, to string) (f forward, err error) {
	protocol, port, ok := strings.Cut(service, "/")
	switch {
	case ok && protocol == "tcp":
		f.protocol = netfilter.TCP
	case ok && protocol == "udp":
		f.protocol = netfilter.UDP
	default:
		return f, fmt.Errorf("%q is no service: tcp/PORT and udp/PORT are", service)
	}
	if f.port, err = parsePort(port); err != nil {
		return f, fmt.Errorf("%q is no service: %w", service, err)
	}
	f.to, f.toPort = to, f.port
	if name, port, ok := strings.Cut(to, ":"); ok {
		f.to = name
		if f.toPort, err = parsePort(port); err != nil {
			return f, fmt.Errorf("%q is no place to forward to: %w", to, err)
		}
	}
	return f, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port from 1 to 65535", text)
	}
	return uint16(n), nil
}

// checkForwards reports port forwards that lead nowhere.
func checkForwards(c *topology.NodeCheck, s *Settings) {
	outside := ""
	if n := len(c.Node.On); n > 0 {
		outside = c.Node.On[n-1].Network
	}
	for _, service := range slices.Sorted(maps.Keys(s.Forward)) {
		key := "forward." + service
		f, err := parseForward(service, s.Forward[service])
		if err != nil {
			c.Problemf(key, forwardHint, "%v", err)
			continue
		}
		n, ok := c.Lab.Node(f.to)
		switch {
		case !ok:
			c.Problemf(key, c.Suggest(f.to, insiders(c, outside)), "there is no node %q", f.to)
		case n.Name == c.Node.Name:
			c.Problemf(key, c.Suggest("", insiders(c, outside)), "%s cannot forward to itself", n.Name)
		case !slices.Contains(insiders(c, outside), f.to):
			c.Problemf(key, "", "%s is not inside of %s: a port forward leads from the outside to the inside", f.to, c.Node.Name)
		}
	}
	if s.Hairpin && c.InFile("hairpin") && len(s.Forward) == 0 {
		c.Problemf("hairpin", forwardHint, "hairpin is for port forwards, and %s has none: add forward", c.Node.Name)
	}
}

// insiders are the nodes that the NAT hides.
func insiders(c *topology.NodeCheck, outside string) []string {
	var names []string
	for _, n := range c.Lab.Nodes {
		onOutside := slices.ContainsFunc(n.On, func(a topology.Attachment) bool { return a.Network == outside })
		if n.Name != c.Node.Name && !onOutside && c.Reaches(n.Name, c.Node.Name) {
			names = append(names, n.Name)
		}
	}
	return names
}

// redirect is a port forward with the address that it leads to.
type redirect struct {
	protocol uint8
	port     uint16
	to       netip.AddrPort
}

// redirects works the port forwards out, in the order of their services.
func (s *Settings) redirects(hosts map[string]netip.Addr) ([]redirect, error) {
	var all []redirect
	for _, service := range slices.Sorted(maps.Keys(s.Forward)) {
		f, err := parseForward(service, s.Forward[service])
		if err != nil {
			return nil, err
		}
		addr, ok := hosts[f.to]
		if !ok {
			return nil, fmt.Errorf("forward %s: there is no node %q", service, f.to)
		}
		all = append(all, redirect{f.protocol, f.port, netip.AddrPortFrom(addr, f.toPort)})
	}
	return all, nil
}
