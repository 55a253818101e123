package reaper

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

var isRunning = []flowrun.Row{foreign(5, flowrun.Running)}

func TestAFailedJobIsReportedOnceAndDeletedWhenItIsOld(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, isRunning)
		w.pod(1, corev1.PodRunning, runs())
		pass(time.Minute)
		if w.asked() != 0 {
			t.Errorf("asked Prefect %d times about a run that runs", w.asked())
		}
		w.pod(1, corev1.PodFailed, endedWith(137, "OOMKilled"))
		pass(5 * time.Second)
		if got := w.standing(1); got != flowrun.Failed {
			t.Fatalf("got %s after five seconds, want Failed", got)
		}
		const want = `Kubernetes Error: container "flow" of pod "job-1-pod" ran out of memory (OOMKilled, exit code 137, SIGKILL, node "node-1"). ` +
			`Raise the memory limit in the run config, or make the flow need less.`
		if got := w.verdicts(1)[0].State.Message; got != want {
			t.Errorf("got message\n%s\nwant\n%s", got, want)
		}
		told := w.told(1)
		if len(told) < 3 || told[0] != "ERROR "+want || !strings.HasSuffix(told[len(told)-1], "log of job-1-pod/flow false 100 65536") {
			t.Errorf("got lines\n%s", strings.Join(told, "\n"))
		}
		w.update(1, failed)
		pass(4*time.Minute - 6*time.Second)
		if len(w.removed()) != 0 {
			t.Error("deleted before it was five minutes old")
		}
		pass(time.Minute)
		if diff := cmp.Diff([]string{"job-1"}, w.removed()); diff != "" {
			t.Errorf("deleted (-want +got):\n%s", diff)
		}
		reads := w.asked()
		pass(time.Hour)
		if w.asked() != reads {
			t.Error("asked Prefect about a run whose Job it had deleted itself")
		}
		if len(w.verdicts(1)) != 1 || len(w.told(1)) != len(told) {
			t.Errorf("got %d verdicts and %d lines, want 1 and %d", len(w.verdicts(1)), len(w.told(1)), len(told))
		}
	})
}

