package jobspec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// Change is one named difference between the Job we make and the reference's.
type Change struct {
	// Name is what --keep takes, Defect the reason, such as D-35; empty where the
	// change is not the mend of a defect.
	Name, Defect string
	// Does says what differs, for the docs.
	Does string
	// Fixed is whether delivery rests on the change, so that Keep has no power over it.
	Fixed bool
	// Sets are the fields that the change sets or removes, in the words that
	// refusals use for them.
	Sets  []string
	apply func(h *hardening)
}

// Changes returns the changes in the order in which Harden applies them.
func Changes() []Change {
	return []Change{
		{"template-metadata", "", "what of a template only the cluster sets is left out: resourceVersion, uid, owners, finalizers, selector, status and their like", true, nil, (*hardening).dropServerOwned},
		{"type", "D-44", "apiVersion, kind and the name of the first container are filled in where a template left them out", true, nil, (*hardening).setType},
		{"name", "D-17", "the Job's name is made of flow run and attempt, so that the API server refuses a second one", true, nil, (*hardening).setName},
		{"labels", "D-47", "our labels stand on Job and pod template", true, nil, (*hardening).setLabels},
		{"annotations", "", "attempt, names of flow run and flow, and an environment that starts a Job of its own are annotations of Job and pod template", true, nil, (*hardening).setAnnotations},
		{"namespace", "D-44", "metadata.namespace is the agent's", true, nil, (*hardening).setNamespace},
		{"no-restart", "D-35", "backoffLimit is 0 unless the template sets one", false, []string{"backoffLimit"}, (*hardening).setBackoffLimit},
		{"retention", "", "ttlSecondsAfterFinished is never shorter than the time for which the name must stay taken", true, nil, (*hardening).setTTL},
		{"pull-secrets", "D-32", "image pull secrets without a name are left out, a comma list is a list", false, []string{"imagePullSecrets"}, (*hardening).setPullSecrets},
		{"pull-policy", "D-33", "imagePullPolicy is the agent's setting if there is one", false, []string{"imagePullPolicy"}, (*hardening).setPullPolicy},
		{"cpu-limit", "D-33", "no cpu limit unless one is set", false, []string{"limits.cpu", "cpu limit", "cpu limits", "maximum cpu usage", "cpu and memory resource requests and limits"}, (*hardening).setCPULimit},
		{"resources", "D-43", "the agent's memory and cpu settings are defaults for flows with a run config too", false, nil, (*hardening).setResources},
		{"volumes", "D-43", "the agent's volumes and mounts are added where the Job has none of that name and path", false, []string{"volumeMounts"}, (*hardening).setVolumes},
		{"log-level", "D-33", "the log level of flow runs is the agent's setting if there is one", false, []string{envLogLevel}, (*hardening).setLogLevel},
		{"context-namespace", "D-31", "PREFECT__CONTEXT__NAMESPACE is the namespace really used", false, []string{envNamespace}, (*hardening).setContextNamespace},
		{"service-account", "", "environment flows of 0.12.0 and later get the agent's service account, as from the agents of that time", false, []string{"serviceAccountName"}, (*hardening).setServiceAccount},
		{"backend", "D-37", "PREFECT__BACKEND is passed", false, []string{envBackend}, (*hardening).setBackend},
		{"run-command", "D-46", "flows of 0.13.0 and later are started with the command they know", false, nil, (*hardening).setRunCommand},
		{"shell-args", "", "where a template's command is a shell with -c, such as /bin/sh -c, the flow's command is its script, as one word; other commands get it in words", false, nil, (*hardening).setShellArgs},
		{"credential", "D-36", "the credential is a reference to a Secret where one is named; an empty one is left out", false, []string{"secretKeyRef", envAPIKey, envAuthToken}, (*hardening).setCredential},
		{"safe-to-evict", "D-64", "the cluster autoscaler may not evict the pod", false, []string{annotationSafeToEvict}, (*hardening).setSafeToEvict},
		{"pod-security", "", "no privilege escalation in any container, and the runtime's seccomp profile, where the template says nothing else", false, []string{"seccompProfile", "seccomp", "allowPrivilegeEscalation"}, (*hardening).setSecurity},
	}
}

// Harden returns a copy of the tree with all Changes applied. The name is the
// Job's, the attempt what it starts. Values of a wrong type are left alone:
// Decode reports them with their place.
func Harden(tree Tree, run FlowRun, s Settings, name, attempt string) Tree {
	copied, _ := clone(tree).(Tree)
	h := hardening{tree: copied, run: run, settings: s, name: name, attempt: attempt, warnings: new(warnings)}
	h.apply()
	return copied
}

