package reaper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// byPython makes the n-th run one that a Python agent of 1.4.1 started: no claim
// names it, and no label of ours is on its Job.
func byPython(w *world, n int, mods ...func(*batchv1.Job)) {
	w.lock(func() {
		w.runs[number(n)] = []flowrun.Row{foreign(1, flowrun.Scheduled), foreign(2, flowrun.Submitted), foreign(3, flowrun.Running)}
	})
	w.run(n, nil, append([]func(*batchv1.Job){func(j *batchv1.Job) {
		j.Name = flowrun.DefaultJobPrefix + "-" + j.Name
		j.Annotations = nil
		j.Labels = map[string]string{flowrun.LabelFlowRunID: string(number(n)), flowrun.LabelIdentifier: "4f0c1a9e"}
	}}, mods...)...)
}

// orphan takes the owner from a Pod and gives it a name and labels of a Python agent.
func orphan(w *world, n int) {
	w.lock(func() {
		for name, p := range w.pods {
			if p.Labels[flowrun.LabelFlowRunID] == string(number(n)) {
				delete(w.pods, name)
				p.Name, p.OwnerReferences = flowrun.DefaultJobPrefix+"-"+name, nil
				p.Labels[flowrun.LabelIdentifier] = "4f0c1a9e"
				w.pods[p.Name] = p
			}
		}
	})
	w.changed(string(number(n)))
}

func TestAJobOfAPythonAgentIsReportedAndDeleted(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		byPython(w, 1, failed)
		w.pod(1, corev1.PodFailed, endedWith(137, "OOMKilled"))
		byPython(w, 2, complete, func(j *batchv1.Job) { j.Name = "etl-2" })
		byPython(w, 3, failed, func(j *batchv1.Job) { // as 0.11.0 labels it
			j.Labels = map[string]string{flowrun.LabelFlowRunID0: string(number(3)), flowrun.LabelIdentifier0: "4f0c1a9e"}
		})
		pass(10 * time.Second)
		if v := w.verdicts(1); len(v) != 1 || !strings.Contains(v[0].State.Message, "OOMKilled") {
			t.Errorf("got %+v ten seconds after the end", v)
		}
		if v := w.verdicts(3); len(v) != 1 {
			t.Errorf("got %+v ten seconds after the end of a Job of 0.11.0", v)
		}
		if told := w.told(1); len(told) == 0 || !strings.HasPrefix(told[0], "ERROR Kubernetes Error: ") {
			t.Errorf("got %q in the run's log", told)
		}
		w.lock(func() { w.runs[number(2)] = append(w.runs[number(2)], foreign(4, flowrun.Success)) })
		pass(time.Hour)
		got := w.removed()
		slices.Sort(got)
		if !slices.Equal(got, []string{"prefect-job-job-1", "prefect-job-job-3"}) {
			t.Errorf("got %q deleted, want those that their names tell too", got)
		}
	})
}

// A Python agent writes Submitted first and makes the Job a moment later. Until then
// the Job of the attempt before is the newest.
func TestTheJobOfTheAttemptBeforeSaysNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for n := 1; n <= 2; n++ {
			byPython(w, n, failed)
			w.lock(func() {
				w.runs[number(n)] = append(w.runs[number(n)], foreign(4, flowrun.Failed), foreign(5, flowrun.Scheduled), foreign(6, flowrun.Submitted))
			})
		}
		replica(t, w)
		pass(5 * time.Second)
		byPython(w, 3)
		w.lock(func() {
			j := w.jobs["prefect-job-job-3"]
			j.Labels = map[string]string{flowrun.LabelFlowRunID: string(number(1)), flowrun.LabelIdentifier: "500d1b9f"}
			w.jobs[j.Name] = j
		})
		w.changed(string(number(1)))
		pass(10 * time.Minute)
		if v := w.verdicts(1); len(v) != 0 {
			t.Errorf("got %+v for a run whose Job came", v)
		}
		if v := w.verdicts(2); len(v) != 0 {
			t.Errorf("got %+v for a run whose Job never came here, but may have elsewhere", v)
		}
	})
}

// The cluster's answer to a Job that a person deleted, or that went with its node
// (D-63), for runs of a Python agent too.
func TestAJobOfAPythonAgentThatVanishesFailsItsRun(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		byPython(w, 1)
		w.pod(1, corev1.PodRunning, runs())
		pass(time.Minute)
		w.lock(func() { clear(w.jobs); clear(w.pods) })
		w.changed(string(number(1)))
		pass(time.Minute)
		if v := w.verdicts(1); len(v) != 1 || !strings.Contains(v[0].State.Message, "deleted") {
			t.Errorf("got %+v", v)
		}
	})
}

