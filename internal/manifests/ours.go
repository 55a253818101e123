package manifests

import (
	"cmp"
	"slices"
	"strings"
)

// user is the one that our image runs as.
const user = 65532

// Change is one difference between our objects and the reference's.
type Change struct {
	// Name is what Keep calls it.
	Name string
	// Defect is the id of the defect that it mends, empty if none.
	Defect string
	// What says in a sentence what is different.
	What string
	// Required changes cannot be kept back.
	Required bool
}

// The changes that can be kept back.
const (
	keepAPI        = "api"
	keepCredential = "agent-credential" //nolint:gosec // a name, no credential
	keepNamespace  = "namespace"
	keepAccount    = "account"
	keepRules      = "rules"
	keepLimits     = "limits"
	keepSecurity   = "agent-security"
)

// Changes lists what is different from the reference.
func Changes() []Change {
	return []Change{
		{"image", "", "the image is ours and runs without a shell", true},
		{"variables", "D-04", "labels and variables of flow runs are JSON in one variable each, and nothing in them is expanded", true},
		{keepAPI, "D-09", "the address of the API is that of the backend", false},
		{keepCredential, "D-36", "the credential is in a Secret, which agent and Jobs refer to", false},
		{"manager-backend", "D-37", "the resource manager gets the backend too", true},
		{"rbac-version", "D-38", "the RoleBinding is rbac.authorization.k8s.io/v1", true},
		{keepNamespace, "D-39", "the Deployment names its namespace", false},
		{keepAccount, "D-39", "the agent has a service account of its own", false},
		{keepRules, "D-40", "the Role holds what is used, pods/log and events included, and nothing else", false},
		{keepLimits, "D-41", "memory and cpu are enough, and cpu has no limit", false},
		{"probes", "D-14", "liveness and readiness are asked apart, and early", true},
		{"grace-period", "D-13", "the Pod may drain before it is killed", true},
		{keepSecurity, "", "the Pod satisfies the restricted pod security standard", false},
	}
}

// Ours makes the objects that run our agent. The error is an *ArgumentError, or
// several joined.
func Ours(o Options) ([]Tree, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	var docs []Tree
	if o.Credential != "" && !o.keeps(keepCredential) {
		from, _ := o.Credentials()
		docs = append(docs, o.secret(from, o.Credential))
	}
	if o.hidesAPI() {
		docs = append(docs, o.secret(addressSecret(), o.SecretAPI))
	}
	if o.RBAC {
		docs = append(docs, o.permissions()...)
	}
	return append(docs, o.ourDeployment()), nil
}

// KeepNames are what Options.Keep takes.
func KeepNames() []string {
	var names []string
	for _, c := range Changes() {
		if !c.Required {
			names = append(names, c.Name)
		}
	}
	return names
}

// KeepsRights reports whether flows have the rights that the Python agent's manifest
// gave them: those of the service account default.
func (o Options) KeepsRights() bool { return o.keeps(keepAccount) && o.keeps(keepRules) }

func (o Options) keeps(name string) bool { return slices.Contains(o.Keep, name) }

// Credentials says where the agent's credential is expected, and whether it is
// expected at all: a Prefect Server needs none.
func (o Options) Credentials() (from SecretKey, expected bool) {
	from = cmp.Or(o.CredentialFrom, DefaultSecret())
	if o.keeps(keepCredential) && o.Credential != "" {
		return SecretKey{}, false
	}
	return from, o.Credential != "" || o.CredentialFrom != SecretKey{} || o.Backend == "cloud"
}

// hidesAPI reports whether the address is one that must not stand in a Deployment.
func (o Options) hidesAPI() bool { return o.SecretAPI != "" && (o.API != "" || !o.keeps(keepAPI)) }

func (o Options) secret(in SecretKey, text string) Tree {
	return Tree{
		"apiVersion": "v1",
		"kind":       "Secret",
		"type":       "Opaque",
		"metadata":   Tree{"name": in.Secret, "namespace": o.NamespaceOrDefault(), "labels": Tree{"app": agentName}},
		"stringData": Tree{in.Key: text},
	}
}

func (o Options) account() string {
	if o.keeps(keepAccount) {
		return "default"
	}
	return agentName
}

func (o Options) permissions() []Tree {
	var docs []Tree
	if !o.keeps(keepAccount) {
		docs = append(docs, Tree{
			"apiVersion": "v1",
			"kind":       "ServiceAccount",
			"metadata":   Tree{"name": agentName, "namespace": o.NamespaceOrDefault()},
		})
	}
	granted := rules(o.NamespaceOrDefault())
	if o.keeps(keepRules) {
		granted = o.referenceRules()
	}
	return append(docs,
		rbacDocument("v1", "Role", o.NamespaceOrDefault(), Tree{"rules": granted}),
		roleBinding("v1", o.NamespaceOrDefault(), Tree{"kind": "ServiceAccount", "name": o.account(), "namespace": o.NamespaceOrDefault()}),
	)
}