type hardening struct {
	tree          Tree
	run           FlowRun
	settings      Settings
	name, attempt string
	legacy        bool
	warnings      *warnings
	// The places of the tree; never nil, but detached from it where the tree
	// holds something else there.
	job, spec, podTemplate, podMetadata, pod, container Tree
}

func (h *hardening) apply() {
	b := builder{run: h.run, settings: h.settings}
	h.legacy = b.kind() == ByEnvironment
	h.job = child(h.tree, "metadata")
	h.spec = child(h.tree, "spec")
	h.podTemplate = child(h.spec, "template")
	h.podMetadata = child(h.podTemplate, "metadata")
	h.pod = child(h.podTemplate, "spec")
	h.container = Tree{}
	if containers, ok := h.pod["containers"].([]any); ok && len(containers) > 0 {
		if container, ok := containers[0].(Tree); ok {
			h.container = container
		}
	}
	for _, change := range Changes() {
		if change.Fixed || !slices.Contains(h.settings.Keep, change.Name) {
			change.apply(h)
		}
	}
	h.warnLoopback()
}

// child returns parent[key] as an object, made if it is absent or null.
func child(parent Tree, key string) Tree {
	if value, given := parent[key]; given && value != nil {
		if object, ok := value.(Tree); ok {
			return object
		}
		return Tree{}
	}
	object := Tree{}
	parent[key] = object
	return object
}

// setDefault sets a key that is absent or null.
func setDefault(tree Tree, key string, value any) {
	if tree[key] == nil {
		tree[key] = value
	}
}

func (h *hardening) setType() {
	setDefault(h.tree, "apiVersion", "batch/v1")
	setDefault(h.tree, "kind", "Job")
	setDefault(h.container, "name", "flow")
}

func (h *hardening) setName() {
	built := h.job["name"]
	h.job["name"] = h.name
	delete(h.job, "generateName")
	if h.legacy {
		h.setOldLabels(built)
	}
}

// setOldLabels gives the labels of 0.11.0 to 0.13.1 the values of the Job, also
// where job_spec.yaml had texts in their place that nothing replaced.
func (h *hardening) setOldLabels(built any) {
	for _, labels := range h.labels() {
		if app := labels["app"]; app != nil && (app == built || app == "prefect-job-UUID") {
			labels["app"], labels["identifier"] = h.name, flowrun.Identifier(h.run.ID, h.attempt)
		}
	}
}

func (h *hardening) labels() []Tree {
	return []Tree{child(h.job, "labels"), child(h.podMetadata, "labels")}
}

func (h *hardening) setLabels() {
	for _, labels := range h.labels() {
		labels[flowrun.LabelManagedBy] = flowrun.ManagedBy
		labels[flowrun.LabelIdentifier] = flowrun.Identifier(h.run.ID, h.attempt)
		labels[flowrun.LabelFlowRunID] = string(h.run.ID)
		labels[flowrun.LabelFlowID] = h.run.FlowID
	}
}

const maxAnnotation = 1024

func (h *hardening) setAnnotations() {
	for _, annotations := range []Tree{child(h.job, "annotations"), child(h.podMetadata, "annotations")} {
		annotations[flowrun.AnnotationAttempt] = h.attempt
		annotations[flowrun.AnnotationFlowRunName] = plain.Line(h.run.Name, maxAnnotation)
		annotations[flowrun.AnnotationFlowName] = plain.Line(h.run.FlowName, maxAnnotation)
		delete(annotations, flowrun.AnnotationEnvironment)
		setText(annotations, flowrun.AnnotationEnvironment, h.handsOver())
	}
}

// handsOver is the type of an environment that may start another Job for the flow,
// empty if the flow runs in this one (prefect/environments/execution, 0.11.0 to
// 0.15.13). DaskKubernetesEnvironment, KubernetesJobEnvironment and
// FargateTaskEnvironment do, and what CustomEnvironment stands for may.
func (h *hardening) handsOver() string {
	environment, err := readObject("environment", h.run.Environment)
	if !h.legacy || err != nil {
		return ""
	}
	kind, err := environment.text("type")
	if err != nil || kind == nil {
		return ""
	}
	switch *kind {
	case "LocalEnvironment", "RemoteEnvironment", "RemoteDaskEnvironment":
		return ""
	}
	return plain.Line(*kind, maxAnnotation)
}

func (h *hardening) setNamespace() { setText(h.job, "namespace", h.settings.Namespace) }

