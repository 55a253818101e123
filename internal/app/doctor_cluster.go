package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/kube"
	"github.com/prefect-kube/prefect-kube/internal/manifests"
	"github.com/prefect-kube/prefect-kube/internal/template"
)

// rivalry is how old the newest Job of a Python agent may be to tell of one that runs.
const rivalry = 10 * time.Minute

func lookForCluster(_ context.Context, p *patient) []Finding {
	found := p.out.cluster
	if found == nil {
		var err error
		if found, err = kube.LoadConfig(p.cfg.Kubeconfig, "prefect-kube"); err != nil {
			return withoutCluster(err)
		}
	}
	found = concealCluster(found, p.out.secrets)
	found.REST.Wrap(func(next http.RoundTripper) http.RoundTripper {
		p.clusterTime.next = next
		return p.clusterTime
	})
	cluster, err := kube.NewClient(found, p.log)
	if err != nil {
		return withoutCluster(err)
	}
	p.cluster = cluster
	findings := healthy("%s", found.Source)
	for _, c := range found.Cautions() {
		findings = append(findings, doubtful(c.Mend, "%s", c.What)...)
	}
	for _, e := range toCluster(found) {
		findings = append(findings, doubtful(e.mend, "%s", e.what)...)
	}
	return findings
}

// withoutCluster is the finding of a configuration that cannot be used.
func withoutCluster(err error) []Finding {
	if e, ok := errors.AsType[*kube.LoginError](err); ok {
		return broken(e.Mend, "%s", e.Problem)
	}
	mend := "in a pod, give it a service account with a mounted token; elsewhere, name a file with a current context by KUBECONFIG or --kubeconfig"
	if e, ok := errors.AsType[*kube.ConfigError](err); ok {
		if e.Found {
			mend = "correct the kubeconfig (kubectl config view --minify shows what is used of it), or name another one by KUBECONFIG or --kubeconfig"
		}
		return broken(mend, "none found: in the cluster: %v; kubeconfig: %v", e.InCluster, e.Kubeconfig)
	}
	return broken(mend, "%v", err)
}

func lookAtAPIServer(ctx context.Context, p *patient) []Finding {
	version, err := p.cluster.Version(ctx)
	switch {
	case apierrors.IsForbidden(err):
		return healthy("%s answers and does not tell its version", p.cluster.Address())
	case err != nil:
		return failing(err, "check that the cluster runs and that its address is right")
	}
	return healthy("%s at %s", version, p.cluster.Address())
}

func lookAtNamespace(ctx context.Context, p *patient) []Finding {
	name := p.cfg.Namespace
	meta, err := p.cluster.Metadata(ctx, "namespaces", "", name)
	switch {
	case apierrors.IsForbidden(err):
		return healthy("%s: not checked, no right to read it", name)
	case apierrors.IsNotFound(err):
		return broken(fmt.Sprintf("create it with kubectl create namespace %s, or name another one with --namespace", name), "%s does not exist", name)
	case err != nil:
		return failing(err, "check that the cluster runs")
	case meta.DeletionTimestamp != nil:
		return broken("wait until it is gone and create it again, or name another one with --namespace", "%s is being deleted", name)
	}
	return healthy("%s exists", name)
}

func lookAtRights(ctx context.Context, p *patient) []Finding {
	missing, err := lacking(ctx, p.cluster, p.cfg.Namespace)
	if err != nil {
		return doubtful("nothing, if flow runs start: what is missing is said by the agent's log when it is met", "not known: %v", err)
	}
	var findings []Finding
	for _, m := range missing {
		f := Finding{
			Verdict: Doubtful, Detail: fmt.Sprintf("%s %s is missing: %s", m.Verb, m.Resource, m.Without),
			Mend: fmt.Sprintf("grant it in namespace %s to this credential, as the Role does that agent kubernetes install --rbac prints", p.cfg.Namespace),
		}
		if stops(m) {
			f.Verdict = Broken
			f.Mend += "; or name another namespace with --namespace"
		}
		findings = append(findings, f)
	}
	all := len(manifests.Permissions(p.cfg.Namespace))
	if len(missing) == 0 {
		return healthy("all %d are there", all)
	}
	return findings
}

func lookAtTemplate(_ context.Context, p *patient) []Finding {
	if p.cfg.JobTemplate == "" {
		return healthy("the built-in one")
	}
	settings, err := jobSettings(p.cfg.Agent)
	if err == nil {
		_, err = settings.Template(p.cfg.JobTemplate)
	}
	if err != nil {
		return broken("check --job-template and what is needed to read it", "%v", err)
	}
	return healthy("%s", template.Shown(p.cfg.JobTemplate))
}

// plainRun is a flow run that asks for nothing, as this release stores it.
func plainRun(core string) jobspec.FlowRun {
	run := jobspec.FlowRun{
		ID: "00000000-0000-4000-8000-000000000000", Name: "doctor", FlowID: "doctor", FlowName: "doctor", CoreVersion: core,
		RunConfig: json.RawMessage(`{"type": "KubernetesRun"}`), Storage: json.RawMessage(`{"type": "Local"}`),
	}
	if core == config.Core0 {
		run.RunConfig, run.Environment = nil, json.RawMessage(`{"type": "LocalEnvironment"}`)
		run.Storage = json.RawMessage(`{"type": "Docker", "registry_url": "localhost", "image_name": "doctor", "image_tag": "doctor"}`)
	}
	return run
}

