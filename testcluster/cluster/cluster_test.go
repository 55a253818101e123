package cluster_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/testcluster/cluster"
)

func TestCertificatesServeTheirNames(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c, err := cluster.NewCertificates(example(cluster.Real), now)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(c.CA)) {
		t.Fatal("the authority is no certificate")
	}
	tests := map[string]struct {
		pair  cluster.Pair
		names []string
		org   string
	}{
		"kube-apiserver":    {c.APIServer, []string{"127.0.0.1", "10.96.0.1", "10.88.3.1", "localhost", "kubernetes.default.svc"}, ""},
		"admin":             {c.Admin, nil, "system:masters"},
		"system:node:node1": {c.Kubelet, []string{"10.88.3.1", "node1"}, "system:nodes"},
	}
	for name, test := range tests {
		pair, err := tls.X509KeyPair([]byte(test.pair.Certificate), []byte(test.pair.Key))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		leaf := pair.Leaf
		if got := leaf.Subject.CommonName; got != name {
			t.Errorf("common name is %q, want %q", got, name)
		}
		if got := strings.Join(leaf.Subject.Organization, ","); got != test.org {
			t.Errorf("%s: organization is %q, want %q", name, got, test.org)
		}
		for _, host := range append(test.names, "") {
			usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now, KeyUsages: usages}); err != nil {
				t.Errorf("%s as %q: %v", name, host, err)
			}
		}
	}
}

func TestParseNodes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"auto", "real", "simulated", "none"} {
		if got, err := cluster.ParseNodes(text); err != nil || string(got) != text {
			t.Errorf("ParseNodes(%q) = %q, %v", text, got, err)
		}
	}
	if _, err := cluster.ParseNodes("kwok"); err == nil {
		t.Error("ParseNodes accepts kwok")
	}
}

func TestOptionsAreCheckedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options cluster.Options
		want    string
	}{
		"name with a slash": {cluster.Options{Name: "../x", Cache: t.TempDir()}, "cluster name"},
		"name too long":     {cluster.Options{Name: strings.Repeat("x", 40), Cache: t.TempDir()}, "cluster name"},
		"folder too deep":   {cluster.Options{Cache: "/" + strings.Repeat("x", 80)}, cluster.CacheVariable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := cluster.Up(t.Context(), test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestDownWithoutACluster(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	if err := cluster.Down(t.Context(), cluster.Options{Cache: cache}); err != nil {
		t.Errorf("nothing to remove: %v", err)
	}
	// A starter that was killed before it wrote the layout down leaves an empty folder.
	dir := filepath.Join(cache, "clusters", cluster.DefaultName)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Down(t.Context(), cluster.Options{Cache: cache}); err != nil {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the empty folder is still there")
	}
}

func TestDownRefusesAForeignLayout(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	dir := filepath.Join(cache, "clusters", cluster.DefaultName)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// A folder copied from elsewhere would lead Down to what is not its own.
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"Dir": "/somewhere/else"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Down(t.Context(), cluster.Options{Cache: cache}); err == nil || !strings.Contains(err.Error(), "/somewhere/else") {
		t.Errorf("error is %v, want one that names the other folder", err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the folder was removed: %v", err)
	}
}

func TestOpenSaysHowToStart(t *testing.T) {
	t.Parallel()
	_, err := cluster.Kubeconfig(cluster.Options{Name: "none", Cache: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("error is %v, want one that names the cluster", err)
	}
}
