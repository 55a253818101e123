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
	if o.legacy() && o.ResourceManager {
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
	binding := "v1"
	if o.legacy() {
		binding = "v1beta1"
	}
	return append(docs,
		rbacDocument("v1", "Role", o.NamespaceOrDefault(), Tree{"rules": o.referenceRules()}),
		roleBinding(binding, o.NamespaceOrDefault(), Tree{"kind": "ServiceAccount", "name": "default"}),
	), nil
}

// legacy says that it is the generation of 0.11.0.
func (o Options) legacy() bool { return o.Version == Version0110 }

func (o Options) referenceImage() string {
	if o.Image != "" {
		return o.Image
	}
	version := cmp.Or(o.PrefectVersion, o.Version)
	if o.Latest || strings.Contains(version, "+") {
		return "prefecthq/prefect:latest"
	}
	python := "3.7"
	if o.legacy() {
		python = "3.6"
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
	if o.legacy() {
		c["resources"] = Tree{"limits": referenceLimits()}
	}
	return c
}

func referenceLimits() Tree { return Tree{"memory": "128Mi", "cpu": "100m"} }

func (o Options) referenceAgent() Tree {
	command := "prefect agent start kubernetes"
	if !o.legacy() {
		command = "prefect agent kubernetes start"
		if o.AgentConfigID != "" {
			command += " --agent-config-id " + o.AgentConfigID
		}
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

func (o Options) referenceEnv() []any {
	env := []any{
		variable(envAuthToken, o.Credential),
		variable(envAPI, cmp.Or(o.API, cloudAPI)),
		variable(envNamespace, o.NamespaceOrDefault()),
		variable(envPullSecrets, o.ImagePullSecrets),
		variable(envLabels, python.List(o.Labels)),
		variable(envMemRequest, o.MemRequest),
		variable(envMemLimit, o.MemLimit),
		variable(envCPURequest, o.CPURequest),
		variable(envCPULimit, o.CPULimit),
	}
	if !o.legacy() {
		env = append(env, variable(envPullPolicy, o.ImagePullPolicy), variable(envServiceAccount, o.ServiceAccountName))
	}
	env = append(env, variable(envBackend, o.Backend), variable(envAgentAddress, agentAddress))
	if o.legacy() {
		for _, v := range o.vars() {
			env = append(env, variable(envEnvVars+"__"+v.Name, v.Value))
		}
		return env
	}
	env = append(env, variable(envAPIKey, o.Credential), variable(envTenantID, o.TenantID))
	if len(o.EnvVars) > 0 {
		env = append(env, variable(envEnvVars, jsonObject(o.vars())))
	}
	return env
}

func (o Options) referenceRules() []any {
	core := texts("events", "pods")
	if o.legacy() {
		core = texts("pods")
	}
	return []any{
		Tree{"apiGroups": texts("batch", "extensions"), "resources": texts("jobs"), "verbs": texts("*")},
		Tree{"apiGroups": texts(""), "resources": core, "verbs": texts("*")},
	}
}
