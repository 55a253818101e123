package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// TestCertificatesAreInside looks from a process to which the system offers none.
func TestCertificatesAreInside(t *testing.T) {
	t.Parallel()
	const inside = "PREFECT_KUBE_TEST_CERTIFICATES"
	if os.Getenv(inside) != "" {
		if pool, err := x509.SystemCertPool(); err != nil || pool.Equal(x509.NewCertPool()) {
			t.Errorf("no certificate authorities: %v", err)
		}
		return
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCertificatesAreInside$", "-test.v")
	command.Env = []string{inside + "=1", "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent"}
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
