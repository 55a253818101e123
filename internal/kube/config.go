// Package kube is the connection to Kubernetes: it finds the cluster, creates,
// reads and deletes Jobs, reads Pods, their events and their logs, and keeps a
// reduced copy of Jobs and Pods that follows the cluster. It knows Kubernetes
// and refuses to know Prefect: no flow run, no state, no meaning of a label.
package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The rate limit of the client side. It only keeps a fault from becoming a
// flood: two hundred Jobs a second need two requests each at worst, and the
// server has its own fairness.
const (
	requestsPerSecond = 500
	burst             = 1000
)

// Config is an address and a credential for one cluster.
type Config struct {
	// REST is what client-go connects with. Its rate limit is set.
	REST *rest.Config
	// Source says in words where the configuration came from.
	Source string
	// Namespace is the one that the configuration itself names, empty if none.
	// In a pod it is the pod's own.
	Namespace string
}

// ConfigError means that no cluster could be found.
type ConfigError struct {
	// InCluster says why the pod's own configuration was not used.
	InCluster error
	// Kubeconfig says why no kubeconfig could be used.
	Kubeconfig error
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("no usable Kubernetes configuration: in the cluster: %v; kubeconfig: %v. "+
		"In a pod, give it a service account with a mounted token; elsewhere, set KUBECONFIG to a file with a current context "+
		"(kubectl config current-context shows it)", e.InCluster, e.Kubeconfig)
}

// Unwrap gives both reasons.
func (e *ConfigError) Unwrap() []error { return []error{e.InCluster, e.Kubeconfig} }

// LoadConfig finds the cluster as the Python agents do: the pod's own service
// account first, else the kubeconfig: all files of KUBECONFIG merged, or
// ~/.kube/config, with the current context and any exec plugin it names. A
// kubeconfig that is not empty stands for KUBECONFIG. The error is a *ConfigError.
func LoadConfig(kubeconfig, userAgent string) (*Config, error) {
	inCluster, inClusterErr := rest.InClusterConfig()
	if inClusterErr == nil {
		return finish(inCluster, "service account of the pod", ownNamespace(), userAgent), nil
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if kubeconfig != "" {
		rules.Precedence = filepath.SplitList(kubeconfig)
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{})
	if err := checkFiles(rules, loader); err != nil {
		return nil, &ConfigError{InCluster: inClusterErr, Kubeconfig: err}
	}
	cfg, err := loader.ClientConfig()
	if err != nil {
		if clientcmd.IsEmptyConfig(err) {
			err = fmt.Errorf("nothing in %s", strings.Join(rules.GetLoadingPrecedence(), ", "))
		}
		return nil, &ConfigError{InCluster: inClusterErr, Kubeconfig: err}
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, &ConfigError{InCluster: inClusterErr, Kubeconfig: err}
	}
	return finish(cfg, kubeconfigSource(loader, rules), namespace, userAgent), nil
}

func finish(cfg *rest.Config, source, namespace, userAgent string) *Config {
	cfg.UserAgent = userAgent
	cfg.QPS, cfg.Burst = requestsPerSecond, burst
	return &Config{REST: cfg, Source: source, Namespace: namespace}
}

func kubeconfigSource(loader clientcmd.ClientConfig, rules *clientcmd.ClientConfigLoadingRules) string {
	var present []string
	for _, file := range rules.GetLoadingPrecedence() {
		if _, err := os.Stat(file); err == nil {
			present = append(present, file)
		}
	}
	source := "kubeconfig " + strings.Join(present, ", ")
	if raw, err := loader.RawConfig(); err == nil && raw.CurrentContext != "" {
		source += fmt.Sprintf(" (context %q)", raw.CurrentContext)
	}
	return source
}

// ownNamespaceFile is where the kubelet mounts the namespace of a pod.
const ownNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

func ownNamespace() string {
	text, err := os.ReadFile(ownNamespaceFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
