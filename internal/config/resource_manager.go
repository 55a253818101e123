package config

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// ResourceManager is the configuration of the resource manager of Prefect 0.11.
type ResourceManager struct {
	Common
	// CoreVersion is Core1 if an API key is given, else Core0.
	CoreVersion string
	// Backend is Cloud or Server.
	Backend string
	// API is the address of the Prefect API, without the suffix of the GraphQL path.
	API string
	// BasicUser is "name:password" for Basic authorization at the Prefect API; see Agent.
	BasicUser secret.Value
	// Credential is the API key or the agent's auth token.
	Credential secret.Value
	// TenantID is the configured tenant; empty means the default one.
	TenantID string
	// SendLogs is unset when nothing shall be written to run logs.
	SendLogs bool
	// Namespace is where the Jobs are.
	Namespace string
	// DeleteFinishedJobs is unset when finished Jobs shall stay.
	DeleteFinishedJobs bool
	// RequestTimeout is how long the Prefect API may be silent.
	RequestTimeout time.Duration
	// Grace is how long a Job may be stuck before its flow run fails.
	Grace time.Duration
	// Kubeconfig is the file, or the list of files, with the cluster to use when not inside one.
	Kubeconfig string
	// AgentAddress is where the HTTP server listens, as a URL; empty means nowhere.
	AgentAddress string
	// GraphQL is where requests go; empty means where this release finds it below API.
	GraphQL string
	// CABundle holds the certificate authorities that vouch for the Prefect API; empty
	// means those of the system.
	CABundle File
}

// ResolveResourceManager resolves and validates the settings of the resource
// manager. Every error in the result is an *Error; several are joined.
func ResolveResourceManager(src Sources) (ResourceManager, error) {
	draft, err := resolve(managerFields(), src)
	if draft == nil {
		return ResourceManager{}, err
	}
	m, errFinish := draft.finish()
	return m, faults(err, errFinish, draft.checkOne(), m.Validate())
}

// Secrets are all texts of the configuration that must not be shown.
func (m ResourceManager) Secrets() []secret.Value {
	return append(slices.Clone(m.Concealed), m.Credential)
}

// ResourceManagerSettings lists the settings of the resource manager.
func ResourceManagerSettings() []Setting { return settingsOf(managerFields()) }

// managerDraft is a ResourceManager while it is filled. What it shares with the
// agent stands where the agent has it.
type managerDraft struct {
	agentDraft
	// interval is cloud.agent.resource_manager.loop_interval, which has no effect.
	interval string
	// backendGiven is set when the backend is not the built-in default.
	backendGiven bool
	// bothGiven is set when the command line has a key and a token.
	bothGiven bool
}

const (
	loopInterval        = "cloud.agent.resource_manager.loop_interval"
	defaultLoopInterval = "60"
)

func (d *managerDraft) take(s *stack) {
	d.agentDraft.take(s)
	d.backendGiven = s.rank([]string{"backend"}) > rankDefault
	d.bothGiven = s.rank(strings.Split("cloud.api_key", ".")) == rankFlags && s.rank(strings.Split("cloud.agent.auth_token", ".")) == rankFlags
}

func (d *managerDraft) finish() (ResourceManager, error) {
	// The manifest of 0.11.0 tells this container the address only.
	if !d.backendGiven && !isCloud(d.API) {
		d.Backend = Server
	}
	core := Core0
	if d.apiKey.IsSet() {
		core, d.GraphQL = Core1, "" // 1.4.1 has no such address
	}
	a, err := d.agentDraft.finish(core)
	return ResourceManager{
		Common: a.Common, CoreVersion: a.CoreVersion, Backend: a.Backend, API: a.API, BasicUser: a.BasicUser, Credential: a.Credential, TenantID: a.TenantID,
		SendLogs: a.SendLogs, Namespace: a.Namespace, DeleteFinishedJobs: a.DeleteFinishedJobs,
		RequestTimeout: a.RequestTimeout, Grace: a.Grace, Kubeconfig: a.Kubeconfig, AgentAddress: a.AgentAddress,
		GraphQL: a.GraphQL, CABundle: a.CABundle,
	}, err
}

