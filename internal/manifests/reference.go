package manifests

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/python"
)

// Reference makes exactly the objects that the Python agent of Options.Version
// prints, defects included (generate_deployment_yaml in agent.py, deployment.yaml
// and rbac.yaml of that release). Nothing in Options is checked but the version;
// arguments that it does not have are left out. The error is an *ArgumentError.
func Reference(o Options) ([]Tree, error) {
	if !slices.Contains(Versions(), o.Version) {
		return nil, &ArgumentError{
			Argument: "reference", Problem: fmt.Sprintf("%q is not a version that is known here", o.Version),
			Mend: "use one of " + strings.Join(Versions(), ", "),
		}
	}
	containers := []any{o.referenceAgent()}
	if o.ResourceManager && !o.since(version01422) {
		containers = append(containers, o.referenceManager())
	}
	pod := Tree{"containers": containers}
	if o.ImagePullSecrets != "" {
		pod["imagePullSecrets"] = []any{Tree{"name": o.ImagePullSecrets}}
	}
	docs := []Tree{deployment(pod)}
	if !o.RBAC {
		return docs, nil
	}
	binding := "v1beta1"
	if o.since(version01513) {
		binding = "v1"
	}
	return append(docs,
		rbacDocument("v1", "Role", o.NamespaceOrDefault(), Tree{"rules": o.referenceRules()}),
		roleBinding(binding, o.NamespaceOrDefault(), Tree{"kind": "ServiceAccount", "name": "default"}),
	), nil
}

// legacy says that it is the generation of 0.11.0.
func (o Options) legacy() bool { return o.Version == Version0110 }

// since reports whether the release is this one or a later one.
func (o Options) since(release string) bool {
	return slices.Index(Versions(), o.Version) >= slices.Index(Versions(), release)
}

func (o Options) referenceImage() string {
	if o.Image != "" {
		return o.Image
	}
	version := cmp.Or(o.PrefectVersion, o.Version)
	if o.Latest || strings.Contains(version, "+") {
		return "prefecthq/prefect:latest"
	}
	python := "3.6"
	if o.since(version100) {
		python = "3.7"
	}
	return "prefecthq/prefect:" + version + "-python" + python
}

// referenceContainer has a shell run one command line.
func (o Options) referenceContainer(name, command string, env []any) Tree {
	c := Tree{
		"name":            name,
		"image":           o.referenceImage(),
		"imagePullPolicy": "Always",
		"command":         texts("/bin/bash", "-c"),
		"args":            texts(command),
		"env":             env,
	}
	if !o.since(version01422) {
		c["resources"] = Tree{"limits": referenceLimits()}
	}
	return c
}

func referenceLimits() Tree { return Tree{"memory": "128Mi", "cpu": "100m"} }

func (o Options) referenceAgent() Tree {
	command := "prefect agent start kubernetes"
	if o.since(version01319) {
		command = "prefect agent kubernetes start"
	}
	if o.since(version01513) && o.AgentConfigID != "" {
		command += " --agent-config-id " + o.AgentConfigID
	}
	c := o.referenceContainer("agent", command, o.referenceEnv())
	c["livenessProbe"] = Tree{
		"failureThreshold": 2, "initialDelaySeconds": 40, "periodSeconds": 40,
		"httpGet": Tree{"path": "/api/health", "port": agentPort},
	}
	return c
}

func (o Options) referenceManager() Tree {
	return o.referenceContainer("resource-manager",
		"python -c 'from prefect.agent.kubernetes import ResourceManager; ResourceManager().start()'", []any{
			variable(envAuthToken, o.Credential),
			variable(envAPI, cmp.Or(o.API, cloudAPI)),
			variable(envLoopInterval, loopInterval),
			variable(envNamespace, o.NamespaceOrDefault()),
		})
}

// referenceCredentials are the values of the variables for a token and for a key. From
// 1.0.0 on the key is passed as both.
func (o Options) referenceCredentials() (token, key string) {
	switch {
	case o.since(version100):
		return o.Credential, o.Credential
	case o.since(version01513) && !o.Token:
		return "", o.Credential
	default:
		return o.Credential, ""
	}
}

func (o Options) referenceEnv() []any {
	token, key := o.referenceCredentials()
	env := []any{
		variable(envAuthToken, token),
		variable(envAPI, cmp.Or(o.API, cloudAPI)),
		variable(envNamespace, o.NamespaceOrDefault()),
		variable(envPullSecrets, o.ImagePullSecrets),
		variable(envLabels, python.List(o.Labels)),
		variable(envMemRequest, o.MemRequest),
		variable(envMemLimit, o.MemLimit),
		variable(envCPURequest, o.CPURequest),
		variable(envCPULimit, o.CPULimit),
	}
	if o.since(version0126) {
		env = append(env, variable(envPullPolicy, o.ImagePullPolicy), variable(envServiceAccount, o.ServiceAccountName))
	}
	env = append(env, variable(envBackend, o.Backend), variable(envAgentAddress, agentAddress))
	if o.since(version01513) {
		env = append(env, variable(envAPIKey, key), variable(envTenantID, o.TenantID))
	}
	switch {
	case len(o.EnvVars) > 0 && o.since(version01319):
		env = append(env, variable(envEnvVars, jsonObject(o.vars())))
	default:
		for _, v := range o.vars() {
			env = append(env, variable(envEnvVars+"__"+v.Name, v.Value))
		}
	}
	return env
}

func (o Options) referenceRules() []any {
	core := texts("pods")
	if o.since(version01422) {
		core = texts("events", "pods")
	}
	return []any{
		Tree{"apiGroups": texts("batch", "extensions"), "resources": texts("jobs"), "verbs": texts("*")},
		Tree{"apiGroups": texts(""), "resources": core, "verbs": texts("*")},
	}
}
