package kube_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

const (
	clusterFile = `
apiVersion: v1
kind: Config
clusters:
- name: dev
  cluster: {server: "https://dev.example:6443", insecure-skip-tls-verify: true}
current-context: dev
`
	contextFile = `
apiVersion: v1
kind: Config
contexts:
- name: dev
  context: {cluster: dev, user: me, namespace: flows}
users:
- name: me
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: get-token, interactiveMode: Never}
`
)

// outside makes a process that is in no pod and has no kubeconfig but the given one.
func outside(t *testing.T, kubeconfig string) {
	t.Helper()
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
	t.Setenv("KUBECONFIG", kubeconfig)
}

func TestLoadConfigMergesTheFilesOfKUBECONFIG(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for file, text := range map[string]string{a: clusterFile, b: contextFile} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside(t, a+string(os.PathListSeparator)+b)
	cfg, err := kube.LoadConfig("", "prefect-kube/test")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.REST.Host != "https://dev.example:6443" || cfg.Namespace != "flows" || cfg.REST.ExecProvider.Command != "get-token" {
		t.Errorf("got host %q, namespace %q, exec %+v", cfg.REST.Host, cfg.Namespace, cfg.REST.ExecProvider)
	}
	if !strings.Contains(cfg.Source, a) || !strings.Contains(cfg.Source, `context "dev"`) {
		t.Errorf("got source %q, want the files and the context", cfg.Source)
	}
	if cfg.REST.QPS < 200 || cfg.REST.UserAgent != "prefect-kube/test" {
		t.Errorf("got %v requests a second as %q", cfg.REST.QPS, cfg.REST.UserAgent)
	}
}

func TestLoadConfigWithoutAny(t *testing.T) {
	outside(t, filepath.Join(t.TempDir(), "none"))
	_, err := kube.LoadConfig("", "prefect-kube/test")
	if e, ok := errors.AsType[*kube.ConfigError](err); !ok || !errors.Is(e.InCluster, rest.ErrNotInCluster) {
		t.Fatalf("got %v, want a ConfigError with both reasons", err)
	}
	if !strings.Contains(err.Error(), "set KUBECONFIG") {
		t.Errorf("got %q, want the mend in it", err)
	}
}