// A claim of ours holds the run, and all that is left of it is a Pod that nothing
// owns: it is the cause of what is told.
func TestAPodThatOutlivedOurJobIsTheCause(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for n := 1; n <= 3; n++ {
			w.run(n, isRunning)
		}
		w.pod(1, corev1.PodFailed, endedWith(3, "Error"))
		w.pod(2, corev1.PodRunning, runs())
		w.pod(3, corev1.PodSucceeded, endedWith(0, "Completed"))
		w.lock(func() { clear(w.jobs) })
		replica(t, w)
		for n := 1; n <= 3; n++ {
			orphan(w, n)
		}
		pass(time.Hour)
		if v := w.verdicts(1); len(v) != 1 || !strings.Contains(v[0].State.Message, "exit code 3") {
			t.Errorf("failed Pod: got %+v", v)
		}
		for n := 2; n <= 3; n++ {
			if v := w.verdicts(n); len(v) != 0 {
				t.Errorf("run %d, whose Pod has not failed: got %+v", n, v)
			}
		}
	})
}

// A run waits for a retry of a task run, and the Pod that ended well is all that is left.
func TestAPodThatEndedWellIsNotMissed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		byPython(w, 1)
		w.pod(1, corev1.PodRunning, runs())
		replica(t, w)
		pass(10 * time.Minute)
		w.lock(func() { clear(w.jobs); clear(w.pods) })
		w.pod(1, corev1.PodSucceeded, endedWith(0, "Completed"))
		orphan(w, 1)
		pass(time.Hour)
		if got := w.removed(); len(got) != 0 {
			t.Errorf("got %q deleted of a run that is not over", got)
		}
		w.lock(func() { clear(w.pods) })
		w.changed(string(number(1)))
		pass(time.Hour)
		if v := w.verdicts(1); len(v) != 0 {
			t.Errorf("got %+v", v)
		}
	})
}

// A flow may make Jobs with the labels of its own: they hide no Job of ours.
func TestAJobThatAFlowMadeHidesNone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, isRunning)
		w.pod(1, corev1.PodRunning, runs())
		pass(time.Minute)
		made := func(name string) {
			w.lock(func() {
				j := w.jobs["job-1"]
				j.Name, j.UID, j.CreationTimestamp = name, types.UID(name), metav1.Now()
				j.Labels = map[string]string{flowrun.LabelFlowRunID: string(number(1)), flowrun.LabelIdentifier: "4f0c1a9e"}
				w.jobs[name] = j
			})
		}
		made("etl")
		made("prefect-job-etl")
		pass(time.Minute)
		w.pod(1, corev1.PodFailed, endedWith(3, "Error"))
		w.update(1, failed)
		pass(time.Minute)
		if v := w.verdicts(1); len(v) != 1 || v[0].State.Mark.Job != "job-1" {
			t.Errorf("got %+v", v)
		}
	})
}

// A Job seen alive in a rerun is its Job; one that was there before is not.
func TestTheJobOfARerunSpeaks(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		for n := 1; n <= 2; n++ {
			if n == 2 {
				byPython(w, n)
				w.pod(n, corev1.PodRunning, runs())
				pass(10 * time.Minute)
			}
			rows := []flowrun.Row{foreign(1, flowrun.Scheduled), foreign(2, flowrun.Running), foreign(3, flowrun.Failed), foreign(4, flowrun.Scheduled), foreign(5, flowrun.Running)}
			if n == 1 {
				byPython(w, n)
				w.pod(n, corev1.PodRunning, runs())
			}
			w.lock(func() { w.runs[number(n)] = rows })
			pass(10 * time.Minute)
			w.pod(n, corev1.PodFailed, endedWith(3, "Error"))
			w.lock(func() {
				j := w.jobs[fmt.Sprintf("prefect-job-job-%d", n)]
				failed(&j)
				w.jobs[j.Name] = j
			})
			w.changed(string(number(n)))
			pass(10 * time.Minute)
		}
		if v := w.verdicts(1); len(v) != 1 {
			t.Errorf("seen alive in the rerun: got %+v", v)
		}
		if v := w.verdicts(2); len(v) != 0 {
			t.Errorf("there before the rerun: got %+v", v)
		}
	})
}

// The agent of another Prefect has its Jobs in the same namespace.
func TestWhatAnotherPrefectHasIsLeft(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		for n := 1; n <= 2; n++ {
			byPython(w, n, complete)
			w.pod(n, corev1.PodSucceeded, endedWith(0, "Completed"))
			w.lock(func() { delete(w.runs, number(n)) })
		}
		w.lock(func() { delete(w.jobs, "prefect-job-job-2") })
		orphan(w, 2)
		pass(time.Hour)
		if got := w.removed(); len(got) != 0 {
			t.Errorf("got %q deleted", got)
		}
		if got := w.asked(); got > 60 {
			t.Errorf("got %d reads in an hour", got)
		}
	})
}

