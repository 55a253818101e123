// Package diagnose says what has become of a Job: it takes fixed records of the
// Job, its Pods and their events, and the time, and gives a Verdict with the
// culprit and the evidence. It is pure. It knows how Kubernetes tells of trouble
// and refuses to know what follows from it: no state, no deletion, no client.
package diagnose

import (
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// maxText bounds each text that is kept of an object.
const maxText = 1024

// Condition is one condition of a Job, zero if it does not hold.
type Condition struct {
	Type, Reason, Message string
	Since                 time.Time
}

// Job is what matters of a batchv1.Job.
type Job struct {
	Namespace, Name, UID, ResourceVersion string

	RunID flowrun.ID
	// Managed says that the Job is one of ours, Python that it is one of a Python
	// agent. A Job of neither is a foreign one.
	Managed, Python bool
	// Attempt is the start that the Job is, empty on Jobs of other programs.
	Attempt string
	// HandsOver says that the Job may end well once it has started another one for the
	// flow.
	HandsOver bool
	Created   time.Time
	// Deleting says that somebody deleted the Job and its name is not free yet.
	Deleting  bool
	Suspended bool
	// Parallelism is 0 on a Job that was stopped.
	Parallelism, BackoffLimit, Failed int32
	// FailurePolicy says that the Job decides by rules which failed Pods count.
	FailurePolicy bool
	// Ended is Complete or Failed. Ending is what announces it while Pods still
	// terminate: SuccessCriteriaMet or FailureTarget.
	Ended, Ending Condition
}

// Finished reports whether the Job controller is done with the Job.
func (j Job) Finished() bool { return j.Ended.Type != "" }

// JobFacts reduces a Job.
func JobFacts(j *batchv1.Job) Job {
	f := Job{
		Namespace: j.Namespace, Name: j.Name, UID: string(j.UID), ResourceVersion: j.ResourceVersion,
		RunID:   flowrun.RunOf(j.Name, j.Labels),
		Managed: flowrun.Managed(j.Labels), Python: flowrun.MadeByPython(j.Name, j.Labels),
		Attempt: j.Annotations[flowrun.AnnotationAttempt], HandsOver: j.Annotations[flowrun.AnnotationEnvironment] != "",
		Created: j.CreationTimestamp.Time, Deleting: j.DeletionTimestamp != nil,
		Suspended:     deref(j.Spec.Suspend, false),
		Parallelism:   deref(j.Spec.Parallelism, 1),
		BackoffLimit:  deref(j.Spec.BackoffLimit, 6), // the API server's default
		Failed:        j.Status.Failed,
		FailurePolicy: j.Spec.PodFailurePolicy != nil,
	}
	for _, c := range j.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		cond := Condition{Type: string(c.Type), Reason: c.Reason, Message: clean(c.Message), Since: c.LastTransitionTime.Time}
		switch c.Type {
		case batchv1.JobComplete, batchv1.JobFailed:
			f.Ended = cond
		case batchv1.JobSuccessCriteriaMet, batchv1.JobFailureTarget:
			f.Ending = cond
		case batchv1.JobSuspended:
			f.Suspended = true
		}
	}
	return f
}

// Pod is what matters of a corev1.Pod.
type Pod struct {
	Namespace, Name, UID, Node string

	RunID flowrun.ID
	// Managed says that the Pod is one of ours, Python that it is one of a Python agent.
	Managed, Python bool
	// JobUID is the UID of the Job that controls the Pod, empty if none does. Owned
	// says that anything owns it.
	JobUID   string
	Owned    bool
	Created  time.Time
	Deleting bool
	Phase    corev1.PodPhase
	// Reason and Message are the Pod's own, such as Evicted.
	Reason, Message string
	// Unscheduled is set while no node was found, with the scheduler's words.
	Unscheduled Condition
	// Disruption is set if Kubernetes itself ended the Pod: eviction,
	// preemption, a lost node.
	Disruption Condition
	// Containers are the init containers first, in the order of the spec.
	Containers []Container
}

// Live reports whether a process of the Pod runs or may still come to run.
func (p Pod) Live() bool { return p.Phase != corev1.PodSucceeded && p.Phase != corev1.PodFailed }

// Started reports whether a main container of the Pod ever ran.
func (p Pod) Started() bool {
	return p.Phase == corev1.PodRunning || slices.ContainsFunc(p.Containers, func(c Container) bool { return !c.Init && c.started() })
}

