package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/kube"
	"github.com/prefect-kube/prefect-kube/internal/secret"
	"github.com/prefect-kube/prefect-kube/internal/status"
)

// StartAgentOver is StartAgent with both ways out of the process replaced.
func StartAgentOver(ctx context.Context, cfg config.Agent, prefect, cluster http.RoundTripper, log *slog.Logger) error {
	return startAgent(ctx, cfg, outside{
		prefect: prefect,
		cluster: &kube.Config{REST: &rest.Config{Host: "http://cluster.test", Transport: cluster, QPS: 500, Burst: 1000}, Source: "test"},
	}, log)
}

// RenderOver is Render with both ways out of the process replaced.
func RenderOver(ctx context.Context, cfg config.Render, source string, out, notes io.Writer, prefect, cluster http.RoundTripper) error {
	return render(ctx, cfg, source, strings.NewReader(""), out, notes, outside{
		prefect: prefect,
		cluster: &kube.Config{REST: &rest.Config{Host: "http://cluster.test", Transport: cluster}, Source: "test"},
	}, slog.New(slog.DiscardHandler))
}

// DoctorOver is Doctor with both ways out of the process replaced.
func DoctorOver(ctx context.Context, cfg config.Doctor, out io.Writer, prefect, cluster http.RoundTripper, host string) error {
	return doctor(ctx, cfg, out, outside{
		prefect: prefect,
		cluster: &kube.Config{REST: &rest.Config{Host: host, Transport: cluster, QPS: 500, Burst: 1000}, Source: "test"},
	}, slog.New(slog.DiscardHandler))
}

// WatchRights tells health which rights are missing.
func WatchRights(ctx context.Context, allowed func(kube.Access) (bool, error), health *status.Health, log *slog.Logger) error {
	return watchRights(ctx, reviews(allowed), "flows", health, log)
}

type reviews func(kube.Access) (bool, error)

func (r reviews) Allowed(_ context.Context, a kube.Access) (bool, error) { return r(a) }

// Drain is how long a stop may take.
const Drain = drain

// ResourceManagerOver is ResourceManager with both ways out of the process replaced.
func ResourceManagerOver(ctx context.Context, cfg config.ResourceManager, prefect, cluster http.RoundTripper, log *slog.Logger) error {
	return resourceManager(ctx, cfg, outside{
		prefect: prefect,
		cluster: &kube.Config{REST: &rest.Config{Host: "http://cluster.test", Transport: cluster, QPS: 500, Burst: 1000}, Source: "test"},
	}, log)
}

// JobSettings are the facts about the agent that a Job depends on.
func JobSettings(cfg config.Agent) (jobspec.Settings, error) { return jobSettings(cfg) }

// Rival is what the agent's watch does to each Job it sees.
func Rival(ctx context.Context, since time.Time, log *slog.Logger) func(*batchv1.Job) diagnose.Job {
	return (&rival{since: since, log: log}).facts(ctx)
}

// Network sends requests to the Prefect API.
func Network(cfg config.Agent) (*http.Transport, error) { return network(cfg) }

// DeployFlowOver is DeployFlow on another cluster.
func DeployFlowOver(ctx context.Context, cfg config.Agent, flowRun []byte, cluster http.RoundTripper) (string, error) {
	return deployFlow(ctx, cfg, flowRun, outside{cluster: &kube.Config{REST: &rest.Config{Host: "http://cluster.test", Transport: cluster}, Source: "test"}}, slog.New(slog.DiscardHandler))
}

// Cautions is what start says about a configuration.
func Cautions(cfg config.Agent) []string { return startCautions(cfg) }

// Exposures are what startAgent tells of the credential.
func Exposures(cfg config.Agent) []string { return texts(exposures(cfg)) }

// ClusterExposures are what it tells of that of Kubernetes.
func ClusterExposures(found *kube.Config) []string { return texts(toCluster(found)) }

func texts(all []exposure) (out []string) {
	for _, e := range all {
		out = append(out, e.what+"; "+e.mend)
	}
	return out
}

// Connect is how an agent finds its cluster, and LookForCluster how doctor does.
func Connect(ctx context.Context, cfg config.Agent, log *slog.Logger) error {
	secrets, log := concealed(cfg, log)
	_, err := connectCluster(ctx, cfg, outside{secrets: secrets}, log)
	return err
}

// LookForCluster is the check of the same in doctor.
func LookForCluster(ctx context.Context, cfg config.Agent) []Finding {
	secrets, log := concealed(cfg, slog.New(slog.DiscardHandler))
	return lookForCluster(ctx, &patient{cfg: config.Doctor{Agent: cfg}, out: outside{secrets: secrets}, log: log, clusterTime: &dated{}})
}

// ConcealCluster makes the secrets of a connection to a cluster known.
func ConcealCluster(found *kube.Config, secrets *secret.Set) { concealCluster(found, secrets) }