func (h *hardening) setBackoffLimit() { setDefault(h.spec, "backoffLimit", int64(0)) }

func (h *hardening) setTTL() {
	least := int64(flowrun.Retention.Seconds())
	if seconds, ok := h.spec["ttlSecondsAfterFinished"].(int64); ok && seconds < least {
		h.warnings.add("spec.ttlSecondsAfterFinished", fmt.Sprintf("is raised to %d: so long the Job's name must stay taken, since it keeps the run from starting twice", least), "write at least that")
		h.spec["ttlSecondsAfterFinished"] = least
	}
}

func (h *hardening) setPullSecrets() {
	secrets, ok := h.pod["imagePullSecrets"].([]any)
	if !ok {
		return
	}
	if h.legacy {
		secrets = split(secrets)
	}
	secrets = slices.DeleteFunc(secrets, func(item any) bool {
		secret, ok := item.(Tree)
		return ok && (secret["name"] == nil || secret["name"] == "")
	})
	if len(secrets) == 0 {
		delete(h.pod, "imagePullSecrets")
		return
	}
	h.pod["imagePullSecrets"] = secrets
}

// split makes one secret of each name in a comma list.
func split(secrets []any) []any {
	var out []any
	for _, item := range secrets {
		secret, _ := item.(Tree)
		names, _ := secret["name"].(string)
		if !strings.Contains(names, ",") {
			out = append(out, item)
			continue
		}
		for name := range strings.SplitSeq(names, ",") {
			out = append(out, Tree{"name": strings.TrimSpace(name)})
		}
	}
	return out
}

func (h *hardening) setPullPolicy() {
	policy := h.settings.ImagePullPolicy
	if policy != "" && (h.legacy || h.container["imagePullPolicy"] == nil) {
		if own := h.container["imagePullPolicy"]; own != nil && own != policy && !h.builtin() {
			h.warnings.add(inContainer+".imagePullPolicy", "has no effect: IMAGE_PULL_POLICY of the agent counts more", "keep one of them")
		}
		h.container["imagePullPolicy"] = policy
	}
}

func (h *hardening) resources() (requests, limits Tree) {
	resources := child(h.container, "resources")
	return child(resources, "requests"), child(resources, "limits")
}

// builtin is whether the Job is that of an environment flow without a template of
// the agent's, so that nobody chose what it says.
func (h *hardening) builtin() bool { return h.legacy && h.settings.EnvironmentTemplatePath == "" }

func (h *hardening) setCPULimit() {
	if _, limits := h.resources(); h.builtin() && h.settings.JobCPULimit == "" {
		delete(limits, "cpu")
	}
}

// setResources leaves a resource alone as soon as the flow says anything about
// it: half a setting from each side may be a request above the limit.
func (h *hardening) setResources() {
	if h.legacy {
		return
	}
	s := h.settings
	requests, limits := h.resources()
	if requests["memory"] == nil && limits["memory"] == nil {
		setText(requests, "memory", s.JobMemRequest)
		setText(limits, "memory", s.JobMemLimit)
	}
	if requests["cpu"] == nil && limits["cpu"] == nil {
		setText(requests, "cpu", s.JobCPURequest)
		setText(limits, "cpu", s.JobCPULimit)
	}
}

// setVolumes adds what the constructor of 0.13.4 and later takes.
func (h *hardening) setVolumes() {
	if h.legacy {
		dropNameless(h.pod, "volumes")
		dropNameless(h.container, "volumeMounts")
	}
	addNew(h.pod, "volumes", "name", h.settings.Volumes)
	addNew(h.container, "volumeMounts", "mountPath", h.settings.VolumeMounts)
}

// dropNameless leaves out what stands in job_spec.yaml of 0.13.4 and later to be
// replaced, and comes along with copies of it.
func dropNameless(parent Tree, list string) {
	items, ok := parent[list].([]any)
	if !ok {
		return
	}
	parent[list] = slices.DeleteFunc(items, func(item any) bool {
		o, ok := item.(Tree)
		return ok && len(o) == 1 && o["name"] == ""
	})
}

// addNew appends to a list the items whose key no item of it has.
func addNew(parent Tree, list, key string, items []Tree) {
	present, ok := parent[list].([]any)
	if !ok && parent[list] != nil || len(items) == 0 {
		return
	}
	for _, item := range items {
		if !slices.ContainsFunc(present, func(other any) bool {
			o, ok := other.(Tree)
			return ok && o[key] == item[key]
		}) {
			present = append(present, clone(item))
		}
	}
	parent[list] = present
}

