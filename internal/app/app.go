// Package app puts the parts together: one straight constructor per command. It
// knows every other package and decides nothing that could be decided in one of
// them.
package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/prefect-kube/prefect-kube/internal/agent"
	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/kube"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
	"github.com/prefect-kube/prefect-kube/internal/reaper"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
	"github.com/prefect-kube/prefect-kube/internal/secret"
	"github.com/prefect-kube/prefect-kube/internal/status"
	"github.com/prefect-kube/prefect-kube/internal/template"
)

const (
	// drain bounds what happens after a stop was asked for: twice the fence.
	drain = 2 * flowrun.Fence
	// slots is how many starts may be under way between claim and Job. All of them
	// wait a settling second, so it bounds the rate at nearly as many a second.
	slots = 1024
	// silence is how long a loop may show no sign of life before it counts as stuck.
	silence = 5 * time.Minute
	// lastPause bounds the pauses between tries to reach the cluster.
	lastPause = 10 * time.Second
	// longestWait bounds the pauses inside a request to the Prefect API. Where a server
	// asks for more, the loops wait: a poke ends that, and health knows of it.
	longestWait = 5 * time.Second
)

// StartAgent runs the agent of Prefect 0.x and 1.x until ctx ends or the last
// poll is done. It returns nil on a clean stop. A *config.Error means that it
// cannot start as configured.
func StartAgent(ctx context.Context, cfg config.Agent, log *slog.Logger) error {
	return startAgent(ctx, cfg, outside{}, log)
}

// outside is what leads out of the process. Tests put something else in the place of
// the network.
type outside struct {
	// prefect sends requests to the Prefect API; nil means over the network.
	prefect http.RoundTripper
	// cluster is where Jobs go; nil means wherever the configuration says.
	cluster *kube.Config
	// secrets are what no text may take along.
	secrets *secret.Set
}

