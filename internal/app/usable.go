package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/manifests"
	"github.com/prefect-kube/prefect-kube/internal/regular"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
	"github.com/prefect-kube/prefect-kube/internal/status"
	"github.com/prefect-kube/prefect-kube/internal/template"
)

// Usable checks what package config cannot: names that other packages know, and
// files that must be there. What it returns is one *config.Error or several joined.
func Usable(ctx context.Context, cfg config.Agent) error {
	return errors.Join(
		usableKeep(cfg.Keep), usableTenant("--tenant-id, PREFECT__CLOUD__TENANT_ID", cfg.CoreVersion, cfg.TenantID),
		usableSources(cfg), usableTemplate(ctx, cfg.JobTemplate), usableLabels(cfg), usableInCluster(cfg), usableAddress(cfg.AgentAddress),
	)
}

// UsableManager is Usable for the resource manager.
func UsableManager(ctx context.Context, cfg config.ResourceManager) error {
	return Usable(ctx, managerAsAgent(cfg))
}

// UsableInstall is Usable for install.
func UsableInstall(cfg config.Install) error {
	options, err := installOptions(cfg)
	if err != nil {
		return err
	}
	if cfg.Reference == "" {
		err = options.Validate()
	}
	return errors.Join(arguments(err, flag), usableInstall(cfg))
}

func usableAddress(address string) error {
	if _, err := status.ParseAddress(address); err != nil {
		return &config.Error{Place: "--agent-address", Problem: err.Error(), Mend: "write one such as http://:8080"}
	}
	return nil
}

// usableInCluster refuses what install refuses too: no Job could be made with it.
func usableInCluster(cfg config.Agent) error {
	o := manifests.Options{
		Version: cfg.CoreVersion, Namespace: cfg.Namespace, ServiceAccountName: cfg.ServiceAccountName,
		ImagePullPolicy: cfg.ImagePullPolicy, Image: cfg.DefaultJobImage,
		MemRequest: cfg.JobMemRequest, MemLimit: cfg.JobMemLimit, CPURequest: cfg.JobCPURequest, CPULimit: cfg.JobCPULimit,
		EnvVars: manifestVars(cfg.EnvVars),
	}
	return arguments(o.Validate(), func(argument string) string {
		return map[string]string{
			"namespace":            "--namespace, NAMESPACE",
			"service-account-name": "--service-account-name, SERVICE_ACCOUNT_NAME",
			"image-pull-policy":    "IMAGE_PULL_POLICY",
			"image":                "--default-job-image, PREFECT_KUBE_DEFAULT_JOB_IMAGE",
			"mem-request":          "JOB_MEM_REQUEST",
			"mem-limit":            "JOB_MEM_LIMIT",
			"cpu-request":          "JOB_CPU_REQUEST",
			"cpu-limit":            "JOB_CPU_LIMIT",
			"env":                  "--env, PREFECT__CLOUD__AGENT__ENV_VARS",
		}[argument]
	})
}

// usableLabels refuses an empty label of the command line: it is a variable that is
// not set. Elsewhere it is taken as the Python agent takes it.
func usableLabels(cfg config.Agent) error {
	if !cfg.LabelsByFlag || !slices.Contains(cfg.Labels, "") {
		return nil
	}
	return &config.Error{Place: "--label", Problem: "a label is empty", Mend: "leave it out, or name one"}
}

// usableKeep checks names of behaviours: those of Jobs, and more where a command has more.
func usableKeep(names []string, more ...string) error {
	possible := append(jobspec.KeepNames(), more...)
	var problems []error
	for _, name := range names {
		if !slices.Contains(possible, name) {
			problems = append(problems, unknownKeep(name, possible))
		}
	}
	return errors.Join(problems...)
}

