// Package ca makes the certificate authority of a lab and issues certificates
// with it. An authority is made for one instance of a lab and trusted by its
// clients only.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/wslab/wslab/topology"
)

// Certificates are valid from a day ago, for clocks that are off, to a year ahead:
// no lab lives that long.
const (
	validBefore = 24 * time.Hour
	validAfter  = 365 * 24 * time.Hour
)

// errNoAuthority says that a node was given no authority, or one without its key.
var errNoAuthority = errors.New("the node was not given the key of the lab's certificate authority")

// New makes the authority of a lab: ECDSA on P-256, self-signed.
func New() (*topology.Authority, error) { return newAuthority("wslab lab authority", nil) }

// Issue makes a server certificate for these names and addresses.
func Issue(a *topology.Authority, names []string, ips []net.IP) (tls.Certificate, error) {
	if a == nil || a.KeyPEM == "" {
		return tls.Certificate{}, errNoAuthority
	}
	authority, err := tls.X509KeyPair([]byte(a.CertPEM), []byte(a.KeyPEM))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	template, err := newTemplate("wslab node")
	if err != nil {
		return tls.Certificate{}, err
	}
	template.DNSNames = names
	template.IPAddresses = ips
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.Leaf, key.Public(), authority.PrivateKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Pool returns a pool in which the authority alone is trusted.
func Pool(a *topology.Authority) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if a == nil || !pool.AppendCertsFromPEM([]byte(a.CertPEM)) {
		return nil, errors.New("the node was not given the lab's certificate authority")
	}
	return pool, nil
}

func newTemplate(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-validBefore),
		NotAfter:     now.Add(validAfter),
	}, nil
}