func lookAtJob(ctx context.Context, p *patient) []Finding {
	settings, err := jobSettings(p.cfg.Agent)
	if err != nil {
		return broken("", "%v", err)
	}
	if settings.Credential != "" {
		settings.Credential = hidden
	}
	const mend = "check the job template, and what --service-account-name, JOB_MEM_REQUEST and their like say"
	job, told, err := jobspec.Job(plainRun(p.cfg.CoreVersion), settings, flowrun.Attempt(1))
	if err != nil {
		return broken(mend, "cannot be built: %v", err)
	}
	var findings []Finding
	for _, w := range told {
		findings = append(findings, doubtful(w.Mend, "%s %s", w.Place, w.Text)...)
	}
	_, warnings, refused := p.cluster.DryRunWarned(ctx, job)
	for _, warning := range warnings {
		findings = append(findings, doubtful(fmt.Sprintf("correct the template; what violates PodSecurity gets no Pod where namespace %s enforces that level", p.cfg.Namespace),
			"the API server warns: %s", warning)...)
	}
	if refused != nil {
		findings = append(findings, failing(refused, cmp.Or(jobspec.RefusalHint(refused.Error(), p.cfg.Keep), mend))...)
	}
	if len(findings) == 0 {
		return healthy("can be built, and the API server would take it")
	}
	return findings
}

func lookAtAccount(ctx context.Context, p *patient) []Finding {
	name := p.cfg.ServiceAccountName
	if name == "" {
		return healthy("none is configured")
	}
	return lookAtObject(ctx, p, "serviceaccounts", name, name+" exists", broken("kubectl create serviceaccount "+name+" --namespace "+p.cfg.Namespace, "%s does not exist, so no Pod can be made", name))
}

func lookAtSecrets(ctx context.Context, p *patient) []Finding {
	var findings []Finding
	for _, name := range p.cfg.ImagePullSecrets {
		findings = append(findings, lookAtObject(ctx, p, "secrets", name, name+" exists",
			doubtful("kubectl create secret docker-registry "+name+" --namespace "+p.cfg.Namespace+" ...", "image pull secret %s does not exist: images that need it cannot be pulled", name))...)
	}
	if name, key, ok := config.SplitSecret(p.cfg.CredentialSecret); ok {
		findings = append(findings, lookAtObject(ctx, p, "secrets", name, fmt.Sprintf("%s exists; not checked whether it has the key %s", name, key),
			broken(fmt.Sprintf("kubectl create secret generic %s --namespace %s --from-literal=%s=...", name, p.cfg.Namespace, key), "%s with the credential does not exist, so no flow run can begin", name))...)
	}
	if len(findings) == 0 {
		return healthy("none is configured")
	}
	return findings
}

// lookAtObject looks whether an object exists. Our own Role does not give the right
// to, so its lack is no trouble.
func lookAtObject(ctx context.Context, p *patient, resource, name, present string, absent []Finding) []Finding {
	_, err := p.cluster.Metadata(ctx, resource, p.cfg.Namespace, name)
	switch {
	case apierrors.IsForbidden(err):
		return healthy("%s: not checked, no right to read it", name)
	case apierrors.IsNotFound(err):
		return absent
	case err != nil:
		return failing(err, "check that the cluster runs")
	}
	return healthy("%s", present)
}

func lookForRivals(ctx context.Context, p *patient) []Finding {
	var newest diagnose.Job
	for _, label := range flowrun.RunLabels() {
		err := p.cluster.EachJob(ctx, p.cfg.Namespace, label, func(j *batchv1.Job) {
			if f := diagnose.JobFacts(j); pythons(f) && f.Created.After(newest.Created) {
				newest = f
			}
		})
		switch {
		case apierrors.IsForbidden(err):
			return healthy("not checked, no right to list jobs")
		case err != nil:
			return failing(err, "check that the cluster runs")
		}
	}
	age := p.cluster.ServerNow().Sub(newest.Created).Round(time.Second)
	switch {
	case newest.Name == "":
		return healthy("no job of a python agent is here")
	case age > rivalry:
		return healthy("the newest job of a python agent, %s, is %v old", newest.Name, age)
	}
	return doubtful("stop it: it yields no claim, and deletes finished jobs of ours", "a python agent seems to run in this namespace: it made job %s %v ago", newest.Name, age)
}

// pythons reports whether a Python agent made a Job. One with another name may be
// one that a flow made itself.
func pythons(f diagnose.Job) bool { return f.Python && flowrun.Prefixed(f.Name) }

// names joins at most so many texts.
func names(texts []string, most int) string {
	if len(texts) <= most {
		return strings.Join(texts, ", ")
	}
	return strings.Join(slices.Concat(texts[:most], []string{fmt.Sprintf("and %d more", len(texts)-most)}), ", ")
}
