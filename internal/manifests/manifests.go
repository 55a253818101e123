// Package manifests makes what install prints: the Kubernetes objects that run
// the agent inside a cluster, as JSON trees and as YAML. It knows the objects
// that the Python agents print (generate_deployment_yaml of Prefect 0.11.0 to
// 1.4.1), ours, and which rights our agent needs. It refuses to know where
// arguments come from and where the text goes, and it opens no connection.
package manifests

import "cmp"

// Tree is a JSON object.
type Tree = map[string]any

// The generations of the agent. They decide which command line our container
// gets and, in the reference, which objects are printed.
const (
	Version0110  = "0.11.0"
	version0126  = "0.12.6"
	version01319 = "0.13.19"
	version01422 = "0.14.22"
	version01513 = "0.15.13"
	version100   = "1.0.0"
	Version124   = "1.2.4"
	Version141   = "1.4.1"
)

// Versions are those whose objects Reference prints, the oldest first.
func Versions() []string {
	return []string{Version0110, version0126, version01319, version01422, version01513, version100, Version124, Version141}
}

// GracePeriod is terminationGracePeriodSeconds of our Deployment, in seconds: a
// drain of a minute, and time for the rest.
const GracePeriod = 90

// EnvVar is one environment variable of the flow runs.
type EnvVar struct{ Name, Value string }

// SecretKey names one value in a Secret of the agent's namespace.
type SecretKey struct{ Secret, Key string }

// Options are the arguments of generate_deployment_yaml, and ours after them.
// What is empty is not given.
type Options struct {
	// Version is the release, one of Versions. Ours looks only at whether it is the
	// first.
	Version string
	// Credential is the token of 0.11.0 or the key of 1.x.
	Credential string
	// Token is set when Credential is a token although Version is of 1.x; ours only.
	Token bool
	// TenantID is the tenant of the key; 1.x only.
	TenantID string
	// API is the address of the Prefect API. Where it is empty the reference has
	// Cloud's, ours has Endpoint.
	API string
	// Namespace is where the agent and its Jobs run; default where empty.
	Namespace string
	// ImagePullSecrets is one name; ours takes several, separated by commas.
	ImagePullSecrets string
	// ResourceManager adds the second container; in the reference 0.11.0 only.
	ResourceManager bool
	// RBAC adds what the agent needs to be allowed to work.
	RBAC bool
	// Latest takes the image tag latest.
	Latest bool
	// MemRequest and the three after it are defaults for Jobs.
	MemRequest, MemLimit, CPURequest, CPULimit string
	// ImagePullPolicy and ServiceAccountName are defaults for Jobs; 1.x only in the
	// reference.
	ImagePullPolicy, ServiceAccountName string
	// Labels are those that the agent takes flow runs for, in this order.
	Labels []string
	// EnvVars are set in each Job. Of a name that repeats the last value wins, at
	// the first place, as in a Python dict.
	EnvVars []EnvVar
	// Backend is cloud or server.
	Backend string
	// AgentConfigID links the agent to a configuration at the backend; 1.x only in
	// the reference.
	AgentConfigID string

	// Endpoint is the address that is configured for Backend; ours only.
	Endpoint string
	// SecretAPI is the address with what must not stand in a Deployment, such as a
	// password. Ours prints a Secret for it.
	SecretAPI string
	// Image is printed as it is. Empty means prefect-kube/prefect-kube with
	// ImageTag, or in the reference Prefect's own image.
	Image string
	// ImageTag is the version of this program; latest where it cannot be a tag.
	ImageTag string
	// PrefectVersion is prefect.__version__ for the reference's image; empty means Version.
	PrefectVersion string
	// CredentialFrom is the Secret that holds the credential. Its zero value means
	// DefaultSecret. Ours prints the Secret if Credential is set.
	CredentialFrom SecretKey
	// Keep names Changes that are not made.
	Keep []string
	// JobKeep names behaviours that our agent is told to keep in its Jobs. They are
	// printed as they are.
	JobKeep []string
}

// DefaultSecret is where the credential is unless something else is said.
func DefaultSecret() SecretKey { return SecretKey{Secret: agentName, Key: "credential"} }

