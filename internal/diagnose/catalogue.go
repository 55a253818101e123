package diagnose

import (
	"strings"
	"syscall"
)

// cause is one row of the catalogue of things that may still heal.
type cause struct {
	// patience is how many times the grace period this may last before the run is
	// failed for it. 0 means that it is told and never failed for: it heals by
	// itself, or Kubernetes ends it.
	patience int
	// text is what happened, as the middle of a sentence.
	text string
	// mend says what to do, empty where there is nothing to say.
	mend string
}

// ending is one row of the catalogue of things that are over.
type ending struct {
	text string
	mend string
}

// waits are the waiting reasons of a container that keep it from running
// (kubelet: pkg/kubelet/images/types.go, pkg/kubelet/container/sync_result.go,
// pkg/kubelet/kuberuntime/kuberuntime_container.go). Others, such as
// ContainerCreating and PodInitializing, are the way up.
var waits = map[string]cause{
	"ErrImagePull":               {1, "its image cannot be pulled", "Check the image's name and tag, and the image pull secrets."},
	"ImagePullBackOff":           {1, "its image cannot be pulled", "Check the image's name and tag, and the image pull secrets."},
	"InvalidImageName":           {1, "the name of its image is not valid", "Correct the image in the run config or the flow's storage."},
	"ErrImageNeverPull":          {1, "its image is not on the node and may not be pulled", "Change the image pull policy, or load the image on the nodes."},
	"RegistryUnavailable":        {1, "the registry of its image cannot be reached", "Check the registry and the way to it from the nodes."},
	"ImageInspectError":          {1, "its image cannot be read on the node", "Remove the broken image from the node."},
	"SignatureValidationFailed":  {1, "the signature of its image is not accepted", "Sign the image, or change the node's policy."},
	"CreateContainerConfigError": {1, "something its configuration names is missing", "Create the Secret, ConfigMap or key that the message names."},
	"CreateContainerError":       {1, "it cannot be created on the node", ""},
	"RunContainerError":          {1, "it cannot be started on the node", "Check the image's command and entry point."},
	"CrashLoopBackOff":           {0, "it fails and is restarted again and again", ""},
}

// podEnds are the reasons that a failed Pod itself may carry, and the reasons of
// its DisruptionTarget condition (kubelet: pkg/kubelet/eviction, preemption,
// nodeshutdown; k8s.io/api/core/v1 PodReason constants).
var podEnds = map[string]ending{
	"Evicted":                  {"was evicted because its node ran short of a resource", "Request what the flow needs, so that the scheduler reserves it."},
	"DeadlineExceeded":         {"ran longer than its deadline (activeDeadlineSeconds)", ""},
	"NodeLost":                 {"was lost with its node", ""},
	"NodeShutdown":             {"was ended because its node was shut down", ""},
	"Shutdown":                 {"was ended because its node was shut down", ""},
	"Terminated":               {"was ended because its node was shut down", ""},
	"NodeAffinity":             {"was refused by its node, whose labels no longer fit", ""},
	"UnexpectedAdmissionError": {"was refused by its node", ""},
	"OutOfcpu":                 {"was refused by its node for lack of cpu", ""},
	"OutOfmemory":              {"was refused by its node for lack of memory", ""},
	"OutOfpods":                {"was refused by its node, which has no room for more pods", ""},
	"Preempting":               {"was ended to make room for a more important pod", ""},
	"PreemptionByScheduler":    {"was ended to make room for a more important pod", ""},
	"DeletionByTaintManager":   {"was deleted because its node was lost or tainted", ""},
	"DeletionByPodGC":          {"was lost with its node", ""},
	"EvictionByEvictionAPI":    {"was evicted through the API, as a drain of its node does", ""},
	"TerminationByKubelet":     {"was ended by its node, which ran short of a resource or was shut down", ""},
}

