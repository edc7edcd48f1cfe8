package proxy

import (
	"fmt"
	"strings"

	"github.com/wslab/wslab/topology"
)

// InterceptSettings are the keys of a proxy that opens TLS.
type InterceptSettings struct {
	Trusted       bool     `json:"trusted" doc:"Whether clients trust the company's authority (protocol intercept): true makes it an intermediate one of the lab's, so that every client that trusts the lab's trusts it; false leaves it on its own, so that clients refuse its certificates."`
	Issuer        string   `json:"issuer" doc:"Name of the company's authority, as its certificates show it (protocol intercept); without it \"NODE interception CA\"."`
	Exempt        []string `json:"exempt,omitempty" doc:"Names that are tunnelled untouched (protocol intercept): of the CONNECT or in the TLS hello, exact or *.DOMAIN for all under it."`
	UpgradeInside string   `json:"upgrade_inside" doc:"What becomes of Upgrade inside the TLS that it opens (protocol intercept): pass sends it on, strip takes it out, so that the server answers as to an ordinary request." enum:"pass,strip"`
	BadOrigin     string   `json:"bad_origin" doc:"What it does with a server whose certificate it does not trust (protocol intercept): refuse answers 502 inside, untrusted shows the client a certificate that it does not trust either, ignore hides it from the client. FortiGate calls them block, allow and ignore." enum:"refuse,untrusted,ignore"`
}

// Values of bad_origin.
const (
	badOriginRefuse    = "refuse"
	badOriginUntrusted = "untrusted"
	badOriginIgnore    = "ignore"
)

func newInterceptSettings() InterceptSettings {
	return InterceptSettings{Trusted: true, UpgradeInside: pass, BadOrigin: badOriginRefuse}
}

// issuer is the name of the company's authority.
func (s *InterceptSettings) issuer(node string) string {
	if s.Issuer != "" {
		return s.Issuer
	}
	return node + " interception CA"
}

// exempts says whether a name is tunnelled untouched. Names have no case, and a dot at the end means
// nothing.
func (s *InterceptSettings) exempts(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	for _, e := range s.Exempt {
		e = strings.ToLower(e)
		if domain, under := strings.CutPrefix(e, "*"); under && strings.HasSuffix(name, domain) && name != domain {
			return true
		}
		if e == name {
			return true
		}
	}
	return false
}

// checkIntercept reports what is wrong with an interceptor beyond its single keys.
func checkIntercept(c *topology.NodeCheck, s *Settings) {
	for i, e := range s.Exempt {
		name, under := strings.CutPrefix(e, "*.")
		if name == "" || strings.ContainsAny(name, "*/: ") || !under && strings.HasPrefix(e, ".") {
			c.Problemf(fmt.Sprintf("exempt[%d]", i), "write a name, or *.DOMAIN", "%q is no name", e)
		}
	}
}
