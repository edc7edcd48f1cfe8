package proxy

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wslab/wslab/topology"
)

// SOCKS5Settings are the keys of a SOCKS5 proxy beside those that all proxies have.
type SOCKS5Settings struct {
	Methods     []string       `json:"methods,omitempty" doc:"Methods of authentication that it takes (RFC 1928 section 3), the preferred first (protocol socks5): password (RFC 1929), none. Without it password where there are users, else none. A client that offers none of them is answered with FF." enum:"password,none"`
	Rules       []SOCKS5Rule   `json:"rules,omitempty" doc:"What may be asked for (protocol socks5): the first rule that fits decides, and what fits none is denied. Without rules everything is allowed."`
	Reply       map[string]int `json:"reply,omitempty" doc:"Replies to force (protocol socks5), by HOST:PORT, HOST or \"*\": a code from 1 to 8 (RFC 1928 section 6), whatever would happen otherwise."`
	Bound       string         `json:"bound" doc:"BND.ADDR of its replies (protocol socks5): address is the address that it connects from, or in a refusal what was asked for, as Dante has it; zero is always 0.0.0.0:0, as OpenSSH has it." enum:"address,zero"`
	MethodDelay time.Duration  `json:"method_delay" doc:"How long it takes to choose a method (protocol socks5)." min:"0s"`
	ReplyDelay  time.Duration  `json:"reply_delay" doc:"How long its reply to CONNECT takes longer than the connecting (protocol socks5)." min:"0s"`
}

// SOCKS5Rule is a rule of the ruleset of a SOCKS5 proxy.
type SOCKS5Rule struct {
	Action string   `json:"action" doc:"allow, or deny, which is answered with reply 02." enum:"allow,deny" required:"true"`
	To     []string `json:"to,omitempty" doc:"Destinations: networks, addresses, names, or .DOMAIN for all names under it; left out, every one. A network fits a name that has an address in it."`
	Ports  []int    `json:"ports,omitempty" doc:"Destination ports; left out, every one." min:"1" max:"65535"`
}

func newSOCKS5Settings() SOCKS5Settings { return SOCKS5Settings{Bound: boundAddress} }

// The values of bound.
const (
	boundAddress = "address"
	boundZero    = "zero"
)

// methods that the proxy takes, the preferred first.
func (s *Settings) methods() []byte {
	if len(s.Methods) == 0 {
		if len(s.Users) > 0 {
			return []byte{methodPassword}
		}
		return []byte{methodNone}
	}
	codes := make([]byte, len(s.Methods))
	for i, name := range s.Methods {
		codes[i] = methodNone
		if name == "password" {
			codes[i] = methodPassword
		}
	}
	return codes
}

// forced returns the reply that the lab file asks for.
func (s *SOCKS5Settings) forced(host, port string) (code int, ok bool) {
	for _, key := range []string{net.JoinHostPort(host, port), host, "*"} {
		if code, ok := s.Reply[key]; ok {
			return code, true
		}
	}
	return 0, false
}

// resolver returns the addresses of a name.
type resolver func(name string) ([]netip.Addr, error)

// denies says whether the ruleset refuses a destination.
func (s *SOCKS5Settings) denies(host, port string, resolve resolver) bool {
	if len(s.Rules) == 0 {
		return false
	}
	d := &destination{host: strings.TrimSuffix(strings.ToLower(host), "."), resolve: resolve}
	number, err := strconv.Atoi(port)
	if err != nil {
		return true
	}
	for _, r := range s.Rules {
		if (len(r.Ports) == 0 || slices.Contains(r.Ports, number)) && (len(r.To) == 0 || slices.ContainsFunc(r.To, d.fits)) {
			return r.Action == "deny"
		}
	}
	return true
}

// destination is what a client asks for.
type destination struct {
	host    string
	resolve resolver
	// addrs of the host, once looked up.
	addrs []netip.Addr
}

// addresses of the host. A name is looked up when the first network is compared with it.
func (d *destination) addresses() []netip.Addr {
	if d.addrs == nil {
		d.addrs = addressesOf(d.host, d.resolve)
	}
	return d.addrs
}

func addressesOf(host string, resolve resolver) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	found, err := resolve(host)
	if err != nil {
		return []netip.Addr{} // it fits no network
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found
}

// fits says whether the destination is what a rule's entry means.
func (d *destination) fits(to string) bool {
	to = strings.ToLower(to)
	if network, err := parseNetwork(to); err == nil {
		return slices.ContainsFunc(d.addresses(), network.Contains)
	}
	if strings.HasPrefix(to, ".") {
		return strings.HasSuffix(d.host, to)
	}
	if d.host == to {
		return true
	}
	if _, err := netip.ParseAddr(d.host); err != nil {
		return false
	}
	// An address was asked for, and the rule names a host.
	return slices.ContainsFunc(addressesOf(to, d.resolve), func(a netip.Addr) bool { return slices.Contains(d.addresses(), a) })
}

// parseNetwork reads a network, or an address as the network of itself.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// checkSOCKS5 reports what is wrong with a SOCKS5 proxy beyond its single keys.
func checkSOCKS5(c *topology.NodeCheck, s *Settings) {
	wants := slices.Contains(s.methods(), methodPassword)
	switch {
	case wants && len(s.Users) == 0:
		c.Problemf("methods", "give it users: { NAME: PASSWORD }", "%s wants a password and knows no users", c.Node.Name)
	case !wants && len(s.Users) > 0:
		c.Problemf("methods", "add password, or leave the users out", "%s never asks for the users that it knows", c.Node.Name)
	}
	for i, r := range s.Rules {
		for j, to := range r.To {
			if strings.Contains(to, "/") {
				if _, err := netip.ParsePrefix(to); err != nil {
					c.Problemf(fmt.Sprintf("rules[%d].to[%d]", i, j), "write a network, such as 10.20.0.0/24", "%q is no network", to)
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Reply)) {
		if code := s.Reply[key]; code < replyGeneral || code > replyAddressType {
			c.Problemf("reply", "it can be 1 to 8", "%d, for %q, is no reply code that refuses", code, key)
		}
	}
}
