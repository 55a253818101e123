package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/status"
)

const (
	// managerName is the logger's name in run logs, as 0.11.0 had it
	// (agent/kubernetes/resource_manager.py).
	managerName = "resource-manager"
	// standby lets every agent of the namespace report first; see reaper.Policy.
	standby = 4 * time.Second
)

// ResourceManager runs the loop that reports endings and deletes finished Jobs,
// and nothing else, until ctx ends. Agents run the same loop; any number of both
// may run at once. A *config.Error means that it cannot start as configured.
func ResourceManager(ctx context.Context, cfg config.ResourceManager, log *slog.Logger) error {
	return resourceManager(ctx, cfg, outside{}, log)
}

func resourceManager(ctx context.Context, m config.ResourceManager, out outside, log *slog.Logger) (err error) {
	cfg := managerAsAgent(m)
	for _, e := range onTheWire(cfg) {
		log.WarnContext(ctx, "credential exposed", slog.String("reason", e.what+"; "+e.mend))
	}
	out.secrets, log = concealed(cfg, log)
	defer func() { err = out.secrets.Error(err) }()
	for _, warning := range m.Warnings {
		log.WarnContext(ctx, "configuration", slog.String("reason", warning))
	}
	if err := Usable(ctx, cfg); err != nil {
		return err
	}
	cluster, err := connectCluster(ctx, cfg, out, log)
	if err != nil {
		return err
	}
	prefect, err := connectPrefect(cfg, out, log)
	if err != nil {
		return err
	}
	health := status.NewHealth(out.secrets)
	server, err := listen(ctx, cfg, health, make(chan struct{}, 1), log)
	if err != nil {
		return err
	}
	s := &started{cfg: cfg, cluster: cluster, prefect: prefect, health: health, log: log, id: uuid.NewString(), standby: standby}
	var stop lifo
	stop.start(ctx, server.Run)
	stop.until(ctx, func(ctx context.Context) error { return health.Watch(ctx, log) })
	err = s.manage(ctx, &stop)
	return errors.Join(err, stop.all())
}

// managerAsAgent is the agent that would run the same loop.
func managerAsAgent(m config.ResourceManager) config.Agent {
	return config.Agent{
		Common: m.Common, CoreVersion: m.CoreVersion, Backend: m.Backend, API: m.API, BasicUser: m.BasicUser, Credential: m.Credential, TenantID: m.TenantID,
		Name: managerName, AgentAddress: m.AgentAddress, SendLogs: m.SendLogs, Namespace: m.Namespace,
		DeleteFinishedJobs: m.DeleteFinishedJobs, RequestTimeout: m.RequestTimeout, Grace: m.Grace, Kubeconfig: m.Kubeconfig,
		GraphQL: m.GraphQL, CABundle: m.CABundle,
	}
}

func (s *started) manage(ctx context.Context, stop *lifo) error {
	place, ok := s.findPlace(ctx, s.health.Loop("watch", silence))
	if !ok {
		return nil
	}
	watch, err := s.watch(diagnose.JobFacts)
	if err != nil {
		return err
	}
	reaper, err := s.reaper(watch, place)
	if err != nil {
		return err
	}
	s.log.InfoContext(ctx, "resource manager started", slog.String("namespace", s.cfg.Namespace))
	stop.start(ctx, watch.Run)
	stop.start(ctx, s.follow(watch))
	return reaper.Run(ctx)
}