func (o Options) ourDeployment() Tree {
	containers := []any{o.ourAgent()}
	if o.ResourceManager {
		containers = append(containers, o.ourManager())
	}
	pod := Tree{"containers": containers, "terminationGracePeriodSeconds": GracePeriod}
	if o.RBAC && !o.keeps(keepAccount) {
		pod["serviceAccountName"] = agentName
	}
	if names := o.pullSecrets(); len(names) > 0 {
		var secrets []any
		for _, name := range names {
			secrets = append(secrets, Tree{"name": name})
		}
		pod["imagePullSecrets"] = secrets
	}
	if !o.keeps(keepSecurity) {
		pod["securityContext"] = Tree{
			"runAsNonRoot": true, "runAsUser": user, "runAsGroup": user, "seccompProfile": Tree{"type": "RuntimeDefault"},
		}
	}
	d := deployment(pod)
	if !o.keeps(keepNamespace) {
		d["metadata"].(Tree)["namespace"] = o.NamespaceOrDefault() //nolint:forcetypeassert // made above
	}
	return d
}

func (o Options) pullSecrets() []string {
	var names []string
	for name := range strings.SplitSeq(o.ImagePullSecrets, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (o Options) image() string {
	switch {
	case o.Image != "":
		return o.Image
	case o.Latest || !isTag(o.ImageTag):
		return "prefect-kube/prefect-kube:latest"
	default:
		return "prefect-kube/prefect-kube:" + o.ImageTag
	}
}

func (o Options) ourContainer(name string, args []string, env []any) Tree {
	c := Tree{"name": name, "image": o.image(), "args": texts(args...), "env": env}
	if o.keeps(keepLimits) {
		c["resources"] = Tree{"limits": referenceLimits()}
	} else {
		c["resources"] = Tree{"requests": Tree{"cpu": "50m", "memory": "64Mi"}, "limits": Tree{"memory": "256Mi"}}
	}
	if !o.keeps(keepSecurity) {
		c["securityContext"] = Tree{
			"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": Tree{"drop": texts("ALL")},
		}
	}
	return c
}

func (o Options) ourAgent() Tree {
	args := []string{"agent", "kubernetes", "start"}
	if o.legacy() {
		args = []string{"agent", "start", "kubernetes"}
	}
	if o.AgentConfigID != "" {
		args = append(args, "--agent-config-id", literal(o.AgentConfigID))
	}
	c := o.ourContainer("agent", args, o.ourEnv())
	c["ports"] = []any{Tree{"name": "http", "containerPort": agentPort}}
	c["livenessProbe"] = probe("/livez", 10)
	c["readinessProbe"] = probe("/readyz", 5)
	return c
}

func probe(path string, period int) Tree {
	return Tree{
		"httpGet":       Tree{"path": path, "port": "http"},
		"periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": 3,
	}
}

func (o Options) ourManager() Tree {
	env := append(o.connection(), literalVariable(envLoopInterval, loopInterval), literalVariable(envNamespace, o.NamespaceOrDefault()))
	return o.ourContainer("resource-manager", []string{"resource-manager"}, env)
}

// connection is what both containers need to reach Prefect.
func (o Options) connection() []any {
	var env []any
	name := envAPIKey
	if o.legacy() || o.Token {
		name = envAuthToken
	}
	from, expected := o.Credentials()
	switch {
	case expected:
		env = append(env, variableFrom(name, from))
	case o.Credential != "":
		env = append(env, literalVariable(name, o.Credential))
	}
	address := cmp.Or(o.API, o.Endpoint)
	if o.keeps(keepAPI) {
		address = cmp.Or(o.API, cloudAPI)
	}
	env = append(env, literalVariable(envBackend, o.Backend))
	if o.hidesAPI() {
		env = append(env, variableFrom(envAPI, addressSecret()))
	} else {
		env = append(env, literalVariable(envAPI, address))
	}
	if o.TenantID != "" && !o.legacy() && !o.Token {
		env = append(env, literalVariable(envTenantID, o.TenantID))
	}
	return env
}

func (o Options) ourEnv() []any {
	env := o.connection()
	from, expected := o.Credentials()
	optional := []EnvVar{
		{envPullSecrets, strings.Join(o.pullSecrets(), ",")},
		{envPullPolicy, o.ImagePullPolicy},
		{envServiceAccount, o.ServiceAccountName},
		{envMemRequest, o.MemRequest},
		{envMemLimit, o.MemLimit},
		{envCPURequest, o.CPURequest},
		{envCPULimit, o.CPULimit},
		{envKeep, strings.Join(o.JobKeep, ",")},
	}
	if len(o.Labels) > 0 {
		optional = append(optional, EnvVar{envLabels, jsonList(o.Labels)})
	}
	if len(o.EnvVars) > 0 {
		optional = append(optional, EnvVar{envEnvVars, jsonObject(o.vars())})
	}
	if expected {
		optional = append(optional, EnvVar{envCredentialOfJob, from.Secret + "/" + from.Key})
	}
	if o.hidesAPI() {
		optional = append(optional, EnvVar{envAPIOfJob, addressSecret().Secret + "/" + addressSecret().Key})
	}
	env = append(env, literalVariable(envNamespace, o.NamespaceOrDefault()), literalVariable(envAgentAddress, agentAddress))
	for _, v := range optional {
		if v.Value != "" {
			env = append(env, literalVariable(v.Name, v.Value))
		}
	}
	return env
}

// variableFrom is a variable that a Secret has.
func variableFrom(name string, from SecretKey) any {
	return Tree{"name": name, "valueFrom": Tree{"secretKeyRef": Tree{"name": from.Secret, "key": from.Key}}}
}

func literalVariable(name, value string) any { return variable(name, literal(value)) }

// literal keeps the kubelet from expanding $(NAME): it makes one $ of two.
func literal(text string) string { return strings.ReplaceAll(text, "$", "$$") }
