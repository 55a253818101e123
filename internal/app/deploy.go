package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// UnsupportedStorageError is why a flow whose storage names no image is refused.
type UnsupportedStorageError = jobspec.UnsupportedStorageError

// ConfigError is one argument that cannot be used, with its place and the mend.
type ConfigError = config.Error

// TakenError means that another Job has the name of this one.
type TakenError struct {
	Namespace, Job string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("job %q in namespace %q exists and belongs to another start; delete it, or give the template another metadata.name", e.Job, e.Namespace)
}

// JobSpec is the Job that a flow run, in JSON as the API answers it, would be
// started as. No connection is opened.
func JobSpec(ctx context.Context, cfg config.Render, flowRun json.RawMessage, log *slog.Logger) (map[string]any, error) {
	tree, _, err := jobOf(ctx, cfg, flowRun, log)
	if err != nil {
		return nil, err
	}
	return treeOf(tree)
}

// jobOf makes the Job of a flow run in JSON.
func jobOf(ctx context.Context, cfg config.Render, flowRun json.RawMessage, log *slog.Logger) (any, *batchv1.Job, error) {
	run, err := parseRunFile(flowRun)
	if err != nil {
		return nil, nil, fmt.Errorf("flow run: %w", err)
	}
	settings, err := jobSettings(cfg.Agent)
	if err != nil {
		return nil, nil, err
	}
	return makeJob(ctx, cfg, run, settings, log)
}

// DeployFlow creates the Job of a flow run and returns "Job" and its name, as
// deploy_flow of agent/kubernetes/agent.py does from 0.11.0 to 1.4.1. Neither
// reads nor writes states: claims are what StartAgent makes. A second call for
// the same start finds the Job of the first.
func DeployFlow(ctx context.Context, cfg config.Agent, flowRun json.RawMessage, log *slog.Logger) (string, error) {
	return deployFlow(ctx, cfg, flowRun, outside{}, log)
}

func deployFlow(ctx context.Context, cfg config.Agent, flowRun json.RawMessage, out outside, log *slog.Logger) (name string, err error) {
	out.secrets, log = concealed(cfg, log)
	defer func() { err = out.secrets.Error(err) }()
	_, job, err := jobOf(ctx, config.Render{Agent: cfg}, flowRun, log)
	if err != nil {
		return "", err
	}
	cluster, err := connectCluster(ctx, cfg, out, log)
	if err != nil {
		return "", err
	}
	stored, created, err := cluster.Submit(ctx, job)
	if err != nil {
		return "", err
	}
	if !created && !sameStart(job, stored) {
		return "", &TakenError{Namespace: job.Namespace, Job: job.Name}
	}
	return "Job " + stored.Name, nil
}

func sameStart(a, b *batchv1.Job) bool {
	return a.Labels[flowrun.LabelFlowRunID] == b.Labels[flowrun.LabelFlowRunID] &&
		a.Annotations[flowrun.AnnotationAttempt] == b.Annotations[flowrun.AnnotationAttempt]
}