func TestOtherEndings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rows    []flowrun.Row
		do      func(w *world)
		want    flowrun.StateType
		lines   bool
		deleted bool
	}{
		"a run that finished by itself is left alone": {
			rows: []flowrun.Row{foreign(5, flowrun.Running), foreign(6, flowrun.Success)},
			do:   func(w *world) { w.pod(1, corev1.PodFailed, endedWith(1, "Error")); w.update(1, failed) },
			want: flowrun.Success, deleted: true,
		},
		"a Job that ended well says nothing and is kept": {
			rows: isRunning,
			do:   func(w *world) { w.pod(1, corev1.PodSucceeded, endedWith(0, "Completed")); w.update(1, complete) },
			want: flowrun.Running,
		},
		"a Job that ended well and whose flow never began": {
			rows: []flowrun.Row{},
			do:   func(w *world) { w.pod(1, corev1.PodSucceeded, endedWith(0, "Completed")); w.update(1, complete) },
			want: flowrun.Failed, lines: true, deleted: true,
		},
		"a Job that ended well once it had started another": {
			rows: []flowrun.Row{},
			do: func(w *world) {
				w.pod(1, corev1.PodSucceeded, endedWith(0, "Completed"))
				w.update(1, func(j *batchv1.Job) {
					complete(j)
					j.Annotations[flowrun.AnnotationEnvironment] = "KubernetesJobEnvironment"
				})
			},
			want: flowrun.Submitted,
		},
		"its run ended meanwhile": {
			rows: []flowrun.Row{foreign(5, flowrun.Running), foreign(6, flowrun.Failed)},
			do:   func(w *world) { w.pod(1, corev1.PodSucceeded, endedWith(0, "Completed")); w.update(1, complete) },
			want: flowrun.Failed, deleted: true,
		},
		"an image that cannot be pulled": {
			rows: []flowrun.Row{},
			do:   func(w *world) { w.pod(1, corev1.PodPending, waitingFor("ImagePullBackOff")) },
			want: flowrun.Failed, lines: true, deleted: true,
		},
		"a Job that gets no pod": {
			rows: []flowrun.Row{},
			do: func(w *world) {
				w.lock(func() {
					w.events = []corev1.Event{{
						InvolvedObject: corev1.ObjectReference{Kind: "Job", Name: "job-1", UID: "uid-1"}, Type: "Warning", Reason: "FailedCreate",
						Message: `Error creating: pods "x" is forbidden: serviceaccount "s" not found`,
					}}
				})
			},
			want: flowrun.Failed, lines: true, deleted: true,
		},
		"a foreign Job of the run": {
			rows: isRunning,
			do: func(w *world) {
				w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
				w.update(1, func(j *batchv1.Job) { failed(j); delete(j.Labels, flowrun.LabelManagedBy) })
			},
			want: flowrun.Running,
		},
		"another pod of the run lives": {
			rows: isRunning,
			do: func(w *world) {
				w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
				w.pod(2, corev1.PodRunning, runs())
				w.lock(func() {
					p := w.pods["job-2-pod"]
					p.Labels[flowrun.LabelFlowRunID] = string(number(1))
					w.pods["job-2-pod"] = p
				})
				w.update(1, failed)
			},
			want: flowrun.Running,
		},
		"a run that waits for room": {
			rows: []flowrun.Row{},
			do: func(w *world) {
				w.pod(1, corev1.PodPending, corev1.ContainerState{})
				w.lock(func() {
					p := w.pods["job-1-pod"]
					p.Spec.NodeName = ""
					p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: "False", Reason: "Unschedulable", Message: "0/3 nodes"}}
					w.pods["job-1-pod"] = p
				})
			},
			want: flowrun.Submitted, lines: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				replica(t, w)
				w.run(1, tt.rows)
				tt.do(w)
				pass(time.Hour)
				if got := w.standing(1); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if got := len(w.told(1)) > 0; got != tt.lines {
					t.Errorf("got lines %q, want any: %t", w.told(1), tt.lines)
				}
				if got := len(w.removed()) > 0; got != tt.deleted {
					t.Errorf("got deleted %t, want %t", got, tt.deleted)
				}
				if len(w.verdicts(1)) > 1 || len(w.told(1)) > maxLines {
					t.Errorf("got %d verdicts and %d lines", len(w.verdicts(1)), len(w.told(1)))
				}
			})
		})
	}
}

func TestAFlowThatNeverBeganIsToldWithItsLog(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, []flowrun.Row{})
		w.pod(1, corev1.PodSucceeded, endedWith(0, "Completed"))
		w.update(1, complete)
		pass(testPolicy().Grace - time.Second)
		if told := w.told(1); len(told) > 0 {
			t.Errorf("within the grace period it told %q", told)
		}
		pass(5 * time.Second)
		told := strings.Join(w.told(1), "\n")
		for _, want := range []string{`container "flow" of pod "job-1-pod" ended with exit code 0 and the flow never began`, "log of job-1-pod/flow false"} {
			if !strings.Contains(told, want) {
				t.Errorf("got lines\n%s\nwant %q", told, want)
			}
		}
	})
}

func TestASidecarKeepsNoFinishedJob(t *testing.T) {
	t.Parallel()
	for state, want := range map[flowrun.StateType]int{flowrun.Success: 1, flowrun.Running: 0} {
		bubble(t, func(t *testing.T, w *world) {
			log := &logLines{}
			replicaOver(t, w, w, slog.New(slog.NewTextHandler(log, nil)))
			w.run(1, []flowrun.Row{foreign(5, flowrun.Running), foreign(6, state)})
			w.pod(1, corev1.PodRunning, endedWith(0, "Completed"))
			w.lock(func() {
				p := w.pods["job-1-pod"]
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "proxy"})
				p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "proxy", State: runs()})
				w.pods["job-1-pod"] = p
			})
			pass(testPolicy().Grace - time.Second)
			if got := w.halted(); len(got) > 0 {
				t.Errorf("%s: stopped %q within the grace period", state, got)
			}
			pass(3 * time.Minute)
			if got := w.halted(); len(got) != want || strings.Count(log.String(), "another container kept the pod") != want {
				t.Errorf("%s: stopped %q, log\n%s", state, got, log)
			}
			pass(time.Hour)
			if got := w.standing(1); got != state || len(w.told(1)) > 0 {
				t.Errorf("%s became %s, told %q", state, got, w.told(1))
			}
		})
	}
}

func TestAHiccupOfTheRegistryFailsNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, []flowrun.Row{})
		for range 3 {
			w.pod(1, corev1.PodPending, waitingFor("ErrImagePull"))
			pass(time.Minute)
			w.pod(1, corev1.PodPending, waitingFor("ContainerCreating"))
			pass(time.Minute)
		}
		w.pod(1, corev1.PodRunning, runs())
		pass(time.Hour)
		if got := w.standing(1); got != flowrun.Submitted || len(w.removed()) != 0 {
			t.Errorf("got %s, deleted %q", got, w.removed())
		}
	})
}

func TestPullErrorsThatAlternateAreOneCause(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, []flowrun.Row{})
		for i := range 12 {
			w.pod(1, corev1.PodPending, waitingFor([]string{"ErrImagePull", "ImagePullBackOff"}[i%2]))
			pass(15 * time.Second)
		}
		if got := w.standing(1); got != flowrun.Failed {
			t.Errorf("got %s after three minutes, want Failed", got)
		}
	})
}

func TestReportsOutliveAnOutage(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.lock(func() { w.down = true })
		for n := range 30 {
			w.run(n, isRunning)
			w.pod(n, corev1.PodFailed, endedWith(1, "Error"))
			w.update(n, failed)
		}
		pass(time.Hour)
		if w.asked() > 30*70 || len(w.removed()) != 0 {
			t.Errorf("got %d reads in an hour of outage and %d deletions", w.asked(), len(w.removed()))
		}
		w.lock(func() { w.down, w.logsDown = false, true })
		pass(2 * time.Minute)
		w.lock(func() { w.logsDown = false })
		pass(10 * time.Minute)
		for n := range 30 {
			if w.standing(n) != flowrun.Failed || len(w.verdicts(n)) != 1 || len(w.told(n)) == 0 {
				t.Fatalf("run %d: %s, %d verdicts, lines %q", n, w.standing(n), len(w.verdicts(n)), w.told(n))
			}
		}
		if len(w.removed()) != 30 {
			t.Errorf("got %d Jobs deleted, want 30", len(w.removed()))
		}
	})
}

func TestOneBadRunStopsNoOther(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.poison = number(7)
		for n := range 10 {
			w.run(n, isRunning)
			w.pod(n, corev1.PodFailed, endedWith(1, "Error"))
		}
		w.run(10, isRunning, func(j *batchv1.Job) { j.Labels[flowrun.LabelFlowRunID] = "not a uuid" })
		replica(t, w)
		pass(10 * time.Second)
		for n := range 10 {
			want := flowrun.Failed
			if n == 7 {
				want = flowrun.Running
			}
			if got := w.standing(n); got != want {
				t.Errorf("run %d: got %s, want %s", n, got, want)
			}
		}
	})
}

func TestTheHistoryIsReadRightBeforeTheWrite(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		// The run ends while the evidence is gathered.
		w.afterRead = func() {
			if len(w.runs[number(1)]) == 3 {
				w.runs[number(1)] = append(w.runs[number(1)], foreign(6, flowrun.Cancelled))
			}
		}
		w.run(1, isRunning)
		w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
		pass(time.Minute)
		if w.wrote() != 0 || w.lines() != 0 {
			t.Errorf("got %d writes and %d lines about a run that was cancelled", w.wrote(), w.lines())
		}
	})
}

func TestTheLinesComeBeforeTheState(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		before := -1
		w.beforeWrite = func() { before = len(w.told(1)) }
		w.run(1, isRunning)
		w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
		pass(10 * time.Second)
		if before < 3 {
			t.Errorf("got %d lines when the state was written", before)
		}
	})
}

