package kube_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

const otherFile = `
apiVersion: v1
kind: Config
clusters:
- name: other
  cluster: {server: "https://other.example:6443", insecure-skip-tls-verify: true}
contexts:
- name: other
  context: {cluster: other, user: them}
users:
- name: them
  user: {token: t}
current-context: other
`

// Of several files the first one that names a current context decides, files that
// are not there do not matter, and what the agent was given beats KUBECONFIG.
func TestLoadConfigOfSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dev, context, other, none := file("dev", clusterFile), file("context", contextFile), file("other", otherFile), filepath.Join(dir, "none")
	list := func(paths ...string) string { return strings.Join(paths, string(os.PathListSeparator)) }
	for _, c := range []struct{ variable, given, host string }{
		{variable: list(dev, context, other), host: "https://dev.example:6443"},
		{variable: list(other, dev, context), host: "https://other.example:6443"},
		{variable: list(none, other), host: "https://other.example:6443"},
		{variable: other, given: list(none, dev, context), host: "https://dev.example:6443"},
		{variable: none, given: other, host: "https://other.example:6443"},
	} {
		outside(t, c.variable)
		cfg, err := kube.LoadConfig(c.given, "test")
		if err != nil {
			t.Fatal(err)
		}
		if cfg.REST.Host != c.host || !strings.HasPrefix(cfg.Source, "kubeconfig "+dir) || strings.Contains(cfg.Source, none) {
			t.Errorf("KUBECONFIG %s, given %q: got %s from %q, want %s", c.variable, c.given, cfg.REST.Host, cfg.Source, c.host)
		}
	}
}

// client-go opens files without a limit of time: a pipe would keep the start waiting.
func TestPipesInKubeconfigs(t *testing.T) {
	dir := t.TempDir()
	pipe, path := filepath.Join(dir, "pipe"), filepath.Join(dir, "config")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"itself": "", "authority": strings.Replace(otherFile, "insecure-skip-tls-verify: true", "certificate-authority: pipe", 1),
		"certificate": strings.Replace(otherFile, "token: t", "client-certificate: pipe, client-key: "+path, 1),
		"key":         strings.Replace(otherFile, "token: t", "client-key: pipe, client-certificate: "+path, 1), "token": strings.Replace(otherFile, "token: t", "tokenFile: pipe", 1),
	} {
		outside(t, path)
		if text == "" {
			outside(t, pipe)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := kube.LoadConfig("", "test"); err == nil || !strings.Contains(err.Error(), pipe+" is a pipe") {
			t.Errorf("%s: got %v, want that it is a pipe", name, err)
		}
	}
}

// A pod without a mounted token is as good as none: the kubeconfig counts, and if
// there is none either, both reasons are said.
func TestLoadConfigInAPodWithoutToken(t *testing.T) {
	if _, err := os.Stat("/var/run/secrets/kubernetes.io/serviceaccount/token"); err == nil {
		t.Skip("this pod has a token")
	}
	path := filepath.Join(t.TempDir(), "config")
	outside(t, path)
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if _, err := kube.LoadConfig("", "test"); err == nil || !strings.Contains(err.Error(), "serviceaccount/token") || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want both reasons", err)
	}
	if err := os.WriteFile(path, []byte(otherFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err := kube.LoadConfig("", "test"); err != nil || cfg.REST.Host != "https://other.example:6443" {
		t.Errorf("got %+v, %v", cfg, err)
	}
}
