package config

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// Install is the configuration of install: the arguments of the reference's
// generate_deployment_yaml as the command line gives them, and ours after them.
// What was not given is empty. As in the reference, nothing but the backend and its
// endpoint comes from files or variables: what stands there belongs to this
// machine, not to the agent inside the cluster.
type Install struct {
	Common
	// CoreVersion is Core0 or Core1, by the form of the command.
	CoreVersion string
	// Version is that of the program; the caller of ResolveInstall sets it.
	Version string
	// Credential is the token for Core0, the API key for Core1.
	Credential secret.Value
	// Token is set when Credential is a token of 0.x that Core1 was given.
	Token bool
	// TenantID is the tenant of the key.
	TenantID string
	// API is the address that was given. Endpoint is the same, or else the one that
	// is configured for the backend. Both are without a user name and a password.
	API, Endpoint string
	// SecretAPI is the address as it was given where it holds a password or a token.
	SecretAPI secret.Value
	// Namespace is where agent and Jobs run; empty means default.
	Namespace string
	// ImagePullSecrets is one name, or several separated by commas.
	ImagePullSecrets string
	// ResourceManager, RBAC and Latest are switches of the reference.
	ResourceManager, RBAC, Latest bool
	// MemRequest and the three after it are Kubernetes quantities, as given.
	MemRequest, MemLimit, CPURequest, CPULimit string
	// ImagePullPolicy and ServiceAccountName are the defaults of Jobs.
	ImagePullPolicy, ServiceAccountName string
	// Labels are sorted without repetition for Core1, as given for Core0.
	Labels []string
	// EnvVars are set in each Job, in this order. No name occurs twice.
	EnvVars []Pair
	// Backend is Cloud or Server.
	Backend string
	// AgentConfigID links the agent to a configuration at the backend.
	AgentConfigID string

	// Reference is the release whose objects are printed; empty means ours.
	Reference string
	// Image is the image of the agent; empty means ours of this version.
	Image string
	// CredentialSecret is NAME/KEY of the Secret with the credential; empty means our own.
	CredentialSecret string
	// Keep names behaviours of the reference that are kept, in the objects and in Jobs.
	Keep []string
}

// installDraft is an Install while it is filled.
type installDraft struct {
	Install
	// token is what --token says.
	token secret.Value
	// apiGiven is set when Endpoint is what the command line says.
	apiGiven bool
	// pullSecrets are the image pull secrets in whatever spelling.
	pullSecrets []string
}

func (d *installDraft) take(s *stack) {
	d.Warnings = append(slices.Clone(s.warnings), s.recentNames([]string{hidden, "env"}, d.EnvVars)...)
	d.apiGiven = s.rank([]string{hidden, "api"}) == rankFlags
	d.pullSecrets, _ = parseList(d.ImagePullSecrets)
}

// ResolveInstall resolves and validates the settings of install for the given
// form of the command, Core0 or Core1. Every error in the result is an *Error;
// several are joined, one a line. What Kubernetes thinks of names and quantities
// is not checked here.
func ResolveInstall(core string, src Sources) (Install, error) {
	draft, err := resolve(installFields(core), src)
	if draft == nil {
		return Install{}, err
	}
	i := draft.Install
	i.CoreVersion, i.LogLevel = core, "INFO"
	i.Keep = lower(splitNames(i.Keep))
	errCredential := draft.credential(&i)
	draft.address(&i)
	if i.Reference == "" {
		i.ImagePullSecrets = strings.Join(pullSecrets(draft.pullSecrets), ",")
		for _, q := range []*string{&i.MemRequest, &i.MemLimit, &i.CPURequest, &i.CPULimit} {
			*q = quantity(*q)
		}
	}
	if core == Core1 {
		// cli/agent.py of 1.4.1 makes a sorted set of them.
		slices.Sort(i.Labels)
		i.Labels = slices.Compact(i.Labels)
	}
	return i, faults(err, errCredential, unknownFlags(InstallSettings(core), src, "an API key belongs to agent kubernetes install"), i.Validate())
}

// credential takes a token or a key.
func (d *installDraft) credential(i *Install) error {
	switch {
	case !d.token.IsSet():
		return nil
	case i.Credential.IsSet():
		return &Error{Place: "--key, --token", Problem: "both are given", Mend: "give the API key of 1.x or the token of 0.x"}
	default:
		i.Credential, i.Token = d.token, i.CoreVersion == Core1
		return nil
	}
}

