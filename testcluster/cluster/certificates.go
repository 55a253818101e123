package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// validity is longer than any test cluster lives.
const validity = 30 * 24 * time.Hour

// Pair is a certificate, or a bare public key, with its private key, both as PEM.
type Pair struct{ Certificate, Key string }

// Certificates are all credentials of one cluster, as PEM.
type Certificates struct {
	CA                        string
	APIServer, Admin, Kubelet Pair
	// ServiceAccount signs the tokens of service accounts. Its Certificate is a bare public key.
	ServiceAccount Pair
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	now         time.Time
}

// NewCertificates makes a fresh authority and everything it signs for the layout.
func NewCertificates(l Layout, now time.Time) (Certificates, error) {
	a, err := newAuthority(now)
	if err != nil {
		return Certificates{}, fmt.Errorf("create certificate authority: %w", err)
	}
	c := Certificates{CA: encodePEM("CERTIFICATE", a.certificate.Raw)}
	for _, want := range []struct {
		pair    *Pair
		subject pkix.Name
		names   []string
	}{
		{&c.APIServer, pkix.Name{CommonName: "kube-apiserver"}, []string{
			"127.0.0.1", serviceAddress, l.HostAddress(), "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		}},
		{&c.Admin, pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}, nil},
		{&c.Kubelet, pkix.Name{CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}}, []string{
			nodeName, "127.0.0.1", l.HostAddress(),
		}},
	} {
		if *want.pair, err = a.sign(want.subject, want.names); err != nil {
			return Certificates{}, fmt.Errorf("create certificate of %q: %w", want.subject.CommonName, err)
		}
	}
	if c.ServiceAccount, err = keyPair(); err != nil {
		return Certificates{}, fmt.Errorf("create service account key: %w", err)
	}
	return c, nil
}

func newAuthority(now time.Time) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	template := certificate(pkix.Name{CommonName: "prefect-kube test cluster"}, now)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, err
	}
	parsed, err := x509.ParseCertificate(der)
	return authority{certificate: parsed, key: key, now: now}, err
}

func (a authority) sign(subject pkix.Name, names []string) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	template := certificate(subject, a.now)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, err
	}
	private, err := privatePEM(key)
	return Pair{Certificate: encodePEM("CERTIFICATE", der), Key: private}, err
}

func certificate(subject pkix.Name, now time.Time) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // crypto/rand never fails
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(validity),
	}
}

func keyPair() (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Pair{}, err
	}
	private, err := privatePEM(key)
	return Pair{Certificate: encodePEM("PUBLIC KEY", public), Key: private}, err
}

func privatePEM(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalECPrivateKey(key)
	return encodePEM("EC PRIVATE KEY", der), err
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