func TestManyEndingsInARowAskTwiceASecond(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		for n := range 200 {
			w.run(n, isRunning, func(j *batchv1.Job) {
				complete(j)
				j.CreationTimestamp.Time = j.CreationTimestamp.Add(-time.Hour)
			})
			pass(50 * time.Millisecond)
		}
		if w.asked() > 25 {
			t.Errorf("got %d reads in ten seconds", w.asked())
		}
	})
}

func TestAVoidVerdictIsPutBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		once := false
		// The server reads and inserts in two steps: the run finishes in between.
		w.beforeWrite = func() {
			w.lock(func() {
				if !once {
					once = true
					w.runs[number(1)] = append(w.runs[number(1)], foreign(6, flowrun.Success))
				}
			})
		}
		w.run(1, isRunning)
		w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
		pass(15 * time.Second)
		if w.standing(1) != flowrun.Success || w.showing(1) != flowrun.Success || len(w.verdicts(1)) != 1 {
			t.Errorf("got %s counting, %s shown, %d verdicts", w.standing(1), w.showing(1), len(w.verdicts(1)))
		}
	})
}

func TestAWriteThatComesToNothingIsRepeatedSlowly(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, isRunning)
		// Only writes are lost.
		w.beforeWrite = func() {
			w.lock(func() {
				w.runs[number(1)] = append(w.runs[number(1)], foreign(len(w.runs[number(1)])+3, flowrun.Running))
			})
		}
		w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
		pass(10 * time.Minute)
		lines := len(w.told(1))
		if w.wrote() < 3 || w.wrote() > 60 || lines > 5 {
			t.Errorf("got %d writes and %d lines in ten minutes", w.wrote(), lines)
		}
	})
}

func TestReplicasReportOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for _, agent := range []string{"a", "me", "b"} {
			replica(t, w, func(p *Policy) { p.Agent = agent })
		}
		for n := range 20 {
			w.run(n, isRunning)
			w.pod(n, corev1.PodFailed, endedWith(1, "Error"))
			w.update(n, failed)
		}
		pass(20 * time.Minute)
		for n := range 20 {
			if v := w.verdicts(n); len(v) != 1 || v[0].State.Mark.Agent != "me" || len(w.told(n)) > 5 {
				t.Errorf("run %d: got %d verdicts and lines %q", n, len(v), w.told(n))
			}
		}
		if len(w.removed()) != 20 {
			t.Errorf("got %d Jobs deleted, want 20", len(w.removed()))
		}
	})
}

func TestAReplicaReportsForOneThatDied(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w, func(p *Policy) { p.Agent = "new" })
		w.run(1, isRunning)
		w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
		pass(5 * time.Second)
		if got := w.standing(1); got != flowrun.Failed {
			t.Errorf("got %s after five seconds", got)
		}
	})
}

func TestAJobDeletedWhileItsRunRuns(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, isRunning)
		w.pod(1, corev1.PodRunning, runs())
		pass(time.Minute)
		w.lock(func() { clear(w.jobs); clear(w.pods) })
		w.changed(string(number(1)))
		pass(25 * time.Second)
		if got := w.standing(1); got != flowrun.Running {
			t.Errorf("got %s at the first look", got)
		}
		pass(15 * time.Second)
		if v := w.verdicts(1); len(v) != 1 || v[0].State.Message != "Kubernetes Error: the Job was deleted" {
			t.Errorf("got %+v", v)
		}
	})
}

func TestAJobOfADeletedRun(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, nil)
		w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
		w.update(1, failed)
		pass(5 * time.Minute)
		if len(w.removed()) != 0 {
			t.Error("deleted at the first look")
		}
		pass(time.Minute)
		if len(w.removed()) != 1 || w.lines() != 0 || w.wrote() != 0 {
			t.Errorf("got deleted %q, %d lines, %d writes", w.removed(), w.lines(), w.wrote())
		}
	})
}