// address takes out of the address what belongs into a Secret. The objects of the
// Python agent have it as it was given.
func (d *installDraft) address(i *Install) {
	given := splitAddress(i.Endpoint)
	i.Concealed = given.secrets
	if i.Reference == "" && len(given.secrets) > 0 {
		i.SecretAPI, i.Endpoint = secret.New(i.Endpoint), given.text
	}
	if d.apiGiven {
		i.API = i.Endpoint
	}
}

// Secrets are all texts of the configuration that must not be shown.
func (i Install) Secrets() []secret.Value {
	return append(slices.Clone(i.Concealed), i.Credential, i.SecretAPI)
}

// Validate checks the backend and the address. Every error in the result is an *Error.
func (i Install) Validate() error {
	return errors.Join(
		placed("--backend, PREFECT__BACKEND", "use cloud or server", Agent{Backend: i.Backend}.validateBackend()),
		placed("--api", "write one such as http://apollo.prefect:4200, as the cluster sees it", validateAPI(i.Endpoint, i.Backend)),
		placed("--credential-secret", "write NAME/KEY", validateSecretKey(i.CredentialSecret)),
		i.validateKeep(),
	)
}

func (i Install) validateKeep() error {
	if i.Reference == "" || len(i.Keep) == 0 {
		return nil
	}
	return &Error{Place: "--keep", Problem: "--reference prints the objects of the Python agent, which keeps everything", Mend: "leave one of them out"}
}

// placed says about an error of another command where the setting stands in this one.
func placed(place, mend string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{Place: place, Problem: e.Problem, Mend: mend}
	}
	return err
}

// InstallSettings lists the settings of install in the given form of the
// command, Core0 or Core1.
func InstallSettings(core string) []Setting { return settingsOf(installFields(core)) }

func installFields(core string) []field[installDraft] {
	all := slices.Concat(installConnection(), installAgent(), installJobs(), installOurs())
	return slices.DeleteFunc(all, func(f field[installDraft]) bool { return f.Core != "" && f.Core != core })
}

// given is a setting that only the command line has.
func given(kind Kind, help string, flag Flag) Setting {
	s := Setting{Flags: []Flag{flag}, Kind: kind, Help: help}
	if kind == Bool {
		s.Default = "false"
	}
	return s
}

func withDefault(text string, s Setting) Setting {
	s.Default = text
	return s
}

func among(values []string, s Setting) Setting {
	s.Values = values
	return s
}

// only makes a setting one of a single form.
func only(core string, s Setting) Setting {
	s.Core = core
	return s
}

func installConnection() []field[installDraft] {
	token := given(Secret, "Prefect Cloud API token with RUNNER scope, of Prefect 0.x.", Flag{Name: "token", Short: "t"})
	key := given(Secret, "Prefect Cloud API key.", Flag{Name: "key", Short: "k"})
	tenant := given(Text, "Tenant to connect to; the default is that of the API key.", Flag{Name: "tenant-id"})
	return []field[installDraft]{
		{token, func(d *installDraft) any { return &d.token }},
		{only(Core1, key), func(d *installDraft) any { return &d.Credential }},
		{only(Core1, tenant), func(d *installDraft) any { return &d.TenantID }},
		{Setting{
			Key: "backend", Kind: Text, Values: []string{Cloud, Server}, Default: Cloud, Flags: []Flag{{Name: "backend", Short: "b"}},
			Help: "Kind of Prefect API: cloud or server.",
		}, func(d *installDraft) any { return &d.Backend }},
		{
			withDefault("${${backend}.endpoint}", given(Text, "Address of the Prefect API as seen from the cluster; the default is that of the backend.", Flag{Name: "api", Short: "a"})),
			func(d *installDraft) any { return &d.Endpoint },
		},
		{Setting{Key: "cloud.endpoint", Kind: Text, Default: "https://api.prefect.io", Help: "Address of Prefect Cloud."}, nil},
		{Setting{Key: "server.host", Kind: Text, Default: "http://localhost", Help: "Scheme and host of Prefect Server."}, nil},
		{Setting{Key: "server.port", Kind: Text, Default: "4200", Help: "Port of Prefect Server."}, nil},
		{Setting{Key: "server.endpoint", Kind: Text, Default: "${server.host}:${server.port}", Help: "Address of Prefect Server."}, nil},
	}
}

