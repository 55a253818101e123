package app

import (
	"log/slog"
	"net/http"
	"net/url"

	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/kube"
	"github.com/prefect-kube/prefect-kube/internal/logging"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// concealed are the secrets of an agent's configuration, and a log that hides them.
// Whoever calls this package may have a log of his own, so it is made here.
func concealed(cfg config.Agent, log *slog.Logger) (*secret.Set, *slog.Logger) {
	secrets := secret.NewSet(cfg.Secrets()...)
	secrets.AddAddress(cfg.API)
	secrets.AddAddress(cfg.GraphQL)
	return secrets, slog.New(logging.Clean(log.Handler(), secrets))
}

// concealCluster makes the secrets known that the connection to a cluster has now, and
// those that it will send, whoever gives them.
func concealCluster(found *kube.Config, secrets *secret.Set) *kube.Config {
	concealed := *found
	concealed.REST = rest.CopyConfig(found.REST)
	rc := concealed.REST
	secrets.AddAddress(rc.Host)
	secrets.Add(secret.New(rc.BearerToken), secret.New(rc.Password))
	if p := rc.AuthProvider; p != nil {
		for _, key := range []string{"id-token", "access-token", "refresh-token", "client-secret"} {
			secrets.Add(secret.New(p.Config[key]))
		}
	}
	if rc.Proxy != nil {
		if proxy, err := rc.Proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: "kubernetes"}}); err == nil && proxy != nil {
			secrets.AddAddress(proxy.String())
		}
	}
	rc.Wrap(secrets.Transport)
	return &concealed
}
