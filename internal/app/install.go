package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/manifests"
)

// Install writes the objects that run the agent inside a cluster, as YAML and
// nothing else. What the reader has to do besides goes to the log. A
// *config.Error, or several joined, means that an argument cannot be used.
func Install(ctx context.Context, cfg config.Install, out io.Writer, log *slog.Logger) error {
	options, err := installOptions(cfg)
	if err != nil {
		return err
	}
	documents, err := installDocuments(options, cfg.Reference)
	if err := errors.Join(arguments(err, flag), usableInstall(cfg)); err != nil {
		return err
	}
	for _, hint := range append(slices.Clone(cfg.Warnings), hints(options, cfg)...) {
		log.WarnContext(ctx, "installation", slog.String("reason", hint))
	}
	text, err := manifests.YAML(documents)
	if err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

func installDocuments(o manifests.Options, reference string) ([]manifests.Tree, error) {
	if reference != "" {
		o.Version = reference
		return manifests.Reference(o)
	}
	return manifests.Ours(o)
}

// usableInstall checks names that package manifests does not know. The objects of the
// Python agent are printed without a check.
func usableInstall(cfg config.Install) error {
	if cfg.Reference != "" {
		return nil
	}
	return errors.Join(usableTenant("--tenant-id", cfg.CoreVersion, cfg.TenantID), usableKeep(cfg.Keep, manifests.KeepNames()...))
}

// among are the names that are possible, in their order.
func among(names, possible []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(possible, name) })
}

func manifestVars(pairs []config.Pair) []manifests.EnvVar {
	var vars []manifests.EnvVar
	for _, v := range pairs {
		vars = append(vars, manifests.EnvVar{Name: v.Name, Value: v.Value})
	}
	return vars
}

func installOptions(cfg config.Install) (manifests.Options, error) {
	credential, err := cfg.Credential.Reveal()
	if err != nil {
		return manifests.Options{}, err
	}
	api, err := cfg.SecretAPI.Reveal()
	if err != nil {
		return manifests.Options{}, err
	}
	o := manifests.Options{
		Version: cfg.CoreVersion, ImageTag: cfg.Version, Image: cfg.Image,
		Keep: among(cfg.Keep, manifests.KeepNames()), JobKeep: among(cfg.Keep, jobspec.KeepNames()),
		Credential: credential, Token: cfg.Token, TenantID: cfg.TenantID, API: cfg.API, Endpoint: cfg.Endpoint, SecretAPI: api, Backend: cfg.Backend,
		Namespace: cfg.Namespace, ImagePullSecrets: cfg.ImagePullSecrets,
		ResourceManager: cfg.ResourceManager, RBAC: cfg.RBAC, Latest: cfg.Latest,
		MemRequest: cfg.MemRequest, MemLimit: cfg.MemLimit, CPURequest: cfg.CPURequest, CPULimit: cfg.CPULimit,
		ImagePullPolicy: cfg.ImagePullPolicy, ServiceAccountName: cfg.ServiceAccountName,
		Labels: cfg.Labels, EnvVars: manifestVars(cfg.EnvVars), AgentConfigID: cfg.AgentConfigID,
	}
	if name, key, ok := config.SplitSecret(cfg.CredentialSecret); ok {
		o.CredentialFrom = manifests.SecretKey{Secret: name, Key: key}
	}
	return o, nil
}

func flag(argument string) string { return "--" + argument }

// arguments says where an argument stands that package manifests refuses.
func arguments(err error, place func(argument string) string) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range many.Unwrap() {
			all = append(all, arguments(e, place))
		}
		return errors.Join(all...)
	}
	if e, ok := errors.AsType[*manifests.ArgumentError](err); ok {
		return &config.Error{Place: place(e.Argument), Problem: e.Problem, Mend: e.Mend}
	}
	return err
}

// hints say what the agent will still need, or what of the command line is in vain.
func hints(o manifests.Options, cfg config.Install) []string {
	if cfg.Reference != "" {
		return nil
	}
	out := o.Conflicts()
	if from, expected := o.Credentials(); expected && o.Credential == "" {
		out = append(out, fmt.Sprintf("the agent waits for a credential: kubectl create secret generic %s --namespace %s --from-literal=%s=...",
			from.Secret, o.NamespaceOrDefault(), from.Key))
	}
	if jobspec.Loopback(cfg.Endpoint) {
		out = append(out, shown(cfg.Endpoint)+" is the pod itself inside the cluster: name the Prefect API with --api as Pods reach it")
	}
	if o.RBAC && !o.KeepsRights() {
		out = append(out, "flows run with the service account default now, which has no rights here: Python's manifest gave the agent's rights to it. "+
			"For flows that start Dask, Jobs or Pods themselves, give them a service account of their own with --service-account-name, or keep Python's way with --keep account,rules")
	}
	if !o.RBAC {
		out = append(out, "the agent gets the rights of the service account default only: --rbac prints what it needs")
	}
	return out
}
