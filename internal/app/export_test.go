package app

import (
	"context"
	"log/slog"
	"net/http"

	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// StartAgentOver is StartAgent with both ways out of the process replaced.
func StartAgentOver(ctx context.Context, cfg config.Agent, prefect, cluster http.RoundTripper, log *slog.Logger) error {
	return startAgent(ctx, cfg, outside{
		prefect: prefect,
		cluster: &kube.Config{REST: &rest.Config{Host: "http://cluster.test", Transport: cluster, QPS: 500, Burst: 1000}, Source: "test"},
	}, log)
}