func startAgent(ctx context.Context, cfg config.Agent, out outside, log *slog.Logger) (err error) {
	out.secrets, log = concealed(cfg, log)
	defer func() { err = out.secrets.Error(err) }()
	for _, warning := range append(slices.Clone(cfg.Warnings), startCautions(cfg)...) {
		log.WarnContext(ctx, "configuration", slog.String("reason", warning))
	}
	for _, e := range exposures(cfg) {
		log.WarnContext(ctx, "credential exposed", slog.String("reason", e.what+"; "+e.mend))
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
	loader, err := templates(cfg)
	if err != nil {
		return err
	}
	poke := make(chan struct{}, 1)
	health := status.NewHealth(out.secrets)
	server, err := listen(ctx, cfg, health, poke, log)
	if err != nil {
		return err
	}
	defer loader.Close()
	s := &started{cfg: cfg, cluster: cluster, prefect: prefect, health: health, templates: loader, poke: poke, log: log, id: uuid.NewString()}
	var stop lifo
	stop.start(ctx, server.Run)
	stop.until(ctx, func(ctx context.Context) error { return health.Watch(ctx, log) })
	err = s.run(ctx, &stop)
	return errors.Join(err, stop.all())
}

// started is an agent whose configuration is known to be usable.
type started struct {
	cfg     config.Agent
	cluster *kube.Client
	prefect *prefect1.Client
	health  *status.Health
	// templates are read for Jobs; a resource manager makes none.
	templates *template.Loader
	poke      chan struct{}
	log       *slog.Logger
	id        string
	// standby is zero for an agent; see reaper.Policy.
	standby time.Duration
}

func (s *started) run(ctx context.Context, stop *lifo) error {
	loop := s.health.Loop("poll", silence)
	place, ok := s.findPlace(ctx, loop)
	if !ok {
		return nil
	}
	others := &rival{since: s.cluster.ServerNow(), log: s.log}
	watch, err := s.watch(others.facts(ctx))
	if err != nil {
		return err
	}
	reaper, err := s.reaper(watch, place)
	if err != nil {
		return err
	}
	agent, err := s.agent(place, local{watch}, loop)
	if err != nil {
		return err
	}
	stop.start(ctx, watch.Run)
	stop.start(ctx, s.follow(watch))
	stop.start(ctx, reaper.Run)
	stop.start(ctx, func(ctx context.Context) error { return watchRights(ctx, s.cluster, s.cfg.Namespace, s.health, s.log) })
	return agent.Run(ctx)
}

// findPlace waits until the namespace can be read: a cluster that is away, or a
// namespace that is made later, must not kill the agent.
func (s *started) findPlace(ctx context.Context, loop *status.Loop) (flowrun.Place, bool) {
	last := ""
	for pause := time.Second; ; pause = min(2*pause, lastPause) {
		uid, digest, err := s.place(ctx)
		if err == nil {
			return flowrun.NewPlace(uid, digest), true
		}
		loop.Fail(err.Error())
		if err.Error() != last && ctx.Err() == nil {
			last = err.Error()
			s.log.WarnContext(ctx, "cluster not usable, trying again", slog.Any("error", err))
		}
		loop.Wait(pause)
		select {
		case <-ctx.Done():
			return flowrun.Place{}, false
		case <-time.After(pause):
		}
	}
}

// place asks for the namespace. It is a small question: whoever waits longer for the
// answer waits in vain.
func (s *started) place(ctx context.Context) (uid, digest string, err error) {
	const limit = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.cluster.Place(ctx, s.cfg.Namespace)
}

func (s *started) watch(job func(*batchv1.Job) diagnose.Job) (*kube.Watch[diagnose.Job, diagnose.Pod], error) {
	return kube.NewWatch(s.cluster.JobsIn(s.cfg.Namespace), s.cluster.PodsIn(s.cfg.Namespace), kube.WatchOptions[diagnose.Job, diagnose.Pod]{
		Namespace: s.cfg.Namespace, Labels: flowrun.RunLabels(), Job: job, Pod: diagnose.PodFacts, Log: s.log,
	})
}

func (s *started) reaper(watch reaper.Watch, place flowrun.Place) (*reaper.Reaper, error) {
	return reaper.New(reaper.Options{
		Watch: watch, Cluster: s.cluster, Witness: s.cluster, Reporter: s.prefect, Health: s.health.Loop("reports", silence), Log: s.log,
		Policy: reaper.Policy{
			Agent: s.id, Place: place, Namespace: s.cfg.Namespace, LogName: reportName(s.cfg), Grace: s.cfg.Grace,
			DeleteFinished: s.cfg.DeleteFinishedJobs, SendLogs: s.cfg.SendLogs, Settle: s.settle(), Standby: s.standby,
			Hint: func(refusal string) string { return jobspec.RefusalHint(refusal, s.cfg.Keep) },
		},
	})
}

// local asks the watch's copy for what lives.
type local struct {
	watch interface {
		Group(group string) ([]diagnose.Job, []diagnose.Pod)
	}
}

// Lives implements agent.Local.
func (l local) Lives(id string) bool {
	jobs, pods := l.watch.Group(id)
	return slices.ContainsFunc(jobs, func(j diagnose.Job) bool { return !j.Finished() && j.Parallelism != 0 }) ||
		slices.ContainsFunc(pods, diagnose.Pod.Live)
}

// reportName is the logger that lines about Jobs carry in run logs: k8s-infra, as
// since 0.14.0 (agent/kubernetes/agent.py, manage_jobs). The agent of 0.11.0 has no
// such lines and thus no name for them.
func reportName(cfg config.Agent) string {
	if cfg.CoreVersion == config.Core0 {
		return cfg.Name
	}
	return "k8s-infra"
}

func (s *started) agent(place flowrun.Place, cache agent.Local, loop *status.Loop) (*agent.Agent, error) {
	job, err := jobSettings(s.cfg)
	if err != nil {
		return nil, err
	}
	job.Template = nil // read with a context instead
	return agent.New(agent.Config{
		Registration: prefect1.Registration{Name: s.cfg.Name, Labels: s.cfg.Labels, ConfigID: s.cfg.AgentConfigID},
		ID:           s.id, Place: place, Namespace: s.cfg.Namespace,
		MaxPolls: s.cfg.MaxPolls, MaxPollInterval: s.cfg.MaxPollInterval, SendLogs: s.cfg.SendLogs,
		Template: s.templates.Read, Credential: s.cfg.Credential.Reveal, Poke: s.poke, Sweeping: func() agent.Health { return s.health.Loop("sweep", silence) }, Logger: s.log,
	}, s.prefect, s.cluster, cache, s.cluster, loop, job, dispatch.Config{
		Settle: s.settle(), Slots: slots, Drain: drain, Logger: s.log,
	})
}

// settle is zero where nobody else can write between our read and our write: on
// Cloud, which locks versions, and where the operator promises it.
func (s *started) settle() time.Duration {
	if s.cfg.Backend == config.Cloud || s.cfg.ExclusiveLabels {
		return 0
	}
	return dispatch.Settle
}

func connectCluster(ctx context.Context, cfg config.Agent, out outside, log *slog.Logger) (*kube.Client, error) {
	found := out.cluster
	if found == nil {
		var err error
		if found, err = kube.LoadConfig(cfg.Kubeconfig, "prefect-kube"); err != nil {
			return nil, unusableCluster(err)
		}
	}
	found = concealCluster(found, out.secrets)
	log.InfoContext(ctx, "cluster found", slog.String("reason", found.Source), slog.String("namespace", cfg.Namespace))
	for _, e := range toCluster(found) {
		log.WarnContext(ctx, "credential exposed", slog.String("reason", e.what+"; "+e.mend))
	}
	for _, c := range found.Cautions() {
		log.WarnContext(ctx, "login to the cluster", slog.String("reason", c.What+"; "+c.Mend))
	}
	client, err := kube.NewClient(found, log)
	if err != nil {
		return nil, unusableCluster(err)
	}
	return client, nil
}

// unusableCluster is a kubeconfig that cannot be used.
func unusableCluster(err error) error {
	fault := &config.Error{Place: "--kubeconfig, KUBECONFIG", Problem: err.Error()}
	if login, ok := errors.AsType[*kube.LoginError](err); ok {
		fault.Problem, fault.Mend = login.Problem, login.Mend
	}
	return fault
}

func connectPrefect(cfg config.Agent, out outside, log *slog.Logger) (*prefect1.Client, error) {
	base := out.prefect
	if base == nil {
		var err error
		if base, err = network(cfg); err != nil {
			return nil, err
		}
	}
	transport := retryhttp.New(retryhttp.Options{Base: out.secrets.Transport(base), Timeout: cfg.RequestTimeout, MaxWait: longestWait, Logger: log})
	client, err := prefect1.New(prefect1.Options{
		API: cfg.API, Endpoint: cfg.GraphQL, CoreVersion: cfg.CoreVersion, Cloud: cfg.Backend == config.Cloud,
		Credential: cfg.Credential.Reveal, Token: cfg.Token, TenantID: cfg.TenantID,
		HTTP: &http.Client{Transport: basicAuth(cfg.BasicUser, retryhttp.NoRedirects(transport))}, Secrets: out.secrets, Logger: log,
	})
	if err != nil {
		return nil, &config.Error{Place: "--api, PREFECT__CLOUD__API", Problem: err.Error()}
	}
	return client, nil
}

func listen(ctx context.Context, cfg config.Agent, health *status.Health, poke chan struct{}, log *slog.Logger) (*status.Server, error) {
	server, err := status.New(status.Options{
		Address: cfg.AgentAddress, Health: health, Logger: log,
		Poke: func() {
			select {
			case poke <- struct{}{}:
			default: // one is waiting already
			}
		},
	})
	if err != nil {
		return nil, &config.Error{Place: "--agent-address", Problem: err.Error(), Mend: "write one such as http://:8080"}
	}
	return server, server.Listen(ctx)
}

// jobSettings are the facts about the agent that a Job depends on.
func jobSettings(cfg config.Agent) (jobspec.Settings, error) {
	if err := usableKeep(cfg.Keep); err != nil {
		return jobspec.Settings{}, err
	}
	credential, err := cfg.Credential.Reveal()
	if err != nil {
		return jobspec.Settings{}, cmp.Or(cfg.CheckCredential(), err)
	}
	loader, err := templates(cfg)
	if err != nil {
		return jobspec.Settings{}, err
	}
	settings := jobspec.Settings{
		Backend: cfg.Backend, API: cfg.API, Credential: credential, Token: cfg.Token, TenantID: cfg.TenantID,
		Namespace: cfg.Namespace, NamespaceVariable: cfg.Namespace, Labels: cfg.Labels,
		SendLogs: cfg.SendLogs, FlowLogLevel: cfg.FlowLogLevel, Defaulted: cfg.Defaulted,
		ImagePullSecrets: cfg.ImagePullSecrets, ImagePullPolicy: cfg.ImagePullPolicy,
		JobMemRequest: cfg.JobMemRequest, JobMemLimit: cfg.JobMemLimit, JobCPURequest: cfg.JobCPURequest, JobCPULimit: cfg.JobCPULimit,
		DefaultJobImage: cfg.DefaultJobImage, AgentTemplatePath: cfg.JobTemplate, EnvironmentTemplatePath: cfg.YAMLTemplate, Template: loader.Text,
		Keep: cfg.Keep, Volumes: cfg.Volumes, VolumeMounts: cfg.VolumeMounts,
	}
	if name, key, ok := config.SplitSecret(cfg.CredentialSecret); ok {
		settings.CredentialFrom = &jobspec.SecretKey{Secret: name, Key: key}
	}
	if name, key, ok := config.SplitSecret(cfg.APISecret); ok {
		settings.APIFrom = &jobspec.SecretKey{Secret: name, Key: key}
	}
	if cfg.ServiceAccountName != "" {
		settings.ServiceAccountName = &cfg.ServiceAccountName
	}
	for _, v := range cfg.EnvVars {
		settings.EnvVars = append(settings.EnvVars, jobspec.EnvVar{Name: v.Name, Value: v.Value})
	}
	return settings, nil
}

// lifo runs background parts and stops them in the reverse order of their start.
// They outlive the context they were started under, so that what is drained after
// a stop still has them.
type lifo struct {
	stops []func() error
}

func (l *lifo) start(ctx context.Context, run func(context.Context) error) {
	l.until(context.WithoutCancel(ctx), run)
}

// until starts a part that ends with its context too.
func (l *lifo) until(ctx context.Context, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error { return run(ctx) })
	l.stops = append(l.stops, func() error { cancel(); return group.Wait() })
}

func (l *lifo) all() error {
	var errs []error
	for _, stop := range slices.Backward(l.stops) {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}
