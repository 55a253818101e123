package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// agentDraft is an Agent while it is filled.
type agentDraft struct {
	Agent
	// apiKey is cloud.api_key, agentToken cloud.agent.auth_token, and otherToken
	// cloud.auth_token, which the documentation of 0.11.0 promises as a fallback.
	apiKey, agentToken, otherToken secret.Value
	// homeDir is where auth.toml lies.
	homeDir string
	// caBundle is the path of Agent.CABundle.
	caBundle string
	// origin is where it was found.
	origin Origin
	// sources are what was read.
	sources *stack
}

// take is called once with everything that was read.
func (d *agentDraft) take(s *stack) {
	d.LabelsByFlag = s.rank([]string{"cloud", "agent", "labels"}) == rankFlags
	d.Defaulted.API = s.untouched(append([]string{"cloud.api"}, map[string][]string{
		Cloud: {"cloud.endpoint"}, Server: {"server.endpoint", "server.host", "server.port"},
	}[d.Backend]...)...)
	d.Defaulted.FlowLogLevel = s.untouched("logging.level")
	d.Warnings = s.recentNames(envVarsPath(), d.EnvVars)
	if d.caBundle != "" {
		d.CABundle = File{Path: d.caBundle, Place: s.place(caBundleSetting().id())}
	}
	d.sources = s
}

// finish settles what depends on several settings at once.
func (d *agentDraft) finish(core string) (Agent, error) {
	a := d.Agent
	a.CoreVersion = core
	a.LogLevel = levelName(a.LogLevel)
	a.Keep = lower(splitNames(a.Keep))
	a.TemplateSources = splitNames(a.TemplateSources)
	a.ImagePullSecrets = pullSecrets(a.ImagePullSecrets)
	if a.LabelsByFlag && core == Core1 {
		// cli/agent.py of 1.4.1 makes a sorted set of them.
		slices.Sort(a.Labels)
		a.Labels = slices.Compact(a.Labels)
	}
	api, graphQL := splitAddress(a.API), splitAddress(a.GraphQL)
	a.API, a.GraphQL = api.text, graphQL.text
	err := d.login(&a)
	if a.GraphQL != "" {
		api = graphQL
	}
	var warning string
	a.BasicUser, warning = api.basic(a.Credential.IsSet())
	proxies, problems := d.sources.proxies()
	a.Proxies = d.sources.proxiesByScheme()
	a.Concealed = slices.Concat(api.secrets, graphQL.secrets, proxies)
	d.origin.Files = d.sources.files
	a.Warnings = slices.Concat(d.sources.warnings, a.Warnings, oddSecrets(a.ImagePullSecrets), d.sources.inVain(core))
	if warning != "" {
		a.Warnings = append(a.Warnings, warning)
	}
	return a, errors.Join(append(problems, err)...)
}

