// Package config resolves the settings of each command: built-in default, then
// Prefect's TOML files, then environment variables, then flags; the later wins.
// It knows where every setting may stand and which values are possible. It
// refuses to know what a setting does, and it reads neither the environment of
// the process nor its home directory: both are parameters.
package config

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// Core0 and Core1 are the releases of Prefect whose agent is emulated: Core0 by
// "agent start kubernetes", Core1 by "agent kubernetes start".
const (
	Core0 = "0.11.0"
	Core1 = "1.4.1"
)

// The backends that Prefect knows.
const (
	Cloud  = "cloud"
	Server = "server"
)

// Sources are where settings come from.
type Sources struct {
	// Env holds the variables as NAME=value, as os.Environ gives them.
	Env []string
	// HomeDir is what a leading ~ stands for; the default files are below it.
	HomeDir string
	// Flags holds the values of the flags that were given, by name without
	// dashes, in the order of the command line. A switch has true or false.
	Flags map[string][]string
}

// Common is what every command has.
type Common struct {
	// LogLevel is the least level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL.
	LogLevel string
	// Warnings say what was found odd on the way but stops nothing.
	Warnings []string
	// Concealed are secrets besides the credential: what the addresses of APIs and
	// proxies hold, in each form in which it may come back.
	Concealed []secret.Value
	// Proxies are those of the environment, for the Prefect API and job templates.
	Proxies Proxies
}

// Secrets are what no text may show.
func (c Common) Secrets() []secret.Value { return c.Concealed }

// SlogLevel is LogLevel for log/slog. CRITICAL is above everything we log.
func (c Common) SlogLevel() slog.Level {
	return map[string]slog.Level{
		"DEBUG": slog.LevelDebug, "WARNING": slog.LevelWarn, "ERROR": slog.LevelError, "CRITICAL": slog.LevelError + 4,
	}[c.LogLevel]
}

// Pair is an environment variable of a flow run's Job.
type Pair struct {
	Name, Value string
}

// Agent is the configuration of the agent of Prefect 0.x and 1.x.
type Agent struct {
	Common
	// CoreVersion is Core0 or Core1, by the form of the command.
	CoreVersion string
	// Backend is Cloud or Server.
	Backend string
	// API is the address of the Prefect API, without the suffix of the GraphQL path, a
	// user name and a password.
	API string
	// GraphQL is where requests go; empty means where this release finds it below API.
	GraphQL string
	// BasicUser is "name:password" for Basic authorization at the Prefect API, from its
	// address. It is unset where the credential is to be sent.
	BasicUser secret.Value
	// CABundle holds the certificate authorities that vouch for the Prefect API; empty
	// means those of the system.
	CABundle File
	// Credential is the agent's auth token for Core0, the API key for Core1.
	Credential secret.Value
	// CredentialByFlag is set when the credential comes from the command line.
	CredentialByFlag bool
	// Token is set when Credential is an API token of 0.x that Core1 was given, as the
	// command line of 0.13 to 0.15 takes it. It belongs to one tenant.
	Token bool
	// TenantID is the configured tenant; empty means the default one.
	TenantID string
	// Name is the name of the agent.
	Name string
	// Labels are those the agent takes runs for. Core1 sorts what flags give and
	// drops repetitions, Core0 keeps it; both keep what a file or variable gives.
	Labels []string
	// LabelsByFlag is set when the labels come from the command line.
	LabelsByFlag bool
	// EnvVars are set in each Job, in this order. No name occurs twice.
	EnvVars []Pair
	// MaxPolls is the number of polls after which the agent stops; negative means no limit.
	MaxPolls int
	// AgentAddress is where the HTTP server listens, as a URL; empty means nowhere.
	AgentAddress string
	// SendLogs is unset when flow runs shall not log to the Prefect API.
	SendLogs bool
	// Namespace is where Jobs are created.
	Namespace string
	// JobTemplate is the path or URL of the job template; empty means the built-in one.
	JobTemplate string
	// TemplateSources say where flow runs may let the agent read job templates; none
	// means the default. Which there are is not checked here.
	TemplateSources []string
	// YAMLTemplate is the path of the job spec for flows with an environment, in the
	// place of the built-in one; empty means that one. The agents of 0.13 to 0.15 have it.
	YAMLTemplate string
	// ServiceAccountName, ImagePullSecrets and ImagePullPolicy are the defaults of
	// Jobs that say nothing themselves.
	ServiceAccountName string
	ImagePullSecrets   []string
	ImagePullPolicy    string
	// JobMemRequest and the three after it are Kubernetes quantities, as given.
	JobMemRequest, JobMemLimit, JobCPURequest, JobCPULimit string
	// Volumes and VolumeMounts are JSON of Kubernetes' types for every Job. Only the
	// Go API sets them, as only the constructor of the reference did.
	Volumes, VolumeMounts []map[string]any
	// DeleteFinishedJobs is unset when finished Jobs shall stay.
	DeleteFinishedJobs bool
	// AgentConfigID links the agent to a configuration at the backend.
	AgentConfigID string
	// FlowLogLevel is the log level of the flow runs, as given.
	FlowLogLevel string
	// Defaulted are those of API and FlowLogLevel that nobody set.
	Defaulted struct{ API, FlowLogLevel bool }
	// RequestTimeout is how long the Prefect API may be silent.
	RequestTimeout time.Duration

	// DefaultJobImage is the image of runs that name none; empty means prefecthq/prefect of the run's version.
	DefaultJobImage string
	// MaxPollInterval is the longest pause between two polls that find nothing.
	MaxPollInterval time.Duration
	// ExclusiveLabels promises that no other place takes runs with these labels.
	ExclusiveLabels bool
	// Grace is how long a Job may be stuck before its flow run fails.
	Grace time.Duration
	// CredentialSecret is NAME/KEY of the Secret that Jobs refer to; empty means that they hold the credential.
	CredentialSecret string
	// APISecret is NAME/KEY of the Secret with the address of the API that Jobs refer to;
	// empty means that they hold API.
	APISecret string
	// Kubeconfig is the file, or the list of files, with the cluster to use when not inside one.
	Kubeconfig string
	// Keep names behaviours of the Python agent that are kept. Which names there are is not checked here.
	Keep []string
}