func installAgent() []field[installDraft] {
	return []field[installDraft]{
		{
			given(Text, "Namespace of the agent and its Jobs; the default is default.", Flag{Name: "namespace", Short: "n"}),
			func(d *installDraft) any { return &d.Namespace },
		},
		{
			given(List, "Label that the agent takes flow runs for; may be repeated.", Flag{Name: "label", Short: "l", Repeated: true}),
			func(d *installDraft) any { return &d.Labels },
		},
		{
			given(Pairs, "Environment variable NAME=value for each flow run; may be repeated.", Flag{Name: "env", Short: "e", Repeated: true}),
			func(d *installDraft) any { return &d.EnvVars },
		},
		{
			given(Text, "Id of a configuration at the backend that the agent is linked to.", Flag{Name: "agent-config-id"}),
			func(d *installDraft) any { return &d.AgentConfigID },
		},
		{
			given(Bool, "Print what the agent needs to be allowed to work: service account, Role and RoleBinding.", Flag{Name: "rbac", Means: "true"}),
			func(d *installDraft) any { return &d.RBAC },
		},
		{
			given(Bool, "Run the resource manager in a second container; the agent does its work by itself.", Flag{Name: "resource-manager", Means: "true"}),
			func(d *installDraft) any { return &d.ResourceManager },
		},
		{given(Bool, "Take the image tag latest.", Flag{Name: "latest", Means: "true"}), func(d *installDraft) any { return &d.Latest }},
	}
}

func installJobs() []field[installDraft] {
	return []field[installDraft]{
		{
			given(Text, "Image pull secrets of the agent and its Jobs.", Flag{Name: "image-pull-secrets", Short: "i"}),
			func(d *installDraft) any { return &d.ImagePullSecrets },
		},
		{given(Text, "Memory that Jobs ask for.", Flag{Name: "mem-request"}), func(d *installDraft) any { return &d.MemRequest }},
		{given(Text, "Memory that Jobs are limited to.", Flag{Name: "mem-limit"}), func(d *installDraft) any { return &d.MemLimit }},
		{given(Text, "CPU that Jobs ask for.", Flag{Name: "cpu-request"}), func(d *installDraft) any { return &d.CPURequest }},
		{given(Text, "CPU that Jobs are limited to.", Flag{Name: "cpu-limit"}), func(d *installDraft) any { return &d.CPULimit }},
		{
			among(pullPolicies(), given(Text, "Image pull policy of Jobs that name none: Always, IfNotPresent or Never.", Flag{Name: "image-pull-policy"})),
			func(d *installDraft) any { return &d.ImagePullPolicy },
		},
		{
			given(Text, "Service account of Jobs that name none.", Flag{Name: "service-account-name"}),
			func(d *installDraft) any { return &d.ServiceAccountName },
		},
	}
}

func installOurs() []field[installDraft] {
	return []field[installDraft]{
		{
			among(References(), given(Text, "Print the objects of the Python agent of this release: 0.11.0, 0.12.6, 0.13.19, 0.14.22, 0.15.13, 1.0.0, 1.2.4 or 1.4.1.", Flag{Name: "reference"})),
			func(d *installDraft) any { return &d.Reference },
		},
		{
			given(Text, "Image of the agent; the default is prefect-kube/prefect-kube of this version.", Flag{Name: "image"}),
			func(d *installDraft) any { return &d.Image },
		},
		{
			given(Text, "Secret with the credential, as NAME/KEY; it is printed if the credential is given, and has to exist otherwise.", Flag{Name: "credential-secret"}),
			func(d *installDraft) any { return &d.CredentialSecret },
		},
		{
			given(List, "Behaviours of the Python agent to keep, in these objects and in Jobs, by name, separated by commas.", Flag{Name: "keep", Repeated: true}),
			func(d *installDraft) any { return &d.Keep },
		},
	}
}

// secretName and secretKey are what Kubernetes takes for the parts of NAME/KEY.
var (
	secretName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	secretKey  = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
)

// SplitSecret splits NAME/KEY. It reports false for anything else.
func SplitSecret(text string) (name, key string, ok bool) {
	name, key, _ = strings.Cut(text, "/")
	return name, key, secretName.MatchString(name) && secretKey.MatchString(key)
}

// validateSecretKey checks what --credential-secret says, in both commands.
func validateSecretKey(text string) error {
	if _, _, ok := SplitSecret(text); ok || text == "" {
		return nil
	}
	return &Error{
		Place: "--credential-secret, PREFECT_KUBE_CREDENTIAL_SECRET", Problem: "is not a Secret and a key in it",
		Mend: "write NAME/KEY, such as prefect-agent/credential",
	}
}
