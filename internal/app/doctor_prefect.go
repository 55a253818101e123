package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// places is how many flow runs one answer of the queue has at most.
const places = 25

func lookAtConfiguration(_ context.Context, p *patient) []Finding {
	cfg := p.cfg
	findings := healthy("agent of %s for %s; read: %s; credential: %s",
		cfg.CoreVersion, cfg.Backend, cmp.Or(strings.Join(cfg.Origin.Files, ", "), "no file"), cmp.Or(cfg.Origin.Credential, "none"))
	for _, warning := range append(slices.Clone(cfg.Warnings), cautions(cfg.Agent)...) {
		findings = append(findings, doubtful("correct it, or leave it out", "%s", warning)...)
	}
	for _, e := range exposures(cfg.Agent) {
		findings = append(findings, doubtful(e.mend, "%s", e.what)...)
	}
	return findings
}

func lookAtPrefect(ctx context.Context, p *patient) []Finding {
	err := p.prefect.ConnectReader(ctx)
	if err != nil && !aboutCredential(err) {
		return failing(err, "check --api or PREFECT__CLOUD__API, that the server runs, and the proxies that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name")
	}
	p.refused = err
	return healthy("%s answers", shown(p.cfg.API))
}

// aboutCredential reports whether the API answered, but not to this credential.
func aboutCredential(err error) bool {
	if e, ok := errors.AsType[*prefect1.GraphQLError](err); ok {
		return !e.Temporary()
	}
	if e, ok := errors.AsType[*retryhttp.StatusError](err); ok {
		return e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden
	}
	return errors.Is(err, prefect1.ErrScope) || errors.Is(err, prefect1.ErrTokenAsKey) || errors.Is(err, prefect1.ErrNoTenant)
}

func lookAtCredential(ctx context.Context, p *patient) []Finding {
	const mend = "check the API key or token, and the tenant"
	if p.refused != nil {
		return broken(mend, "%v", p.refused)
	}
	tenants, err := p.prefect.Tenants(ctx)
	if err != nil {
		return failing(err, mend)
	}
	tenant := p.prefect.TenantID()
	if p.cfg.Backend == config.Server && len(tenants) > 0 && !slices.Contains(tenants, tenant) {
		return broken("name one of them with --tenant-id, or none", "the server has no tenant %s; it has %s", tenant, names(tenants, 3))
	}
	given := "none, and none is asked for"
	if p.cfg.Credential.IsSet() {
		given = "accepted"
	}
	if tenant == "" {
		return healthy("%s", given)
	}
	return healthy("%s; tenant %s", given, tenant)
}

func lookAtServer(_ context.Context, p *patient) []Finding {
	schema := p.prefect.Schema()
	server := "a server as inside Prefect 0.11"
	switch {
	case p.cfg.Backend == config.Cloud:
		server = "Prefect Cloud"
	case schema.Tenants:
		server = "a Prefect Server of 2020 or later"
	}
	if !schema.Read {
		server += ", as far as can be told, since it does not show its schema"
	}
	if !schema.Histories {
		return doubtful("let agents of one namespace only take flow runs with these labels",
			"%s; without histories of states, so a run is read before its start and claimed, but of agents in two namespaces both may start it", server)
	}
	guarantee := "a claim is read back after a settling second"
	switch {
	case p.cfg.Backend == config.Cloud:
		guarantee = "it locks versions, so a claim is read back at once"
	case p.cfg.ExclusiveLabels:
		guarantee = "a claim is read back at once, since --exclusive-labels promises that no other namespace takes these labels"
	}
	return healthy("%s; with histories of states: one flow run, one Job; %s", server, guarantee)
}

func lookAtAgentConfig(ctx context.Context, p *patient) []Finding {
	if p.cfg.AgentConfigID == "" || p.cfg.CoreVersion != config.Core1 {
		return healthy("none is in use")
	}
	settings, warning, err := p.prefect.AgentConfig(ctx, p.cfg.AgentConfigID)
	if err != nil && len(p.labels) == 0 {
		return failing(err, "correct it at the backend, or give the agent labels of its own")
	}
	if len(p.labels) == 0 {
		p.labels = settings.Labels
	}
	if warning = errors.Join(warning, err); warning != nil {
		return doubtful("correct it at the backend, or check --agent-config-id", "not applied in full: %v", warning)
	}
	return healthy("%s: %d labels, %d variables", p.cfg.AgentConfigID, len(settings.Labels), len(settings.EnvVars))
}

func lookAtQueue(ctx context.Context, p *patient) []Finding {
	const mend = "check the Prefect API and its log"
	ids, err := p.prefect.RunsInQueue(ctx, time.Now(), p.labels)
	if err != nil {
		return failing(err, mend)
	}
	runs, err := p.prefect.Snapshots(ctx, ids)
	if err != nil {
		return failing(err, mend)
	}
	return judgeQueue(p.labels, ids, runs)
}

// judgeQueue tells runs that can be started from those that only take a place (D-21).
func judgeQueue(labels []string, ids []flowrun.ID, runs map[flowrun.ID]flowrun.Snapshot) []Finding {
	var stuck []string
	for _, id := range ids {
		run, there := runs[id]
		switch {
		case !there: // it has gone meanwhile
		case run.Err != nil:
			stuck = append(stuck, fmt.Sprintf("%s (unreadable)", id))
		case run.State.Type != flowrun.Scheduled && run.State.Type != flowrun.Running:
			stuck = append(stuck, fmt.Sprintf("%s (%s)", id, run.State.Type))
		}
	}
	if len(stuck) == 0 {
		more := ""
		if len(ids) >= places {
			more = ", or more"
		}
		return healthy("due flow runs for the labels %q: %d%s", labels, len(ids), more)
	}
	effect := ""
	if len(stuck) >= places {
		effect = ", all that there are, so that the queue returns no other run"
	}
	return doubtful("cancel them, or set them to Scheduled",
		"%d of the %d places are taken by flow runs that cannot be started%s: %s", len(stuck), places, effect, names(stuck, places))
}
