package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// builders is how many Jobs are worked on at once. One that waits for its template
// is not counted.
const builders = 8

// maker builds Jobs. It knows what every Job depends on, and whether a Job could be
// made at all: what would fail every run is a fault of the agent, and fails none.
type maker struct {
	c Config
	// tenant is the tenant in use, once connected.
	tenant func() string
	busy   chan struct{}
	// again makes watch try at once.
	again chan struct{}

	mu   sync.Mutex
	job  jobspec.Settings
	lack string
	// connected says that the tenant is known.
	connected bool
}

func newMaker(c Config, job jobspec.Settings, tenant func() string) *maker {
	return &maker{
		c: c, job: job, tenant: tenant, busy: make(chan struct{}, builders), again: make(chan struct{}, 1),
		lack: "whether Jobs can be made is not known yet",
	}
}

// change changes what Jobs are made with.
func (m *maker) change(f func(*jobspec.Settings)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.job)
}

// ready says that the tenant is known.
func (m *maker) ready() {
	m.mu.Lock()
	m.connected = true
	m.mu.Unlock()
	m.retry()
}

func (m *maker) retry() {
	select {
	case m.again <- struct{}{}:
	default: // it is about to
	}
}

// settings are what Jobs are made with now. A credential is read for each, since it
// may be renewed at any time.
func (m *maker) settings() (jobspec.Settings, error) {
	m.mu.Lock()
	settings, connected := m.job, m.connected
	m.mu.Unlock()
	if connected {
		settings.TenantID = m.tenant()
	}
	if m.c.Credential == nil {
		return settings, nil
	}
	var err error
	settings.Credential, err = m.c.Credential()
	return settings, err
}

// build makes the Job of an offer. Where no run like it could get one, the error is
// a *dispatch.NotNowError: it is the agent's fault.
func (m *maker) build(ctx context.Context, o Offer) (*batchv1.Job, []jobspec.Warning, error) {
	own, err := m.settings()
	if err != nil {
		return nil, nil, m.lacking(ctx, err)
	}
	made, err := m.try(ctx, own, o.Run.FlowRun, o.Attempt, o.Run.Job)
	if err == nil || ctx.Err() != nil {
		return made.job, made.warnings, err
	}
	if made.unread { // a second try may find it well again, and would blame the run
		return nil, nil, m.lacking(ctx, err)
	}
	if _, busy := errors.AsType[interface {
		error
		Busy() bool
	}](err); busy {
		return nil, nil, &dispatch.NotNowError{Err: err}
	}
	if !made.agents { // the run brings its own template
		own.AgentTemplate, own.AgentTemplatePath = nil, ""
	}
	if _, fault := m.try(ctx, own, plainRun(o.Run.FlowRun), flowrun.Attempt(1), ""); fault != nil && ctx.Err() == nil {
		return nil, nil, m.lacking(ctx, fault)
	}
	if hidden, ok := errors.AsType[interface {
		error
		Detail() string
	}](err); ok && hidden.Detail() != "" {
		m.c.Logger.WarnContext(ctx, "job template not read", slog.String("flow_run_id", string(o.ID)), slog.String("error", hidden.Detail()), slog.String("reason", err.Error()))
	}
	return nil, nil, err
}

// made is a Job with what its author should know, whether the agent's own template
// was needed for it, and whether that could not be read.
type made struct {
	job            *batchv1.Job
	warnings       []jobspec.Warning
	agents, unread bool
}

// try makes a Job. While it waits for a template, another may be worked on.
func (m *maker) try(ctx context.Context, settings jobspec.Settings, run prefect1.FlowRun, attempt, promised string) (out made, err error) {
	select {
	case m.busy <- struct{}{}:
	case <-ctx.Done():
		return made{}, ctx.Err()
	}
	defer func() { <-m.busy }()
	if read := m.c.Template; read != nil {
		settings.Template = func(path string) ([]byte, error) {
			<-m.busy
			text, err := read(ctx, path)
			m.busy <- struct{}{}
			own := path == settings.AgentTemplatePath
			out.agents = out.agents || own
			out.unread = out.unread || err != nil && (own || path == settings.EnvironmentTemplatePath)
			return text, err
		}
	}
	out.job, out.warnings, err = BuildJob(run, settings, attempt, promised)
	return out, err
}

// plainRun is a flow run of the same kind that asks for nothing, of no release: a
// version that cannot be read is a fault of its flow.
func plainRun(like prefect1.FlowRun) prefect1.FlowRun {
	plain := prefect1.FlowRun{
		Snapshot: flowrun.Snapshot{ID: "00000000-0000-4000-8000-000000000000"}, Name: "plain",
		Flow: prefect1.Flow{ID: "plain", Name: "plain", Storage: json.RawMessage(`{"type": "Docker", "registry_url": "localhost", "image_name": "plain", "image_tag": "plain"}`)},
	}
	if absent(like.RunConfig) && !absent(like.Flow.Environment) {
		plain.Flow.Environment = json.RawMessage(`{"type": "LocalEnvironment"}`)
		return plain
	}
	plain.RunConfig = json.RawMessage(`{"type": "KubernetesRun"}`)
	return plain
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// lacking notes that no Job can be made, says so once for each reason, and sees to
// it that it is tried again.
func (m *maker) lacking(ctx context.Context, why error) error {
	text := "no Job can be made, so no flow run is claimed that needs it: " + why.Error()
	m.mu.Lock()
	known := m.lack == text
	m.lack = text
	m.mu.Unlock()
	if !known {
		m.c.Logger.ErrorContext(ctx, "no Job can be made, trying again", slog.Any("error", why))
	}
	m.retry()
	return &dispatch.NotNowError{Err: fmt.Errorf("no Job can be made: %w", why)}
}

// missing is why no Job can be made, empty if it can.
func (m *maker) missing() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lack
}

// found notes that Jobs can be made.
func (m *maker) found(ctx context.Context, tries int) {
	m.mu.Lock()
	m.lack = ""
	m.mu.Unlock()
	if tries > 0 {
		m.c.Logger.InfoContext(ctx, "Jobs can be made again")
	}
}

// mostPause bounds the pauses between tries while no Job can be made.
const mostPause = 10 * time.Second

// watch finds out at the start, and whenever a build says otherwise, whether Jobs
// can be made, and tries until they can.
func (m *maker) watch(ctx context.Context) {
	for tries := 0; ; {
		err := m.plain(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			_ = m.lacking(ctx, err) // said there
			if tries++; !wait(ctx, min(time.Second<<min(tries-1, 4), mostPause), nil) {
				return
			}
			continue
		}
		m.found(ctx, tries)
		tries = 0
		select {
		case <-ctx.Done():
			return
		case <-m.again:
		}
	}
}

// plain makes the Jobs of plain runs of both kinds.
func (m *maker) plain(ctx context.Context) error {
	settings, err := m.settings()
	for _, like := range []prefect1.FlowRun{{}, {Flow: prefect1.Flow{Environment: json.RawMessage(`{}`)}}} {
		if err == nil {
			_, err = m.try(ctx, settings, plainRun(like), flowrun.Attempt(1), "")
		}
	}
	return err
}