// splitNames takes --keep a,b and --keep a --keep b alike.
func splitNames(given []string) []string {
	var names []string
	for _, text := range given {
		items, _ := parseList(text)
		for _, name := range items {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// oddSecrets warns of image pull secrets that cannot be there. Kubernetes takes any
// name and pulls without them, so they keep no agent from starting.
func oddSecrets(names []string) []string {
	for i, name := range names {
		if !secretName.MatchString(name) {
			return []string{fmt.Sprintf("--image-pull-secrets, IMAGE_PULL_SECRETS: the %d. is not the name of a Secret, so no image is pulled with it; use lower-case letters, digits, - and .", i+1)}
		}
	}
	return nil
}

// pullSecrets takes blanks for commas too, which no name of a Secret has, and leaves
// out what has no name.
func pullSecrets(given []string) []string {
	var names []string
	for _, text := range given {
		names = append(names, strings.Fields(text)...)
	}
	return names
}

// agentFields is the table of the agent. Rows and flags of the other form are left out.
func agentFields(core string) []field[agentDraft] {
	all := slices.Concat(connectionFields(), identityFields(), jobFields(), ourFields())
	all = slices.DeleteFunc(all, func(f field[agentDraft]) bool { return f.Core != "" && f.Core != core })
	for i := range all {
		all[i].Flags = slices.DeleteFunc(all[i].Flags, func(f Flag) bool { return f.Core != "" && f.Core != core })
	}
	return all
}

// neverRead are the variables that no release with a form of the command reads for flows
// with a run config, and 1.0 and later for none, so that they may hold anything.
func neverRead(core string) []string {
	if core == Core0 {
		return nil
	}
	return []string{"IMAGE_PULL_POLICY", "JOB_MEM_REQUEST", "JOB_MEM_LIMIT", "JOB_CPU_REQUEST", "JOB_CPU_LIMIT"}
}

func connectionFields() []field[agentDraft] {
	return []field[agentDraft]{
		{Setting{
			Key: "backend", Kind: Text, Values: []string{Cloud, Server}, Default: Cloud,
			Help: "Kind of Prefect API: cloud or server.",
		}, func(d *agentDraft) any { return &d.Backend }},
		{Setting{
			Key: "cloud.api", Kind: Text, Default: "${${backend}.endpoint}", Flags: []Flag{{Name: "api", Short: "a"}},
			Help: "Address of the Prefect API.",
		}, func(d *agentDraft) any { return &d.API }},
		{Setting{
			Key: "cloud.graphql", Kind: Text, Core: Core0,
			Help: "Where the agent sends its requests; the default is /graphql/alpha below cloud.api.",
		}, func(d *agentDraft) any { return &d.GraphQL }},
		{Setting{Key: "cloud.endpoint", Kind: Text, Default: "https://api.prefect.io", Help: "Address of Prefect Cloud."}, nil},
		{Setting{Key: "server.endpoint", Kind: Text, Default: "${server.host}:${server.port}", Help: "Address of Prefect Server."}, nil},
		{Setting{Key: "server.host", Kind: Text, Default: "http://localhost", Help: "Scheme and host of Prefect Server."}, nil},
		{Setting{Key: "server.port", Kind: Text, Default: "4200", Help: "Port of Prefect Server."}, nil},
		{Setting{
			Key: "home_dir", Kind: Text, Default: "~/.prefect",
			Help: "Directory of Prefect's own files.",
		}, func(d *agentDraft) any { return &d.homeDir }},
		{Setting{
			Key: "cloud.agent.auth_token", Kind: Secret, Flags: []Flag{{Name: "token", Short: "t"}},
			Help: "Prefect Cloud API token with RUNNER scope, of Prefect 0.x. An API key beats it.",
		}, func(d *agentDraft) any { return &d.agentToken }},
		{Setting{
			Key: "cloud.auth_token", Kind: Secret,
			Help: "Prefect Cloud API token, used if the agent has none of its own.",
		}, func(d *agentDraft) any { return &d.otherToken }},
		{Setting{
			Key: "cloud.api_key", Kind: Secret, Flags: []Flag{{Name: "key", Short: "k", Core: Core1}},
			Help: "Prefect Cloud API key; for agent kubernetes start the default is what \"prefect auth login\" stored. agent start kubernetes, whose releases have no keys, takes it where it has no token.",
		}, func(d *agentDraft) any { return &d.apiKey }},
		{Setting{
			Key: "cloud.tenant_id", Kind: Text, Core: Core1, Flags: []Flag{{Name: "tenant-id"}},
			Help: "Tenant to connect to; the default is that of the API key.",
		}, func(d *agentDraft) any { return &d.TenantID }},
		{Setting{
			Key: "cloud.request_timeout", Kind: Duration, Default: "15s",
			Help: "How long the Prefect API may be silent.",
		}, func(d *agentDraft) any { return &d.RequestTimeout }},
		{caBundleSetting(), func(d *agentDraft) any { return &d.caBundle }},
	}
}

// caBundleSetting follows Python's requests: of these variables the first one that
// is set counts. Later names of the list win here.
func caBundleSetting() Setting {
	return Setting{
		Env: []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}, Kind: Text,
		Help: "File, or directory of files, with the certificate authorities that vouch for the Prefect API and for the servers of job templates, instead of those of the system. REQUESTS_CA_BUNDLE beats CURL_CA_BUNDLE, and that SSL_CERT_FILE.",
	}
}

func identityFields() []field[agentDraft] {
	return []field[agentDraft]{
		{Setting{
			Flags: []Flag{{Name: "agent-config-id"}}, Kind: Text,
			Help: "Id of a configuration at the backend that this agent is linked to.",
		}, func(d *agentDraft) any { return &d.AgentConfigID }},
		{Setting{
			Key: "cloud.agent.name", Kind: Text, Default: "agent", Flags: []Flag{{Name: "name", Short: "n"}},
			Help: "Name of the agent.",
		}, func(d *agentDraft) any { return &d.Name }},
		{Setting{
			Key: "cloud.agent.labels", Kind: List, Flags: []Flag{{Name: "label", Short: "l", Repeated: true}},
			Help: "Label that the agent takes flow runs for; may be repeated.",
		}, func(d *agentDraft) any { return &d.Labels }},
		{Setting{
			Key: "cloud.agent.env_vars", Kind: Pairs, Flags: []Flag{{Name: "env", Short: "e", Repeated: true}},
			Help: "Environment variable NAME=value for each flow run; may be repeated.",
		}, func(d *agentDraft) any { return &d.EnvVars }},
		{Setting{
			Flags: []Flag{{Name: "max-polls"}}, Kind: Integer, Default: "-1",
			Help: "Number of polls after which the agent stops; the default is no limit.",
		}, func(d *agentDraft) any { return &d.MaxPolls }},
		{Setting{
			Key: "cloud.agent.agent_address", Kind: Text, Flags: []Flag{{Name: "agent-address"}},
			Help: "Address to serve health checks at, such as http://:8080; the default is nowhere.",
		}, func(d *agentDraft) any { return &d.AgentAddress }},
		{Setting{
			Key: "cloud.send_flow_run_logs", Kind: Bool, Default: "true", Flags: []Flag{{Name: "no-cloud-logs", Means: "false", Help: "Do not send logs of flow runs to the Prefect API."}},
			Help: "Send logs of flow runs to the Prefect API.",
		}, func(d *agentDraft) any { return &d.SendLogs }},
		{Setting{
			Key: "cloud.agent.level", Kind: Text, Default: "INFO",
			Flags: []Flag{
				{Name: "verbose", Short: "v", Means: "DEBUG", Core: Core0, Help: "Log at DEBUG level."},
				{Name: "log-level", Core: Core1, Choices: flagLevels()},
			},
			Help: "Log level of the agent: DEBUG, INFO, WARNING or ERROR.",
		}, func(d *agentDraft) any { return &d.LogLevel }},
	}
}

func jobFields() []field[agentDraft] {
	return []field[agentDraft]{
		{Setting{
			Env: []string{"NAMESPACE"}, Flags: []Flag{{Name: "namespace"}}, Kind: Text, Default: "default",
			Help: "Kubernetes namespace to create Jobs in.",
		}, func(d *agentDraft) any { return &d.Namespace }},
		{Setting{
			Flags: []Flag{{Name: "job-template"}}, Kind: Text,
			Help: "Path or URL of a job template to use instead of the built-in one.",
		}, func(d *agentDraft) any { return &d.JobTemplate }},
		{Setting{
			Env: []string{"SERVICE_ACCOUNT_NAME"}, Flags: []Flag{{Name: "service-account-name"}}, Kind: Text,
			Help: "Service account of Jobs that name none.",
		}, func(d *agentDraft) any { return &d.ServiceAccountName }},
		{Setting{
			Env: []string{"IMAGE_PULL_SECRETS"}, Flags: []Flag{{Name: "image-pull-secrets"}}, Kind: List,
			Help: "Image pull secrets of Jobs that name none, separated by commas.",
		}, func(d *agentDraft) any { return &d.ImagePullSecrets }},
		{
			Setting{Env: []string{"YAML_TEMPLATE"}, Kind: Text, Help: "Path of the job spec for flows with an environment, in the place of the built-in one, as for the agents of 0.13 to 0.15."},
			func(d *agentDraft) any { return &d.YAMLTemplate },
		},
		{
			Setting{Env: []string{"IMAGE_PULL_POLICY"}, Kind: Text, Values: pullPolicies(), Help: "Image pull policy of Jobs that name none: Always, IfNotPresent or Never, in any case."},
			func(d *agentDraft) any { return &d.ImagePullPolicy },
		},
		{
			Setting{Env: []string{"JOB_MEM_REQUEST"}, Kind: Quantity, Help: "Memory that Jobs ask for."},
			func(d *agentDraft) any { return &d.JobMemRequest },
		},
		{
			Setting{Env: []string{"JOB_MEM_LIMIT"}, Kind: Quantity, Help: "Memory that Jobs are limited to."},
			func(d *agentDraft) any { return &d.JobMemLimit },
		},
		{
			Setting{Env: []string{"JOB_CPU_REQUEST"}, Kind: Quantity, Help: "CPU that Jobs ask for."},
			func(d *agentDraft) any { return &d.JobCPURequest },
		},
		{
			Setting{Env: []string{"JOB_CPU_LIMIT"}, Kind: Quantity, Help: "CPU that Jobs are limited to."},
			func(d *agentDraft) any { return &d.JobCPULimit },
		},
		{Setting{
			Env: []string{"DELETE_FINISHED_JOBS"}, Kind: Bool, Default: "true", Flags: []Flag{{Name: "disable-job-deletion", Means: "false", Help: "Keep finished Jobs."}},
			Help: "Delete finished Jobs.",
		}, func(d *agentDraft) any { return &d.DeleteFinishedJobs }},
		{
			Setting{Key: "logging.level", Kind: Text, Default: "INFO", Help: "Log level of flow runs."},
			func(d *agentDraft) any { return &d.FlowLogLevel },
		},
	}
}

func ourFields() []field[agentDraft] {
	return []field[agentDraft]{
		{Setting{
			Key: "kube.default_job_image", Kind: Text, Flags: []Flag{{Name: "default-job-image"}},
			Help: "Image of flow runs that name none; the default is prefecthq/prefect of the run's version.",
		}, func(d *agentDraft) any { return &d.DefaultJobImage }},
		{Setting{
			Key: "kube.max_poll_interval", Kind: Duration, Default: "1s", Flags: []Flag{{Name: "max-poll-interval"}},
			Help: "Longest pause between two polls.",
		}, func(d *agentDraft) any { return &d.MaxPollInterval }},
		{Setting{
			Key: "kube.exclusive_labels", Kind: Bool, Default: "false", Flags: []Flag{{Name: "exclusive-labels", Means: "true"}},
			Help: "Promise that no agent in another cluster or namespace takes flow runs with these labels; saves the settling second.",
		}, func(d *agentDraft) any { return &d.ExclusiveLabels }},
		{Setting{
			Key: "kube.grace", Kind: Duration, Default: "2m", Flags: []Flag{{Name: "grace"}},
			Help: "How long a Job may be stuck before its flow run fails.",
		}, func(d *agentDraft) any { return &d.Grace }},
		{Setting{
			Key: "kube.credential_secret", Kind: Text, Flags: []Flag{{Name: "credential-secret"}},
			Help: "Secret with the credential, as NAME/KEY, that Jobs refer to instead of holding it in clear text.",
		}, func(d *agentDraft) any { return &d.CredentialSecret }},
		{Setting{
			Key: "kube.template_sources", Kind: List, Flags: []Flag{{Name: "template-sources", Repeated: true}},
			Help: "Where flow runs may let the agent read job templates, separated by commas: file, http, https, s3, gs, or a beginning such as /etc/templates/ or https://templates.example/; any; none. Of http and https, loopback and link-local addresses count only if a beginning names them, or with any. The default is file,http,https,s3,gs. The agent's own --job-template is always read.",
		}, func(d *agentDraft) any { return &d.TemplateSources }},
		{Setting{
			Key: "kube.api_secret", Kind: Text, Flags: []Flag{{Name: "api-secret"}},
			Help: "Secret with the address of the Prefect API, as NAME/KEY, that Jobs refer to: for an address with a password, which no Job holds in clear text.",
		}, func(d *agentDraft) any { return &d.APISecret }},
		{Setting{
			Key: "kube.keep", Kind: List, Flags: []Flag{{Name: "keep", Repeated: true}},
			Help: "Behaviours of the Python agent to keep, by name, separated by commas.",
		}, func(d *agentDraft) any { return &d.Keep }},
		{Setting{
			Key: "kube.kubeconfig", Kind: Text, Env: []string{"KUBECONFIG"}, Flags: []Flag{{Name: "kubeconfig"}},
			Help: "Kubeconfig file to use outside of a cluster.",
		}, func(d *agentDraft) any { return &d.Kubeconfig }},
	}
}

func pullPolicies() []string { return []string{"Always", "IfNotPresent", "Never"} }