// addressSecret is where the address of the API is if it holds a password or a token.
func addressSecret() SecretKey { return SecretKey{Secret: agentName + "-api", Key: "address"} }

// Names that all versions have in common, so that ours replaces theirs.
const (
	agentName = "prefect-agent"
	rbacName  = "prefect-agent-rbac"
)

const (
	cloudAPI     = "https://api.prefect.io"
	agentAddress = "http://:8080"
	agentPort    = 8080
)

// Names of the agent's environment variables.
const (
	envAuthToken       = "PREFECT__CLOUD__AGENT__AUTH_TOKEN" //nolint:gosec // the name, not the token
	envAPIKey          = "PREFECT__CLOUD__API_KEY"           //nolint:gosec // the name, not the key
	envTenantID        = "PREFECT__CLOUD__TENANT_ID"
	envAPI             = "PREFECT__CLOUD__API"
	envLabels          = "PREFECT__CLOUD__AGENT__LABELS"
	envEnvVars         = "PREFECT__CLOUD__AGENT__ENV_VARS"
	envAgentAddress    = "PREFECT__CLOUD__AGENT__AGENT_ADDRESS"
	envLoopInterval    = "PREFECT__CLOUD__AGENT__RESOURCE_MANAGER__LOOP_INTERVAL"
	envBackend         = "PREFECT__BACKEND"
	envNamespace       = "NAMESPACE"
	envPullSecrets     = "IMAGE_PULL_SECRETS" //nolint:gosec // the name of a variable
	envPullPolicy      = "IMAGE_PULL_POLICY"
	envServiceAccount  = "SERVICE_ACCOUNT_NAME"
	envMemRequest      = "JOB_MEM_REQUEST"
	envMemLimit        = "JOB_MEM_LIMIT"
	envCPURequest      = "JOB_CPU_REQUEST"
	envCPULimit        = "JOB_CPU_LIMIT"
	envCredentialOfJob = "PREFECT_KUBE_CREDENTIAL_SECRET" //nolint:gosec // the name of a Secret
	envAPIOfJob        = "PREFECT_KUBE_API_SECRET"        //nolint:gosec // the name of a Secret
	envKeep            = "PREFECT_KUBE_KEEP"
	loopInterval       = "60"
)

// NamespaceOrDefault is where the objects go.
func (o Options) NamespaceOrDefault() string { return cmp.Or(o.Namespace, "default") }

// vars are EnvVars as a Python dict holds them.
func (o Options) vars() []EnvVar {
	var out []EnvVar
	at := map[string]int{}
	for _, v := range o.EnvVars {
		if i, ok := at[v.Name]; ok {
			out[i].Value = v.Value
			continue
		}
		at[v.Name] = len(out)
		out = append(out, v)
	}
	return out
}

// variable is an entry of a container's env.
func variable(name, value string) any { return Tree{"name": name, "value": value} }

// deployment is the frame that all versions share.
func deployment(pod Tree) Tree {
	labels := func() Tree { return Tree{"app": agentName} }
	return Tree{
		"apiVersion": "apps/v1",
		"kind":       "Deployment",
		"metadata":   Tree{"name": agentName, "labels": labels()},
		"spec": Tree{
			"replicas": 1,
			"selector": Tree{"matchLabels": labels()},
			"template": Tree{"metadata": Tree{"labels": labels()}, "spec": pod},
		},
	}
}

func rbacDocument(version, kind, namespace string, rest Tree) Tree {
	rest["apiVersion"] = "rbac.authorization.k8s.io/" + version
	rest["kind"] = kind
	rest["metadata"] = Tree{"name": rbacName, "namespace": namespace}
	return rest
}

func roleBinding(version, namespace string, subject Tree) Tree {
	return rbacDocument(version, "RoleBinding", namespace, Tree{
		"roleRef":  Tree{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": rbacName},
		"subjects": []any{subject},
	})
}

func texts(items ...string) []any {
	out := make([]any, len(items))
	for i, item := range items {
		out[i] = item
	}
	return out
}