func TestPodsThatOutlivedTheirJob(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for n := 1; n <= 3; n++ {
			byPython(w, n)
		}
		w.pod(1, corev1.PodFailed, endedWith(3, "Error"))
		w.pod(2, corev1.PodPending, waitingFor("ImagePullBackOff"))
		w.pod(3, corev1.PodRunning, runs())
		w.lock(func() { clear(w.jobs) })
		replica(t, w)
		for n := 1; n <= 3; n++ {
			orphan(w, n)
		}
		pass(time.Hour)
		if v := w.verdicts(1); len(v) != 1 || !strings.Contains(v[0].State.Message, "exit code 3") {
			t.Errorf("failed Pod: got %+v", v)
		}
		if v := w.verdicts(2); len(v) != 1 || !strings.Contains(v[0].State.Message, "ImagePullBackOff") {
			t.Errorf("Pod without an image: got %+v", v)
		}
		if v := w.verdicts(3); len(v) != 0 {
			t.Errorf("running Pod: got %+v", v)
		}
		if got := w.removed(); len(got) != 1 || got[0] != "prefect-job-job-1-pod" {
			t.Errorf("got %q deleted, want the Pod that has ended", got)
		}
	})
}

// The agent and the resource manager beside it: one report, whoever holds the
// claim, and one end of the Job.
func TestTwoReapersReportOnce(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*world){
		"ours":             func(w *world) { w.run(1, isRunning, failed) },
		"a Python agent's": func(w *world) { byPython(w, 1, failed) },
		"of a process that died": func(w *world) {
			w.run(1, isRunning, failed)
			w.lock(func() { w.runs[number(1)][1].State.Mark.Agent = "dead" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.latency = 100 * time.Millisecond
				replica(t, w)
				replica(t, w, func(p *Policy) { p.Agent, p.LogName, p.Standby = "second", "resource-manager", 4*time.Second })
				start(w)
				w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
				pass(time.Hour)
				causes := 0
				for _, line := range w.told(1) {
					if strings.HasPrefix(line, "ERROR Kubernetes Error: ") {
						causes++
					}
				}
				if v := w.verdicts(1); len(v) != 1 || causes != 1 {
					t.Errorf("got %d states and %d lines with the cause, want one of each", len(v), causes)
				}
				if got := w.removed(); len(got) != 1 {
					t.Errorf("got %q deleted, want the Job once", got)
				}
			})
		})
	}
}

// poor is a world whose Role grants neither events nor logs nor the end of anything.
type poor struct{ *world }

func forbidden(what string) error {
	return apierrors.NewForbidden(corev1.Resource(what), "", errors.New("no role"))
}

func (poor) Events(context.Context, string, string) ([]corev1.Event, error) {
	return nil, forbidden("events")
}

func (poor) Warnings(context.Context, string) ([]corev1.Event, error) {
	return nil, forbidden("events")
}

func (poor) PodLog(context.Context, string, string, string, bool, int64, int) (string, error) {
	return "", forbidden("pods/log")
}

func (poor) Stop(context.Context, string, string, string, string) error {
	return forbidden("jobs")
}

func (poor) Delete(context.Context, string, string, string, string) error {
	return forbidden("jobs")
}

func (poor) DeletePod(context.Context, string, string, string) error { return forbidden("pods") }

func TestAMissingRightIsToldOnceAndStopsNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const many = 5
		for n := 1; n <= many; n++ {
			w.run(n, isRunning, failed)
			w.pod(n, corev1.PodFailed, endedWith(1, "Error"))
			w.run(many+n, []flowrun.Row{}) // no Pod comes, so events are asked for
			w.run(3*many+n, []flowrun.Row{foreign(5, flowrun.Cancelled)})
			w.pod(3*many+n, corev1.PodRunning, runs())
			byPython(w, 2*many+n)
			w.lock(func() {
				w.runs[number(2*many+n)] = append(w.runs[number(2*many+n)], foreign(4, flowrun.Success))
			})
			w.pod(2*many+n, corev1.PodSucceeded, endedWith(0, "Completed"))
			w.lock(func() { delete(w.jobs, fmt.Sprintf("prefect-job-job-%d", 2*many+n)) })
			orphan(w, 2*many+n)
		}
		text := &logLines{}
		replicaOver(t, w, poor{w}, slog.New(slog.NewTextHandler(text, nil)))
		pass(time.Hour)
		for n := 1; n <= many; n++ {
			if len(w.verdicts(n)) != 1 {
				t.Errorf("run %d is not failed", n)
			}
		}
		for _, right := range []string{"list events", "get pods/log", "patch jobs", "delete jobs", "delete pods"} {
			if got := strings.Count(text.String(), "reason=\""+right+":"); got != 1 {
				t.Errorf("%q was told %d times, want once", right, got)
			}
		}
		if got := strings.Count(text.String(), "level=WARN"); got != 5 {
			t.Errorf("got %d warnings, want one for each right:\n%.3000s", got, text.String())
		}
	})
}

// logLines is a log that may be read while it is written.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