// File is a file that a setting names.
type File struct {
	// Path is where it lies, Place where the setting stands.
	Path, Place string
}

// Dev is the configuration of the development backend.
type Dev struct {
	Common
	// Listen is host:port.
	Listen string
	// AllowHosts are names and addresses that requests may be made to, besides those
	// of this machine and the host of Listen.
	AllowHosts []string
	// DB is the file of the database; empty means a temporary one.
	DB string
	// Generation is the Prefect Server that is imitated: 0.11 or 1.x.
	Generation string
}

// ResolveAgent resolves and validates the agent's settings for the given form of
// the command, Core0 or Core1. Every error in the result is an *Error; several
// are joined, one a line.
func ResolveAgent(core string, src Sources) (Agent, error) {
	agent, _, err := resolveAgent(core, src)
	return agent, err
}

func resolveAgent(core string, src Sources) (Agent, Origin, error) {
	draft, err := resolve(agentFields(core), src, neverRead(core)...)
	if draft == nil {
		return Agent{}, Origin{}, err
	}
	agent, errFinish := draft.finish(core)
	if err = errors.Join(err, errFinish, agent.Validate()); draft.sources.unread {
		return Agent{}, Origin{}, err // what is missing may stand in that file
	}
	return agent, draft.origin, err
}

// Secrets are all texts of the configuration that must not be shown.
func (a Agent) Secrets() []secret.Value { return append(slices.Clone(a.Concealed), a.Credential) }

// ResolveDev resolves and validates the settings of the development backend.
func ResolveDev(src Sources) (Dev, error) {
	draft, err := resolve(devFields(), src)
	if draft == nil {
		return Dev{}, err
	}
	draft.LogLevel = levelName(draft.LogLevel)
	draft.AllowHosts = lower(splitNames(draft.AllowHosts))
	return draft.Dev, errors.Join(err, draft.Validate())
}

// resolve fills a draft from the table of its fields. What cannot be used is an error
// beside a draft that has the default for it, so that all faults can be told at once.
// What lenient variables hold may be of no use: then they are left out, with a warning.
func resolve[T any](fields []field[T], src Sources, lenient ...string) (*T, error) {
	merged, err := load(settingsOf(fields), src)
	if merged == nil {
		return nil, err
	}
	draft := new(T)
	problems := []error{err}
	for _, f := range fields {
		if f.at == nil {
			continue
		}
		err := merged.assign(f.Setting, f.at(draft))
		if err != nil && slices.ContainsFunc(f.Env, func(name string) bool { return slices.Contains(lenient, name) }) {
			merged.warnings, err = append(merged.warnings, err.Error()+"; it is left out, as the Python agents with this command do"), nil
		}
		problems = append(problems, err)
	}
	if f, ok := any(draft).(interface{ take(*stack) }); ok {
		f.take(merged)
	}
	return draft, errors.Join(problems...)
}
