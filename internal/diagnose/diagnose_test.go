package diagnose_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

var update = flag.Bool("update", false, "write the golden files")

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const runID = "3f1c9f5e-0f2c-4d46-9a3e-0d8c3a0b7f11"

func at(seconds int) metav1.Time {
	return metav1.NewTime(start.Add(time.Duration(seconds) * time.Second))
}

func job(mods ...func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: "prefect-job-x", Namespace: "flows", UID: "job-uid", ResourceVersion: "7", CreationTimestamp: at(0),
			Labels:      map[string]string{flowrun.LabelFlowRunID: runID, flowrun.LabelManagedBy: flowrun.ManagedBy},
			Annotations: map[string]string{flowrun.AnnotationAttempt: "v3"},
		},
		Spec: batchv1.JobSpec{BackoffLimit: new(int32(0))},
	}
	for _, mod := range mods {
		mod(j)
	}
	return j
}

func condition(kind batchv1.JobConditionType, reason, message string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: at(90),
		})
	}
}

func pod(phase corev1.PodPhase, mods ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "prefect-job-x-abcde", Namespace: "flows", UID: "pod-uid", CreationTimestamp: at(1),
			Labels:          map[string]string{flowrun.LabelFlowRunID: runID},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Job", UID: "job-uid", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{
			NodeName: "node-1",
			Containers: []corev1.Container{{
				Name:      "flow",
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}},
			}},
		},
		Status: corev1.PodStatus{Phase: phase},
	}
	for _, mod := range mods {
		mod(p)
	}
	return p
}

func ended(container string, code int32, reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: code, Reason: reason, Message: message, StartedAt: at(10), FinishedAt: at(60),
			}},
		})
	}
}

func waiting(container, reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		})
	}
}

func running() func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: "flow", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(10)}},
		})
	}
}

func sidecar(p *corev1.Pod) {
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "proxy"})
}

func podReason(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Reason, p.Status.Message = reason, message }
}

func podCondition(kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: at(30),
		})
	}
}

func called(name string, seconds int) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Name, p.CreationTimestamp = name, at(seconds) }
}

func event(reason, message string) corev1.Event {
	return corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: "Job", Name: "prefect-job-x", UID: "job-uid"}, Type: corev1.EventTypeWarning,
		Reason: reason, Message: message, LastTimestamp: at(20),
	}
}

type verdictCase struct {
	job    *batchv1.Job
	pods   []*corev1.Pod
	events []corev1.Event
	kind   diagnose.Kind
	reason string
}

const noQuota = `Error creating: pods "prefect-job-x-zz" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1`

