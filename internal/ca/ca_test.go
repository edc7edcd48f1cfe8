package ca

import (
	"crypto/x509"
	"net"
	"testing"

	"github.com/wslab/wslab/topology"
)

func TestIssuedCertificateIsTrustedByItsOwnLabOnly(t *testing.T) {
	mine, err := New()
	if err != nil {
		t.Fatal(err)
	}
	other, err := New()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := Issue(mine, []string{"server"}, []net.IP{net.IPv4(203, 0, 113, 2)})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(issued.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		lab     *topology.Authority
		name    string
		trusted bool
	}{
		{mine, "server", true},
		{mine, "203.0.113.2", true},
		{mine, "elsewhere", false},
		{other, "server", false},
	} {
		pool, err := Pool(c.lab)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: c.name})
		if (err == nil) != c.trusted {
			t.Errorf("%s: %v, want trusted %v", c.name, err, c.trusted)
		}
	}
}

func TestNoKeyIsAnError(t *testing.T) {
	a, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*topology.Authority{nil, {CertPEM: a.CertPEM}, {CertPEM: "x", KeyPEM: "y"}} {
		if _, err := Issue(a, []string{"server"}, nil); err == nil {
			t.Errorf("%+v issued a certificate", a)
		}
	}
	if _, err := Pool(nil); err == nil {
		t.Error("a pool of nobody")
	}
}