// FlowEnded is when the container of the flow, the first one, ended for good in a
// Pod that lives on for another container; zero if it did not.
func (p Pod) FlowEnded() time.Time {
	i := slices.IndexFunc(p.Containers, func(c Container) bool { return !c.Init })
	if i < 0 || !p.Live() || p.Containers[i].Ended == nil {
		return time.Time{}
	}
	return p.Containers[i].Ended.At
}

// Container is what matters of a container and its status.
type Container struct {
	Name string
	Init bool
	// Memory is the memory limit, empty if there is none.
	Memory string
	// Waiting and WaitingMessage say why the container does not run.
	Waiting, WaitingMessage string
	Running                 bool
	// Ended is how the container ended, Before how it ended before its last restart.
	Ended, Before *Termination
	Restarts      int32
}

func (c Container) started() bool {
	return c.Running || c.Restarts > 0 || c.Before != nil || c.Ended != nil && !c.Ended.At.IsZero()
}

// Termination is the end of a container.
type Termination struct {
	ExitCode, Signal int32
	Reason, Message  string
	At               time.Time
}

// PodFacts reduces a Pod.
func PodFacts(p *corev1.Pod) Pod {
	f := Pod{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Node: p.Spec.NodeName,
		RunID:   flowrun.RunOf(p.Name, p.Labels),
		Managed: flowrun.Managed(p.Labels), Python: flowrun.MadeByPython(p.Name, p.Labels),
		Owned: len(p.OwnerReferences) > 0, Created: p.CreationTimestamp.Time, Deleting: p.DeletionTimestamp != nil,
		Phase: p.Status.Phase, Reason: p.Status.Reason, Message: clean(p.Status.Message),
	}
	if owner := metav1.GetControllerOf(p); owner != nil && owner.Kind == "Job" {
		f.JobUID = string(owner.UID)
	}
	for _, c := range p.Status.Conditions {
		cond := Condition{Type: string(c.Type), Reason: c.Reason, Message: clean(c.Message), Since: c.LastTransitionTime.Time}
		switch {
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse:
			f.Unscheduled = cond
		case c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue:
			f.Disruption = cond
		}
	}
	f.Containers = append(containerFacts(p.Spec.InitContainers, p.Status.InitContainerStatuses, true),
		containerFacts(p.Spec.Containers, p.Status.ContainerStatuses, false)...)
	return f
}

func containerFacts(specs []corev1.Container, statuses []corev1.ContainerStatus, initial bool) []Container {
	facts := make([]Container, 0, len(specs))
	for _, spec := range specs {
		c := Container{Name: spec.Name, Init: initial}
		if limit, ok := spec.Resources.Limits[corev1.ResourceMemory]; ok {
			c.Memory = limit.String()
		}
		i := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == spec.Name })
		if i >= 0 {
			c.fill(statuses[i])
		}
		facts = append(facts, c)
	}
	return facts
}

func (c *Container) fill(s corev1.ContainerStatus) {
	c.Restarts = s.RestartCount
	c.Running = s.State.Running != nil
	c.Ended, c.Before = termination(s.State.Terminated), termination(s.LastTerminationState.Terminated)
	if w := s.State.Waiting; w != nil {
		c.Waiting, c.WaitingMessage = w.Reason, clean(w.Message)
	}
}

func termination(t *corev1.ContainerStateTerminated) *Termination {
	if t == nil {
		return nil
	}
	// A container that never started has no start time but may have an end
	// (kubelet: ContainerStatusUnknown).
	at := t.FinishedAt.Time
	if at.IsZero() {
		at = t.StartedAt.Time
	}
	return &Termination{ExitCode: t.ExitCode, Signal: t.Signal, Reason: t.Reason, Message: clean(t.Message), At: at}
}

// Event is what matters of a corev1.Event.
type Event struct {
	At time.Time
	// Kind, Name and UID are those of the object it is about.
	Kind, Name, UID string
	Warning         bool
	Reason, Message string
}

// EventFacts reduces an event. Its time is the last one of a series.
func EventFacts(e *corev1.Event) Event {
	at := e.LastTimestamp.Time
	if e.Series != nil && e.Series.LastObservedTime.After(at) {
		at = e.Series.LastObservedTime.Time
	}
	if at.IsZero() {
		at = e.EventTime.Time
	}
	if at.IsZero() {
		at = e.CreationTimestamp.Time
	}
	return Event{
		At: at, Kind: e.InvolvedObject.Kind, Name: e.InvolvedObject.Name, UID: string(e.InvolvedObject.UID),
		Warning: e.Type == corev1.EventTypeWarning, Reason: e.Reason, Message: clean(e.Message),
	}
}

// clean bounds a foreign text and makes it fit for a log and a database.
func clean(s string) string { return strings.TrimSpace(plain.Text(s, maxText)) }

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