func (h *hardening) setLogLevel() {
	if variable := h.variable(envLogLevel); h.legacy && h.settings.FlowLogLevel != "" && !h.settings.Defaulted.FlowLogLevel && variable != nil {
		variable["value"] = h.settings.FlowLogLevel
	}
}

func (h *hardening) setContextNamespace() {
	if variable := h.variable(envNamespace); h.legacy && h.settings.Namespace != "" && variable != nil {
		variable["value"] = h.settings.Namespace
	}
}

func (h *hardening) setBackend() {
	env, ok := h.container["env"].([]any)
	if !ok || h.settings.Backend == "" || h.variable(envBackend) != nil {
		return
	}
	h.container["env"] = append(env, Tree{"name": envBackend, "value": h.settings.Backend})
}

// variable is the first entry of that name, which is the agent's own: what a
// user adds to it comes later and wins.
func (h *hardening) variable(name string) Tree {
	env, _ := h.container["env"].([]any)
	for _, item := range env {
		if variable, ok := item.(Tree); ok && variable["name"] == name {
			return variable
		}
	}
	return nil
}

func (h *hardening) setRunCommand() {
	if h.legacy && h.run.since("0.13.0") {
		h.container["args"] = []any{commandFlowRun}
	}
}

func (h *hardening) setServiceAccount() {
	account := h.settings.ServiceAccountName
	switch {
	case !h.legacy || account == nil || *account == "":
	case h.run.since("0.12.0"):
		if own := h.pod["serviceAccountName"]; own != nil && own != *account {
			h.warnings.add(inPodSpec+".serviceAccountName", "has no effect: the agent's service account counts more", "keep one of them")
		}
		h.pod["serviceAccountName"] = *account
	default:
		h.warnings.put(Warning{
			Place: "the agent's service account", Text: "has no effect: the agents of 0.11 gave none to flows with an environment",
			Mend: "name it in the job spec of YAML_TEMPLATE, or register the flow again with a later release", OfAgent: true,
		})
	}
}

// refer makes a variable one that a Secret has.
func refer(variable Tree, from SecretKey) {
	delete(variable, "value")
	variable["valueFrom"] = Tree{"secretKeyRef": Tree{"name": from.Secret, "key": from.Key}}
}

func (h *hardening) setCredential() {
	env, ok := h.container["env"].([]any)
	if !ok {
		return
	}
	h.container["env"] = slices.DeleteFunc(env, func(item any) bool {
		variable, ok := item.(Tree)
		if ok && variable["name"] == envAPI && variable["value"] == h.settings.API && h.settings.APIFrom != nil {
			refer(variable, *h.settings.APIFrom)
		}
		if !ok || variable["name"] != envAuthToken && variable["name"] != envAPIKey || variable["value"] != h.settings.Credential {
			return false
		}
		if from := h.settings.CredentialFrom; from != nil {
			refer(variable, *from)
			return false
		}
		return h.settings.Credential == ""
	})
}

const annotationSafeToEvict = "cluster-autoscaler.kubernetes.io/safe-to-evict"

func (h *hardening) setSafeToEvict() {
	setDefault(child(h.podMetadata, "annotations"), annotationSafeToEvict, "false")
}

// setSecurity asks for what the restricted pod security standard asks for, as
// far as images that run as root still work: no user, no dropped capabilities.
func (h *hardening) setSecurity() {
	if h.windows() {
		return
	}
	setDefault(child(h.pod, "securityContext"), "seccompProfile", Tree{"type": "RuntimeDefault"})
	for _, list := range []string{"initContainers", "containers"} {
		containers, _ := h.pod[list].([]any)
		for _, item := range containers {
			container, ok := item.(Tree)
			if !ok {
				continue
			}
			if security := child(container, "securityContext"); !privileged(security) {
				setDefault(security, "allowPrivilegeEscalation", false)
			}
		}
	}
}

func (h *hardening) windows() bool {
	system, _ := h.pod["os"].(Tree)
	selector, _ := h.pod["nodeSelector"].(Tree)
	return system["name"] == "windows" || selector["kubernetes.io/os"] == "windows"
}

// privileged is where the API server refuses allowPrivilegeEscalation: false.
func privileged(security Tree) bool {
	if security["privileged"] == true {
		return true
	}
	capabilities, _ := security["capabilities"].(Tree)
	added, _ := capabilities["add"].([]any)
	return slices.ContainsFunc(added, func(item any) bool { return item == "SYS_ADMIN" || item == "CAP_SYS_ADMIN" || item == "ALL" })
}