func verdictCases() map[string]verdictCase {
	one := func(p *corev1.Pod) []*corev1.Pod { return []*corev1.Pod{p} }
	parallelism0 := func(j *batchv1.Job) { j.Spec.Parallelism = new(int32(0)) }
	stoppedJob, deleting := job(parallelism0), func(p *corev1.Pod) { p.DeletionTimestamp = new(at(50)) }
	failed := condition(batchv1.JobFailed, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
	return map[string]verdictCase{
		"no pod yet":                           {job: job(), kind: diagnose.Pending, reason: "NoPod"},
		"suspended":                            {job: job(func(j *batchv1.Job) { j.Spec.Suspend = new(true) }), kind: diagnose.Pending, reason: "Suspended"},
		"no job":                               {kind: diagnose.Gone, reason: "JobDeleted"},
		"job on its way out":                   {job: job(func(j *batchv1.Job) { j.DeletionTimestamp = new(at(50)) }), kind: diagnose.Gone, reason: "JobDeleted"},
		"complete":                             {job: job(condition(batchv1.JobComplete, "", "")), kind: diagnose.Succeeded, reason: diagnose.NeverBegan},
		"about to be complete":                 {job: job(condition(batchv1.JobSuccessCriteriaMet, "CompletionsReached", "")), kind: diagnose.Succeeded, reason: diagnose.NeverBegan},
		"pod succeeded before the job says so": {job: job(), pods: one(pod(corev1.PodSucceeded, ended("flow", 0, "Completed", ""))), kind: diagnose.Succeeded, reason: diagnose.NeverBegan},
		"container created":                    {job: job(), pods: one(pod(corev1.PodPending, waiting("flow", "ContainerCreating", ""))), kind: diagnose.Starting},
		"running":                              {job: job(), pods: one(pod(corev1.PodRunning, running())), kind: diagnose.Running},
		"exit code":                            {job: job(failed), pods: one(pod(corev1.PodFailed, ended("flow", 3, "Error", ""))), kind: diagnose.Failed, reason: "Error"},
		"exit code before the job says so":     {job: job(), pods: one(pod(corev1.PodFailed, ended("flow", 3, "Error", ""))), kind: diagnose.Failed, reason: "Error"},
		"signal":                               {job: job(), pods: one(pod(corev1.PodFailed, ended("flow", 139, "Error", ""))), kind: diagnose.Failed, reason: "Error"},
		"exit code above every signal":         {job: job(), pods: one(pod(corev1.PodFailed, ended("flow", 255, "Error", ""))), kind: diagnose.Failed, reason: "Error"},
		"out of memory":                        {job: job(), pods: one(pod(corev1.PodFailed, ended("flow", 137, "OOMKilled", ""))), kind: diagnose.Failed, reason: "OOMKilled"},
		"out of memory beside a sidecar that ended first": {
			job: job(), pods: one(pod(corev1.PodFailed, sidecar, ended("proxy", 1, "Error", ""), ended("flow", 137, "OOMKilled", ""))),
			kind: diagnose.Failed, reason: "OOMKilled",
		},
		"command not found": {
			job: job(), pods: one(pod(corev1.PodFailed, ended("flow", 128, "StartError", `exec: "prefekt": executable file not found in $PATH`))),
			kind: diagnose.Failed, reason: "StartError",
		},
		"init container": {
			job: job(), kind: diagnose.Failed, reason: "Error",
			pods: one(pod(corev1.PodFailed, func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{{Name: "prepare"}}
				p.Status.InitContainerStatuses = []corev1.ContainerStatus{{
					Name: "prepare", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error", FinishedAt: at(5)}},
				}}
			}, waiting("flow", "PodInitializing", ""))),
		},
		"evicted": {
			job: job(), pods: one(pod(corev1.PodFailed, podReason("Evicted", "The node was low on resource: memory."))),
			kind: diagnose.Failed, reason: "Evicted",
		},
		"node lost": {
			job: job(), pods: one(pod(corev1.PodFailed, ended("flow", 137, "ContainerStatusUnknown", "The container could not be located when the pod was deleted."),
				podCondition(corev1.DisruptionTarget, corev1.ConditionTrue, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"))),
			kind: diagnose.Failed, reason: "DeletionByTaintManager",
		},
		"drained": {
			job: job(), pods: one(pod(corev1.PodFailed, ended("flow", 143, "Error", ""),
				podCondition(corev1.DisruptionTarget, corev1.ConditionTrue, "EvictionByEvictionAPI", "Eviction API: evicting"))),
			kind: diagnose.Failed, reason: "EvictionByEvictionAPI",
		},
		"out of memory on a node under pressure": {
			job: job(), pods: one(pod(corev1.PodFailed, ended("flow", 137, "OOMKilled", ""),
				podCondition(corev1.DisruptionTarget, corev1.ConditionTrue, "TerminationByKubelet", ""))),
			kind: diagnose.Failed, reason: "OOMKilled",
		},
		"a reason nobody knows": {
			job: job(), pods: one(pod(corev1.PodFailed, podReason("Strange", "something new"))), kind: diagnose.Failed, reason: "Strange",
		},
		"deadline": {
			job:  job(condition(batchv1.JobFailed, "DeadlineExceeded", "Job was active longer than specified deadline")),
			pods: one(pod(corev1.PodFailed, ended("flow", 143, "Error", ""))), kind: diagnose.Failed, reason: "DeadlineExceeded",
		},
		"backoff limit, pods gone": {job: job(failed), kind: diagnose.Failed, reason: "BackoffLimitExceeded"},
		"announced by failure target": {
			job:  job(condition(batchv1.JobFailureTarget, "BackoffLimitExceeded", "Job has reached the specified backoff limit")),
			pods: one(pod(corev1.PodFailed, ended("flow", 1, "Error", ""))), kind: diagnose.Failed, reason: "Error",
		},
		"first of several tries": {
			job:  job(func(j *batchv1.Job) { j.Spec.BackoffLimit = new(int32(2)) }),
			pods: one(pod(corev1.PodFailed, ended("flow", 1, "Error", ""))), kind: diagnose.Pending, reason: "Retry",
		},
		"another try runs": {
			job:  job(func(j *batchv1.Job) { j.Spec.BackoffLimit = new(int32(2)) }),
			pods: []*corev1.Pod{pod(corev1.PodFailed, ended("flow", 1, "Error", "")), pod(corev1.PodRunning, called("second", 30), running())},
			kind: diagnose.Running,
		},
		"last of several tries": {
			job:  job(func(j *batchv1.Job) { j.Spec.BackoffLimit = new(int32(1)) }),
			pods: []*corev1.Pod{pod(corev1.PodFailed, ended("flow", 1, "Error", "")), pod(corev1.PodFailed, called("second", 30), ended("flow", 7, "Error", ""))},
			kind: diagnose.Failed, reason: "Error",
		},
		"failure policy decides": {
			job:  job(func(j *batchv1.Job) { j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{} }),
			pods: one(pod(corev1.PodFailed, ended("flow", 1, "Error", ""))), kind: diagnose.Pending, reason: "Retry",
		},
		"stopped":                       {job: stoppedJob, kind: diagnose.Stopped, reason: "JobStopped"},
		"stopped, its pod killed":       {job: stoppedJob, pods: one(pod(corev1.PodFailed, deleting, ended("flow", 137, "Error", ""))), kind: diagnose.Stopped, reason: "JobStopped"},
		"stopped, its pod ended well":   {job: stoppedJob, pods: one(pod(corev1.PodSucceeded, deleting)), kind: diagnose.Stopped, reason: "JobStopped"},
		"stopped, its pod had ended":    {job: stoppedJob, pods: one(pod(corev1.PodSucceeded)), kind: diagnose.Succeeded, reason: diagnose.NeverBegan},
		"stopped, its pod still ends":   {job: stoppedJob, pods: one(pod(corev1.PodRunning, deleting, running())), kind: diagnose.Running},
		"stopped, could not get a pod":  {job: stoppedJob, events: []corev1.Event{event("FailedCreate", noQuota)}, kind: diagnose.Stopped, reason: "JobStopped"},
		"stopped and deleted":           {job: job(parallelism0, func(j *batchv1.Job) { j.DeletionTimestamp = new(at(50)) }), kind: diagnose.Gone, reason: "JobDeleted"},
		"stopped after it was complete": {job: job(parallelism0, condition(batchv1.JobComplete, "", "")), kind: diagnose.Succeeded, reason: diagnose.NeverBegan},
		"stopped after it failed": {
			job:  job(parallelism0, func(j *batchv1.Job) { j.Spec.BackoffLimit = new(int32(6)) }),
			pods: one(pod(corev1.PodFailed, ended("flow", 143, "Error", ""))), kind: diagnose.Failed, reason: "Error",
		},
		"image pull": {
			job: job(), pods: one(pod(corev1.PodPending, waiting("flow", "ImagePullBackOff", `Back-off pulling image "nowhere/nothing:1"`))),
			kind: diagnose.Stuck, reason: "ImagePullBackOff",
		},
		"image name":     {job: job(), pods: one(pod(corev1.PodPending, waiting("flow", "InvalidImageName", ""))), kind: diagnose.Stuck, reason: "InvalidImageName"},
		"missing secret": {job: job(), pods: one(pod(corev1.PodPending, waiting("flow", "CreateContainerConfigError", `secret "s" not found`))), kind: diagnose.Stuck, reason: "CreateContainerConfigError"},
		"sidecar cannot be pulled while the flow runs": {
			job: job(), pods: one(pod(corev1.PodRunning, sidecar, running(), waiting("proxy", "ErrImagePull", ""))),
			kind: diagnose.Running, reason: "ErrImagePull",
		},
		"no node": {
			job: job(), pods: one(pod(corev1.PodPending, func(p *corev1.Pod) { p.Spec.NodeName = "" },
				podCondition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu."))),
			kind: diagnose.Stuck, reason: "Unschedulable",
		},
		"gated": {
			job: job(), pods: one(pod(corev1.PodPending, func(p *corev1.Pod) { p.Spec.NodeName = "" },
				podCondition(corev1.PodScheduled, corev1.ConditionFalse, "SchedulingGated", ""))),
			kind: diagnose.Pending, reason: "SchedulingGated",
		},
		"quota": {job: job(), events: []corev1.Event{event("FailedCreate", noQuota)}, kind: diagnose.Stuck, reason: "QuotaExceeded"},
		"service account": {
			job: job(), events: []corev1.Event{event("FailedCreate", `Error creating: pods "p" is forbidden: error looking up service account flows/none: serviceaccount "none" not found`)},
			kind: diagnose.Stuck, reason: "MissingServiceAccount",
		},
		"webhook down": {
			job: job(), events: []corev1.Event{event("FailedCreate", `Error creating: Internal error occurred: failed calling webhook "x": connection refused`)},
			kind: diagnose.Stuck, reason: "WebhookUnavailable",
		},
		"pod security": {
			job: job(), events: []corev1.Event{event("FailedCreate", `Error creating: pods "p" is forbidden: violates PodSecurity "restricted:latest"`)},
			kind: diagnose.Stuck, reason: "PodSecurity",
		},
		"refused before, created since": {
			job: job(), pods: one(pod(corev1.PodRunning, running())), events: []corev1.Event{event("FailedCreate", noQuota)},
			kind: diagnose.Running,
		},
		"missing volume": {
			job: job(), pods: one(pod(corev1.PodPending, waiting("flow", "ContainerCreating", ""))),
			events: []corev1.Event{{InvolvedObject: corev1.ObjectReference{Kind: "Pod", UID: "pod-uid"}, Reason: "FailedMount", Message: `configmap "c" not found`, LastTimestamp: at(20)}},
			kind:   diagnose.Stuck, reason: "FailedMount",
		},
	}
}

func (c verdictCase) facts() diagnose.Facts {
	f := diagnose.Facts{Now: start.Add(2 * time.Minute)}
	if c.job != nil {
		f.Job = new(diagnose.JobFacts(c.job))
	}
	for _, p := range c.pods {
		f.Pods = append(f.Pods, diagnose.PodFacts(p))
	}
	for i := range c.events {
		f.Events = append(f.Events, diagnose.EventFacts(&c.events[i]))
	}
	return f
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	for name, tt := range verdictCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := diagnose.Diagnose(tt.facts())
			if v.Kind != tt.kind || v.Reason != tt.reason {
				t.Errorf("got %v %q, want %v %q", v.Kind, v.Reason, tt.kind, tt.reason)
			}
		})
	}
}

// TestTexts pins what the owner of a run reads.
func TestTexts(t *testing.T) {
	t.Parallel()
	cases := verdictCases()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		v := diagnose.Diagnose(cases[name].facts())
		if v.Message == "" {
			continue
		}
		fmt.Fprintf(&b, "== %s\n%v, patience %d, since %s\n%s\n", name, v.Kind, v.Patience, v.Since.Format(time.TimeOnly), v.Message)
		for _, line := range v.Evidence {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	golden(t, "texts.golden", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestJobFacts(t *testing.T) {
	t.Parallel()
	got := diagnose.JobFacts(job(condition(batchv1.JobFailed, "DeadlineExceeded", "too long")))
	want := diagnose.Job{
		Namespace: "flows", Name: "prefect-job-x", UID: "job-uid", ResourceVersion: "7", RunID: runID, Managed: true, Attempt: "v3",
		Created: start, Parallelism: 1,
		Ended: diagnose.Condition{Type: "Failed", Reason: "DeadlineExceeded", Message: "too long", Since: start.Add(90 * time.Second)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestForeignTextsAreBounded(t *testing.T) {
	t.Parallel()
	p := diagnose.PodFacts(pod(corev1.PodFailed, podReason("Evicted", strings.Repeat("é", 5000)+"\x00\xff")))
	if len(p.Message) > 1100 || strings.ContainsAny(p.Message, "\x00") {
		t.Errorf("got %d bytes", len(p.Message))
	}
}

func TestStarted(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"pulling":                   {pod(corev1.PodPending, waiting("flow", "ErrImagePull", "")), false},
		"running":                   {pod(corev1.PodRunning, running()), true},
		"ended":                     {pod(corev1.PodFailed, ended("flow", 1, "Error", "")), true},
		"evicted before it started": {pod(corev1.PodFailed, podReason("Evicted", "")), false},
		"only an init container": {pod(corev1.PodPending, func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "i", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		}), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := diagnose.PodFacts(tt.pod).Started(); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

// TestARefusedPodGetsTheHint: what is known of our own changes stands behind the
// refusal, and says nothing about the Jobs of others.
func TestARefusedPodGetsTheHint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		python bool
		want   string
	}{"ours": {false, "seccomp may not be set. about: Error creating"}, "of a Python agent": {true, "seccomp may not be set"}} {
		f := verdictCase{job: job(), events: []corev1.Event{event("FailedCreate", "Error creating: seccomp may not be set")}}.facts()
		f.Job.Python, f.Hint = c.python, func(refusal string) string { return "about: " + refusal }
		if v := diagnose.Diagnose(f); !strings.Contains(v.Message, c.want) || strings.Contains(v.Message, "about: ") == c.python {
			t.Errorf("%s: %q, want it to end with %q", name, v.Message, c.want)
		}
	}
}
