// Package prefectkube is the KubernetesAgent of Prefect 0.x and 1.x for Go
// programs: the class of Prefect's reference page, argument for argument, and
// what its later versions added. It decides nothing itself: everything is done by
// the code behind the command prefect-kube.
//
// What is not set in [Options] comes from where the command takes it: Prefect's
// TOML files and PREFECT__ variables.
package prefectkube

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

// UnsupportedStorageError is returned for flows whose storage names no image
// while no other image is known; the reference raises a ValueError.
type UnsupportedStorageError = app.UnsupportedStorageError

// ArgumentError is one argument that cannot be used, with its place and the mend.
type ArgumentError = app.ConfigError

// TakenError means that another Job has the name of the one to create.
type TakenError = app.TakenError

// EnvVar is one environment variable.
type EnvVar struct {
	Name, Value string
}

// Options are the arguments of [New]. The first seven are those of the
// constructor of 0.11.0, in its order; the others came later.
type Options struct {
	// Namespace to create Jobs in. Default: the variable NAMESPACE, else "default".
	Namespace string
	// Name of the agent. Default: PREFECT__CLOUD__AGENT__NAME, else "agent".
	Name string
	// Labels that the agent takes flow runs for. Default: those configured, else none.
	Labels []string
	// EnvVars are set on each flow run's Job, in this order; the last of a name wins.
	// Default: those configured, else none.
	EnvVars []EnvVar
	// MaxPolls is the number of polls after which Start returns; 0 polls never.
	// Default (nil): no limit.
	MaxPolls *int
	// AgentAddress to serve health checks at, such as "http://:8080". Default:
	// PREFECT__CLOUD__AGENT__AGENT_ADDRESS, else nowhere.
	AgentAddress string
	// NoCloudLogs switches off logs to the Prefect API, for the agent and for all
	// its flow runs. Default: false.
	NoCloudLogs bool

	// API is the address of the Prefect API. Default: that of the configured backend.
	API string
	// Key is the API key of Prefect Cloud. Default: the one configured.
	Key string
	// TenantID to connect to. Default: that of the key, or the server's first.
	TenantID string
	// AgentConfigID links the agent to a configuration at the backend. Default: none.
	AgentConfigID string
	// JobTemplatePath is the path or URL of a job template. Default: the built-in one.
	JobTemplatePath string
	// ServiceAccountName of Jobs that name none. Default: SERVICE_ACCOUNT_NAME, else the namespace's.
	ServiceAccountName string
	// ImagePullSecrets of Jobs that name none. Default: IMAGE_PULL_SECRETS, else none.
	ImagePullSecrets []string
	// Volumes and VolumeMounts are added to every Job that has none of that name and
	// path. Default: none.
	Volumes      []corev1.Volume
	VolumeMounts []corev1.VolumeMount
	// KeepFinishedJobs leaves finished Jobs in the cluster. Default: DELETE_FINISHED_JOBS.
	KeepFinishedJobs bool
	// Kubeconfig of the cluster to use when not inside one. Default: KUBECONFIG, else ~/.kube/config.
	Kubeconfig string

	// Logger gets the agent's own log. Default: slog.Default.
	Logger *slog.Logger
}

// flags says on a command line what the options say.
func (o Options) flags() map[string][]string {
	flags := map[string][]string{"label": o.Labels}
	for name, value := range map[string]string{
		"namespace": o.Namespace, "name": o.Name, "agent-address": o.AgentAddress, "api": o.API, "key": o.Key,
		"tenant-id": o.TenantID, "agent-config-id": o.AgentConfigID, "job-template": o.JobTemplatePath,
		"service-account-name": o.ServiceAccountName, "image-pull-secrets": strings.Join(o.ImagePullSecrets, ","), "kubeconfig": o.Kubeconfig,
	} {
		flags[name] = texts(value)
	}
	for _, v := range o.EnvVars {
		flags["env"] = append(flags["env"], v.Name+"="+v.Value)
	}
	for name, given := range map[string]bool{"no-cloud-logs": o.NoCloudLogs, "disable-job-deletion": o.KeepFinishedJobs} {
		flags[name] = switched(given)
	}
	if o.MaxPolls != nil {
		flags["max-polls"] = []string{strconv.Itoa(*o.MaxPolls)}
	}
	return given(flags)
}

// KubernetesAgent deploys flow runs as Kubernetes Jobs.
type KubernetesAgent struct {
	cfg config.Agent
	log *slog.Logger
}

// New checks the options. It opens no connection. The error is an
// [*ArgumentError], or several joined.
func New(o Options) (*KubernetesAgent, error) {
	cfg, err := config.ResolveAgent(config.Core1, sources(o.flags()))
	if err != nil {
		return nil, err
	}
	cfg.CredentialByFlag = false // the options of a program are no arguments of a process
	if cfg.Volumes, err = trees(o.Volumes); err != nil {
		return nil, err
	}
	if cfg.VolumeMounts, err = trees(o.VolumeMounts); err != nil {
		return nil, err
	}
	return &KubernetesAgent{cfg: cfg, log: cmp.Or(o.Logger, slog.Default())}, nil
}

// Start registers the agent, polls for flow runs and starts them until ctx ends or
// the last poll is done, and then finishes what is under way. It returns nil after
// a clean stop. An API or a cluster that is away is waited for.
func (a *KubernetesAgent) Start(ctx context.Context) error {
	if err := a.cfg.CheckCredential(); err != nil {
		return err
	}
	return app.StartAgent(ctx, a.cfg, a.log)
}

