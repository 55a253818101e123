package app

import (
	"cmp"
	"net/netip"
	"net/url"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// exposure is who may read the credential without being meant to, and the mend.
type exposure struct{ what, mend string }

// inJobs tells of a credential that stands in each Job.
func inJobs(cfg config.Agent) []exposure {
	if !cfg.Credential.IsSet() || cfg.CredentialSecret != "" {
		return nil
	}
	return []exposure{{
		what: "each Job holds the credential in clear text: whoever may read Jobs or Pods of namespace " + cfg.Namespace + " can read it",
		mend: "put it in a Secret there and name that with --credential-secret NAME/KEY",
	}}
}

// exposures are those of an agent.
func exposures(cfg config.Agent) []exposure {
	all := append(inJobs(cfg), onTheWire(cfg)...)
	if cfg.CredentialByFlag {
		all = append(all, exposure{
			what: "the credential is an argument of this command: whoever may list the processes of this machine can read it",
			mend: "give it by a variable or a file instead, such as PREFECT__CLOUD__API_KEY_FILE",
		})
	}
	return all
}

// onTheWire tells of a credential that travels without TLS to another machine.
func onTheWire(cfg config.Agent) []exposure {
	u, err := url.Parse(cmp.Or(cfg.GraphQL, cfg.API))
	if err != nil || u.Scheme != "http" || here(u.Hostname()) || !cfg.Credential.IsSet() && !cfg.BasicUser.IsSet() {
		return nil
	}
	return []exposure{{
		what: "the credential travels to " + u.Host + " without TLS: whoever sees the packets can read it",
		mend: "use an https:// address for --api or PREFECT__CLOUD__API",
	}}
}

// toCluster tells of a credential for Kubernetes that others may get.
func toCluster(found *kube.Config) []exposure {
	c := found.REST
	if c == nil {
		return nil
	}
	const mend = "correct the cluster's entry in the kubeconfig: server with https://, and certificate-authority"
	if c.Insecure {
		return []exposure{{"the certificate of the API server is not checked (insecure-skip-tls-verify): whoever answers in its place gets what the agent sends, credentials and Jobs", mend}}
	}
	shows := c.BearerToken != "" || c.BearerTokenFile != "" || c.Username != "" || c.ExecProvider != nil || c.AuthProvider != nil
	if address, plain := found.Plain(); plain && shows && !here(address.Hostname()) {
		return []exposure{{"the credential for Kubernetes travels to " + address.Host + " without TLS: whoever sees the packets can read it", mend}}
	}
	return nil
}

// here reports whether a host is this machine.
func here(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}