// containerEnds are the reasons of a container's end that say more than its
// exit code.
var containerEnds = map[string]ending{
	"OOMKilled":              {"ran out of memory", "Raise the memory limit in the run config, or make the flow need less."},
	"StartError":             {"could not be started", "Check the image's command and entry point."},
	"ContainerCannotRun":     {"could not be started", "Check the image's command and entry point."},
	"DeadlineExceeded":       {"ran longer than its deadline", ""},
	"ContainerStatusUnknown": {"was lost: its node no longer knew it", ""},
}

// jobEnds are the reasons of a Job's Failed condition that say more than its Pods
// (k8s.io/api/batch/v1 JobReason constants).
var jobEnds = map[string]ending{
	"DeadlineExceeded":         {"ran longer than its deadline (activeDeadlineSeconds)", ""},
	"MaxFailedIndexesExceeded": {"has too many failed indexes", ""},
	"FailedIndexes":            {"has failed indexes", ""},
}

// refusals are the causes behind a FailedCreate event of a Job. The event has no
// code but only a text, made of the API server's refusal, so the texts of the
// admission plugins are what there is to go by. A quota heals when other Pods
// end and a webhook when it is back, so they get more time. The first row that
// fits counts; the last fits always.
var refusals = []struct {
	words  []string
	reason string
	cause
}{
	{[]string{"exceeded quota"}, "QuotaExceeded", cause{15, "a resource quota of the namespace is used up", "Raise the quota, or start fewer runs at once."}},
	{[]string{"serviceaccount", "not found"}, "MissingServiceAccount", cause{1, "its service account does not exist", "Create it, or name another one in the run config."}},
	{[]string{"failed calling webhook"}, "WebhookUnavailable", cause{5, "an admission webhook cannot be reached", "Repair the webhook."}},
	{[]string{"admission webhook", "denied"}, "WebhookDenied", cause{1, "an admission webhook refused it", ""}},
	{[]string{"violates PodSecurity"}, "PodSecurity", cause{1, "the namespace's pod security level does not allow it", "Give the template a security context that fits, or change the level."}},
	{[]string{"is forbidden"}, "Forbidden", cause{1, "the API server refused it", ""}},
	{nil, "FailedCreate", cause{1, "the Job controller cannot create it", ""}},
}

func refusal(message string) (string, cause) {
	last := refusals[len(refusals)-1]
	for _, r := range refusals {
		fits := true
		for _, word := range r.words {
			fits = fits && strings.Contains(message, word)
		}
		if fits {
			return r.reason, r.cause
		}
	}
	return last.reason, last.cause
}

// mounts are the events of a Pod that keep its containers from being created.
var mounts = map[string]cause{
	"FailedMount":            {5, "a volume cannot be mounted", "Create the Secret, ConfigMap or claim that the message names."},
	"FailedAttachVolume":     {5, "a volume cannot be attached", ""},
	"FailedCreatePodSandBox": {5, "its network cannot be set up", ""},
}

// unschedulable and gated are reasons of the PodScheduled condition.
const (
	unschedulable = "Unschedulable"
	gated         = "SchedulingGated"
)

var noNode = cause{0, "no node can take it", "It is started as soon as a node has room; check requests, node selectors and tolerations."}

// signal is the signal that ended a container, 0 if none did: runtimes report
// it as 128 + n.
func (t Termination) signal() syscall.Signal {
	const base, highest = 128, 31
	if t.Signal != 0 {
		return syscall.Signal(t.Signal)
	}
	if n := t.ExitCode - base; n > 0 && n <= highest {
		return syscall.Signal(n)
	}
	return 0
}

// signalNames are those a flow process may meet; syscall has no table of names.
var signalNames = map[syscall.Signal]string{
	syscall.SIGHUP: "SIGHUP", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT", syscall.SIGILL: "SIGILL",
	syscall.SIGABRT: "SIGABRT", syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE", syscall.SIGKILL: "SIGKILL",
	syscall.SIGSEGV: "SIGSEGV", syscall.SIGPIPE: "SIGPIPE", syscall.SIGALRM: "SIGALRM", syscall.SIGTERM: "SIGTERM",
	syscall.SIGXCPU: "SIGXCPU", syscall.SIGXFSZ: "SIGXFSZ", syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2",
}