// DeployFlow creates the Job of one flow run, without a look at its state, and
// returns "Job" and the Job's name. flowRun is the flow run in JSON as the Prefect
// API answers it, with its flow. A flow whose storage names no image is an
// [*UnsupportedStorageError] unless another image is known.
func (a *KubernetesAgent) DeployFlow(ctx context.Context, flowRun json.RawMessage) (string, error) {
	return app.DeployFlow(ctx, a.cfg, flowRun, a.log)
}

// ReplaceJobSpecYAML returns the Job that DeployFlow would create, as the object
// that its YAML holds.
func (a *KubernetesAgent) ReplaceJobSpecYAML(ctx context.Context, flowRun json.RawMessage) (map[string]any, error) {
	return app.JobSpec(ctx, config.Render{Agent: a.cfg}, flowRun, a.log)
}

// InstallOptions are the arguments of [GenerateDeploymentYAML]: those of 0.11.0
// in their order, then those of later versions.
type InstallOptions struct {
	// Token is a RUNNER token of Prefect Cloud to give the agent. Default: none. Not with Key.
	Token string
	// API is the address of the Prefect API. Default: that of the backend.
	API string
	// Namespace of the agent and its Jobs. Default: "default".
	Namespace string
	// ImagePullSecrets are names, separated by commas, for agent and Jobs. Default: none.
	ImagePullSecrets string
	// ResourceManagerEnabled adds the resource manager as a second container. Default: false.
	ResourceManagerEnabled bool
	// RBAC adds service account, Role and RoleBinding. Default: false.
	RBAC bool
	// Latest uses the latest image. Default: false.
	Latest bool
	// MemRequest and the three after it are quantities for Jobs that say nothing. Default: none.
	MemRequest, MemLimit, CPURequest, CPULimit string
	// Labels of the agent. Default: none.
	Labels []string
	// EnvVars for each Job. Default: none.
	EnvVars []EnvVar
	// Backend is "cloud" or "server". Default: the configured one.
	Backend string

	// Key is an API key of Prefect Cloud to give the agent. Default: none.
	Key string
	// TenantID of the key. Default: the key's own.
	TenantID string
	// ImagePullPolicy and ServiceAccountName are for Jobs that say nothing. Default: none.
	ImagePullPolicy, ServiceAccountName string
	// AgentConfigID links the agent to a configuration at the backend. Default: none.
	AgentConfigID string
	// Reference prints the objects of that version of Prefect: "0.11.0", "1.2.4" or
	// "1.4.1". Default: ours.
	Reference string
	// Image of the agent. Default: ours, of Version.
	Image string
	// Version of ours. Default: "latest".
	Version string

	// Logger gets what has to be done besides. Default: slog.Default.
	Logger *slog.Logger
}

// core is the command form whose flags hold what is set: the token and the
// resource manager are of 0.11.0.
func (o InstallOptions) core() string {
	if o.Token != "" || o.ResourceManagerEnabled {
		return config.Core0
	}
	return config.Core1
}

func (o InstallOptions) flags() map[string][]string {
	flags := map[string][]string{"label": o.Labels}
	for name, value := range map[string]string{
		"token": o.Token, "api": o.API, "namespace": o.Namespace, "image-pull-secrets": o.ImagePullSecrets,
		"mem-request": o.MemRequest, "mem-limit": o.MemLimit, "cpu-request": o.CPURequest, "cpu-limit": o.CPULimit,
		"backend": o.Backend, "key": o.Key, "tenant-id": o.TenantID, "image-pull-policy": o.ImagePullPolicy,
		"service-account-name": o.ServiceAccountName, "agent-config-id": o.AgentConfigID, "reference": o.Reference, "image": o.Image,
	} {
		flags[name] = texts(value)
	}
	for _, v := range o.EnvVars {
		flags["env"] = append(flags["env"], v.Name+"="+v.Value)
	}
	for name, given := range map[string]bool{"resource-manager": o.ResourceManagerEnabled, "rbac": o.RBAC, "latest": o.Latest} {
		flags[name] = switched(given)
	}
	return given(flags)
}

// GenerateDeploymentYAML returns the YAML of everything that runs the agent inside
// a cluster. The error is an [*ArgumentError], or several joined.
func GenerateDeploymentYAML(o InstallOptions) (string, error) {
	cfg, err := config.ResolveInstall(o.core(), sources(o.flags()))
	if err != nil {
		return "", err
	}
	cfg.Version = cmp.Or(o.Version, "latest")
	var text bytes.Buffer
	err = app.Install(context.Background(), cfg, &text, cmp.Or(o.Logger, slog.Default()))
	return text.String(), err
}

func sources(flags map[string][]string) config.Sources {
	home, _ := os.UserHomeDir() // without one there are no files to read
	return config.Sources{Env: os.Environ(), HomeDir: home, Flags: flags}
}

// trees are Kubernetes' types as the JSON that a Job is made of.
func trees[T any](values []T) ([]map[string]any, error) {
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	var out []map[string]any
	return out, json.Unmarshal(text, &out)
}

func texts(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

func switched(on bool) []string {
	if !on {
		return nil
	}
	return []string{"true"}
}

// given leaves out what was not set.
func given(flags map[string][]string) map[string][]string {
	for name, values := range flags {
		if len(values) == 0 {
			delete(flags, name)
		}
	}
	return flags
}