func unknownKeep(name string, possible []string) error {
	for _, change := range jobspec.Changes() {
		if change.Name == name {
			return &config.Error{Place: "--keep", Problem: fmt.Sprintf("%q cannot be kept, since that a run starts exactly once rests on the difference", name), Mend: "leave it out"}
		}
	}
	e := &config.Error{Place: "--keep", Problem: "names no behaviour of the Python agent that can be kept", Mend: "use " + strings.Join(possible, ", ")}
	if best := config.Nearest(name, possible); best != "" {
		e.Problem, e.Mend = fmt.Sprintf("%q is no behaviour of the Python agent that can be kept", name), "did you mean "+best+"?"
	}
	return e
}

// usableTenant refuses what the client of 1.4.1 refuses (client/client.py).
func usableTenant(place, core, tenant string) error {
	if core == config.Core0 || tenant == "" {
		return nil
	}
	if _, err := uuid.Parse(tenant); err != nil {
		return &config.Error{Place: place, Problem: "is not the id of a tenant", Mend: "write the UUID that is shown in Prefect Cloud"}
	}
	return nil
}

// usableSources checks what templates may be read from.
func usableSources(cfg config.Agent) error {
	_, err := sources(cfg)
	return err
}

func sources(cfg config.Agent) (template.Sources, error) {
	if len(cfg.TemplateSources) == 0 {
		return template.Sources{}, nil
	}
	found, err := template.ParseSources(cfg.TemplateSources)
	if err != nil {
		return found, &config.Error{Place: "--template-sources", Problem: strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	return found, nil
}

// templates reads job templates: the agent's own, and those of flow runs where the
// operator allows it.
func templates(cfg config.Agent) (*template.Loader, error) {
	allowed, errSources := sources(cfg)
	roots, err := authorities(cfg.CABundle)
	if err = errors.Join(errSources, err); err != nil {
		return nil, err
	}
	return template.New(template.Options{Roots: roots, Sources: allowed, Own: cfg.JobTemplate, Proxy: cfg.Proxies.Func()}), nil
}

// usableTemplate reads a template of this machine; one elsewhere may come back
// before the first run needs it.
func usableTemplate(ctx context.Context, path string) error {
	if path == "" || template.Remote(path) {
		return nil
	}
	loader := template.New(template.Options{Own: path})
	defer loader.Close()
	if _, err := loader.Read(ctx, path); err != nil && ctx.Err() == nil {
		e := &config.Error{Place: "--job-template", Problem: err.Error(), Mend: "name a file with a Job in YAML or JSON, or the address of one"}
		if !strings.ContainsAny(path, "./") { // it may be a credential in the wrong place
			e.Problem = "names no file that can be read"
		}
		return e
	}
	return nil
}

// network sends requests to the Prefect API: through the proxies that HTTPS_PROXY,
// HTTP_PROXY, ALL_PROXY and NO_PROXY name, and trusting whom the configuration says.
func network(cfg config.Agent) (*http.Transport, error) {
	base := retryhttp.NewBase()
	roots, err := authorities(cfg.CABundle)
	base.TLSClientConfig.RootCAs, base.Proxy = roots, cfg.Proxies.Func()
	return base, err
}

// maxBundle bounds what is read of certificate authorities, in bytes. Mozilla's
// whole list is 220 KiB.
const maxBundle = 8 << 20

// authorities reads the certificate authorities that stand in for the system's,
// as requests does for Python: from a file, or from the files of a directory. Without
// a bundle they are nil.
func authorities(bundle config.File) (*x509.CertPool, error) {
	if bundle.Path == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	files, err := bundleFiles(bundle.Path)
	found := false
	for _, name := range files {
		var text []byte
		if text, err = regular.Read(name, maxBundle); err != nil {
			break
		}
		found = pool.AppendCertsFromPEM(text) || found
	}
	switch {
	case err != nil:
		return nil, &config.Error{Place: bundle.Place, Problem: err.Error(), Mend: "name a file or a folder with certificates in PEM form"}
	case !found:
		return nil, &config.Error{Place: bundle.Place, Problem: fmt.Sprintf("no certificate in %q", bundle.Path), Mend: "name a file of certificates in PEM form"}
	}
	return pool, nil
}

func bundleFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		name := filepath.Join(path, entry.Name())
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() { // a link counts as what it points to
			files = append(files, name)
		}
	}
	return files, nil
}
