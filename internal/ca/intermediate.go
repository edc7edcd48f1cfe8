package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/wslab/wslab/topology"
)

// Intermediate makes an authority of that name whose certificate another one has issued, so
// that who trusts that one trusts it as well. Its CertPEM holds its own certificate and
// behind it the other's; see [Chain].
func Intermediate(a *topology.Authority, name string) (*topology.Authority, error) {
	if a == nil || a.KeyPEM == "" {
		return nil, errNoAuthority
	}
	parent, err := tls.X509KeyPair([]byte(a.CertPEM), []byte(a.KeyPEM))
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	made, err := newAuthority(name, &parent)
	if err != nil {
		return nil, err
	}
	made.CertPEM += a.CertPEM
	return made, nil
}

// Named makes an authority of that name, which nobody trusts that does not know it.
func Named(name string) (*topology.Authority, error) { return newAuthority(name, nil) }

// Chain returns a certificate that [Issue] made together with those of its authority, as a
// server shows them: the last one, which clients know, left out unless it is the only one.
func Chain(a *topology.Authority, c tls.Certificate) tls.Certificate {
	var authorities [][]byte
	for rest := []byte(a.CertPEM); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		authorities = append(authorities, block.Bytes)
	}
	if len(authorities) > 1 {
		authorities = authorities[:len(authorities)-1]
	}
	c.Certificate = append(c.Certificate[:1:1], authorities...)
	return c
}

// newAuthority makes an authority: ECDSA on P-256, signed by the parent, or by itself.
func newAuthority(name string, parent *tls.Certificate) (*topology.Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	template, err := newTemplate(name)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	signer, signature := template, any(key)
	if parent != nil {
		signer, signature = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, key.Public(), signature)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return &topology.Authority{
		CertPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		KeyPEM:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}, nil
}