func TestWithoutRunLogs(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w, func(p *Policy) { p.SendLogs = false })
		w.noHistory = true
		w.run(1, []flowrun.Row{})
		w.pod(1, corev1.PodFailed, endedWith(2, "Error"))
		pass(10 * time.Second)
		if v := w.verdicts(1); len(v) != 1 || !strings.Contains(v[0].State.Message, "exit code 2") || w.lines() != 0 {
			t.Errorf("got %+v, %d lines", v, w.lines())
		}
	})
}

func TestManyFinishedJobsAskLittle(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const many = 300
		for n := range many {
			w.run(n, isRunning, complete)
		}
		replica(t, w)
		pass(time.Hour)
		if w.asked() > 100 {
			t.Errorf("got %d reads in an hour for %d kept Jobs", w.asked(), many)
		}
		for n := range many {
			w.lock(func() { w.runs[number(n)] = append(w.runs[number(n)], foreign(6, flowrun.Success)) })
		}
		pass(10 * time.Minute)
		if len(w.removed()) != many {
			t.Errorf("got %d deleted, want %d", len(w.removed()), many)
		}
	})
}

func TestNewWantsItsParts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	whole := Options{Watch: &queue{}, Cluster: w, Witness: w, Reporter: w, Health: calm{}, Policy: testPolicy(), Log: slog.New(slog.DiscardHandler)}
	if _, err := New(whole); err != nil {
		t.Fatal(err)
	}
	for name, mod := range map[string]func(*Options){
		"watch":    func(o *Options) { o.Watch = nil },
		"cluster":  func(o *Options) { o.Cluster = nil },
		"witness":  func(o *Options) { o.Witness = nil },
		"reporter": func(o *Options) { o.Reporter = nil },
		"health":   func(o *Options) { o.Health = nil },
		"log":      func(o *Options) { o.Log = nil },
		"agent":    func(o *Options) { o.Policy.Agent = "" },
		"place":    func(o *Options) { o.Policy.Place = flowrun.Place{} },
		"grace":    func(o *Options) { o.Policy.Grace = 0 },
	} {
		o := whole
		mod(&o)
		if _, err := New(o); err == nil {
			t.Errorf("made without %s", name)
		}
	}
}

// A put-back that came too late covers what counts as any void write of ours does,
// and is uncovered again.
func TestALatePutBackIsPutBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		writes := 0
		w.beforeWrite = func() {
			w.lock(func() {
				writes++
				switch writes {
				case 1: // the verdict rests on Submitted, and Running comes between
					w.runs[number(1)] = append(w.runs[number(1)], foreign(5, flowrun.Running))
				case 2: // Running is put back, and Success comes between
					w.runs[number(1)] = append(w.runs[number(1)], foreign(7, flowrun.Success))
				}
			})
		}
		w.run(1, []flowrun.Row{})
		w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
		pass(time.Hour)
		if got := w.showing(1); got != flowrun.Success {
			t.Errorf("shown is %s, want Success", got)
		}
	})
}

// A run whose Job ended well may wait for a retry of a task run for longer than
// the Job lives.
func TestAJobThatEndedWellIsNotMissed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(2, isRunning)
		w.pod(2, corev1.PodSucceeded, endedWith(0, "Completed"))
		w.update(2, complete)
		pass(6 * time.Minute)
		w.lock(func() { clear(w.jobs); clear(w.pods) })
		w.changed(string(number(2)))
		pass(time.Hour)
		if got := w.showing(2); got != flowrun.Running {
			t.Errorf("shown is %s, want Running", got)
		}
	})
}

// A put-back that the server refuses is not sent in a loop.
func TestARefusedPutBackIsRepeatedSlowly(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.refuse = true
		replica(t, w)
		w.run(1, []flowrun.Row{foreign(5, flowrun.Running), foreign(6, flowrun.Success), verdict(7, 4, flowrun.Submitted)})
		w.pod(1, corev1.PodFailed, endedWith(1, "Error"))
		w.update(1, failed)
		pass(10 * time.Minute)
		if got := w.wrote(); got < 2 || got > 30 {
			t.Errorf("got %d writes in ten minutes, want a few", got)
		}
	})
}