// checkOne lets variables give both, as the manifest of 1.4.1 does.
func (d *managerDraft) checkOne() error {
	if !d.bothGiven {
		return nil
	}
	return &Error{Place: "--key, --token", Problem: "both are given", Mend: "give the API key of 1.x or the token of 0.11"}
}

func isCloud(api string) bool {
	u, err := url.Parse(api)
	return err == nil && (u.Hostname() == "prefect.io" || strings.HasSuffix(u.Hostname(), ".prefect.io"))
}

// Validate checks what is possible without a connection. Every error in the result
// is an *Error.
func (m ResourceManager) Validate() error {
	return errors.Join(
		Agent{Backend: m.Backend}.validateBackend(),
		m.validateLevel("cloud.agent.level"),
		validateAPI(m.API, m.Backend),
		Agent{GraphQL: m.GraphQL}.validateGraphQL(),
		within("--grace, PREFECT_KUBE_GRACE", m.Grace, time.Millisecond),
		within("PREFECT__CLOUD__REQUEST_TIMEOUT, cloud.request_timeout", m.RequestTimeout, time.Millisecond),
	)
}

// CheckCredential reports that Prefect Cloud would refuse the resource manager for
// want of a credential. The error is an *Error.
func (m ResourceManager) CheckCredential() error {
	return Agent{Backend: m.Backend, CoreVersion: m.CoreVersion, Credential: m.Credential}.CheckCredential()
}

// managerFields is the table of the resource manager: rows of the agent, of both
// its forms, and what the resource manager alone has.
func managerFields() []field[managerDraft] {
	var all []field[managerDraft]
	for _, f := range slices.Concat(connectionFields(), identityFields(), jobFields(), ourFields()) {
		if slices.Contains(managerRows(), f.name()) {
			all = append(all, managerField(f))
		}
	}
	return append(all,
		field[managerDraft]{Setting{
			Flags: []Flag{{Name: "agent-address"}}, Kind: Text,
			Help: "Address to serve health checks at, such as http://:8080; the default is nowhere. The agent's own setting does not count: both may share a pod.",
		}, func(d *managerDraft) any { return &d.AgentAddress }},
		field[managerDraft]{Setting{
			Key: loopInterval, Kind: Text, Default: defaultLoopInterval,
			Help: "Seconds between two rounds. No effect: endings are seen as they happen.",
		}, func(d *managerDraft) any { return &d.interval }},
	)
}

// managerRows name the rows of the agent's table that the resource manager has too.
func managerRows() []string {
	return []string{
		"backend", "cloud.api", "cloud.endpoint", "server.endpoint", "server.host", "server.port",
		"cloud.agent.auth_token", "cloud.auth_token", "cloud.api_key", "cloud.tenant_id", "cloud.request_timeout", "cloud.graphql", "SSL_CERT_FILE",
		"cloud.send_flow_run_logs", "cloud.agent.level", "NAMESPACE", "DELETE_FINISHED_JOBS", "kube.grace", "kube.kubeconfig",
	}
}

func (s Setting) name() string {
	id := s.id()
	if id[0] == hidden {
		return id[1]
	}
	return s.Key
}

func managerField(f field[agentDraft]) field[managerDraft] {
	m := field[managerDraft]{Setting: f.Setting}
	m.Core = ""
	m.Flags = slices.Clone(f.Flags)
	for i := range m.Flags {
		m.Flags[i].Core = ""
	}
	if f.Key == "cloud.api_key" {
		m.Help = "Prefect Cloud API key. What \"prefect auth login\" stored is not read."
	}
	if f.at != nil {
		m.at = func(d *managerDraft) any { return f.at(&d.agentDraft) }
	}
	return m
}
