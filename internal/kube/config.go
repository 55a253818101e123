// Package kube is the connection to Kubernetes: it finds the cluster, creates,
// reads and deletes Jobs, reads Pods, their events and their logs, and keeps a
// reduced copy of Jobs and Pods that follows the cluster. It knows Kubernetes
// and refuses to know Prefect: no flow run, no state, no meaning of a label.
package kube

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
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
	// Login is how we show who we are, nil if nothing is known of it.
	Login *Login
}

// Plain reports whether the API server is reached without TLS, and where it is.
func (c *Config) Plain() (address *url.URL, plain bool) {
	address, _, err := rest.DefaultServerUrlFor(c.REST)
	if err != nil || address.Scheme != "http" {
		return nil, false
	}
	return address, true
}

// ConfigError means that no cluster could be found.
type ConfigError struct {
	// InCluster says why the pod's own configuration was not used.
	InCluster error
	// Kubeconfig says why no kubeconfig could be used.
	Kubeconfig error
	// Found says that there is a kubeconfig, so that it is to be corrected.
	Found bool
}

func (e *ConfigError) Error() string {
	mend := "In a pod, give it a service account with a mounted token; elsewhere, set KUBECONFIG to a file with a current context " +
		"(kubectl config current-context shows it)"
	if e.Found {
		mend = "Correct the kubeconfig (kubectl config view --minify shows what is used of it), or name another one with KUBECONFIG or --kubeconfig"
	}
	return fmt.Sprintf("no usable Kubernetes configuration: in the cluster: %v; kubeconfig: %v. %s", e.InCluster, e.Kubeconfig, mend)
}

// Unwrap gives both reasons.
func (e *ConfigError) Unwrap() []error { return []error{e.InCluster, e.Kubeconfig} }

// LoadConfig finds the cluster as the Python agents do: the pod's own service
// account first, else the kubeconfig: all files of KUBECONFIG merged, or
// ~/.kube/config, with the current context and any exec plugin it names. A
// kubeconfig that is not empty stands for KUBECONFIG. The error is a *ConfigError, or
// a *LoginError where a user's entry cannot be used.
func LoadConfig(kubeconfig, userAgent string) (*Config, error) {
	inCluster, inClusterErr := rest.InClusterConfig()
	if inClusterErr == nil {
		return finish(&Config{REST: inCluster, Source: "service account of the pod", Namespace: ownNamespace(), Login: &Login{pod: true}}, userAgent), nil
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if kubeconfig != "" {
		rules.Precedence = filepath.SplitList(kubeconfig)
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{})
	cfg, err := ofKubeconfig(rules, loader)
	if _, ok := errors.AsType[*LoginError](err); ok {
		return nil, err
	}
	if err != nil {
		if clientcmd.IsEmptyConfig(err) {
			return nil, &ConfigError{InCluster: inClusterErr, Kubeconfig: fmt.Errorf("nothing in %s", strings.Join(rules.GetLoadingPrecedence(), ", "))}
		}
		return nil, &ConfigError{InCluster: inClusterErr, Kubeconfig: err, Found: true}
	}
	return finish(cfg, userAgent), nil
}

func ofKubeconfig(rules *clientcmd.ClientConfigLoadingRules, loader clientcmd.ClientConfig) (*Config, error) {
	raw, err := checkFiles(rules, loader)
	if err != nil {
		return nil, err
	}
	login := loginOf(raw)
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, cmp.Or(login.check(), withoutProxy(raw, err))
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, err
	}
	return &Config{REST: cfg, Source: kubeconfigSource(raw, rules), Namespace: namespace, Login: login}, nil
}

// withoutProxy keeps an error about a proxy-url that cannot be parsed from quoting the
// password in it.
func withoutProxy(raw clientcmdapi.Config, err error) error {
	current, ok := raw.Contexts[raw.CurrentContext]
	if !ok || !strings.Contains(err.Error(), "proxy-url") {
		return err
	}
	if cluster, ok := raw.Clusters[current.Cluster]; !ok || !strings.Contains(cluster.ProxyURL, "@") {
		return err
	}
	return fmt.Errorf("the proxy-url of cluster %q cannot be used, and is not shown since it holds a credential: "+
		"write it as http://USER:PASSWORD@HOST:PORT, and what is special in USER and PASSWORD with a percent sign, such as %%20", current.Cluster)
}

func finish(cfg *Config, userAgent string) *Config {
	cfg.REST.UserAgent = userAgent
	cfg.REST.QPS, cfg.REST.Burst = requestsPerSecond, burst
	return cfg
}

func kubeconfigSource(raw clientcmdapi.Config, rules *clientcmd.ClientConfigLoadingRules) string {
	var present []string
	for _, file := range rules.GetLoadingPrecedence() {
		if _, err := os.Stat(file); err == nil {
			present = append(present, file)
		}
	}
	source := "kubeconfig " + strings.Join(present, ", ")
	if raw.CurrentContext != "" {
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
