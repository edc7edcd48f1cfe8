package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/topology"
)

// maxForged is how many certificates are kept for the next client that asks for the name.
const maxForged = 256

// forge makes certificates for the names that clients ask for, with the company's own authority. It
// is safe for concurrent use.
type forge struct {
	// company is the authority, stranger one of the same name that no client trusts.
	company, stranger *topology.Authority
	issuer            string
	// roots are those that the proxy trusts servers by.
	roots *x509.CertPool

	mu   sync.Mutex
	made map[forged]tls.Certificate
}

type forged struct {
	name      string
	untrusted bool
}

func newForge(p *proxy) (*forge, error) {
	f := &forge{issuer: p.settings.issuer(p.env.Spec.Name), made: make(map[forged]tls.Certificate)}
	var err error
	if f.roots, err = ca.Pool(p.env.Spec.CA); err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
	}
	if f.stranger, err = ca.Named(f.issuer); err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
	}
	f.company = f.stranger
	if p.settings.Trusted {
		if f.company, err = ca.Intermediate(p.env.Spec.CA, f.issuer); err != nil {
			return nil, fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
		}
	}
	return f, nil
}

// certificate for a name, or an address; untrusted is one that no client trusts.
func (f *forge) certificate(name string, untrusted bool) (tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := forged{name, untrusted}
	if c, ok := f.made[key]; ok {
		return c, nil
	}
	authority := f.company
	if untrusted {
		authority = f.stranger
	}
	names, ips := []string{name}, []net.IP(nil)
	if ip := net.ParseIP(name); ip != nil {
		names, ips = nil, []net.IP{ip}
	}
	c, err := ca.Issue(authority, names, ips)
	if err != nil {
		return tls.Certificate{}, err
	}
	if len(f.made) >= maxForged {
		clear(f.made)
	}
	c = ca.Chain(authority, c)
	f.made[key] = c
	return c, nil
}
