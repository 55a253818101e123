package agent

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

func TestAdopt(t *testing.T) {
	t.Parallel()
	promised := "etl-" + flowrun.Identifier("r", "v1")
	claimed := []flowrun.Row{row(1, flowrun.Scheduled), claimRow(2, "here")}
	claimed[1].State.Mark.Job = promised
	rerun := append(slices.Clone(claimed), row(3, flowrun.Scheduled), claimRow(4, "here"))
	rerun[3].State.Mark.Job = promised // a claim of the first attempt that came late
	own, other := job("a", 1, false), job("b", 1, false)
	own.Annotations = map[string]string{flowrun.AnnotationAttempt: "v1"}
	other.Annotations = map[string]string{flowrun.AnnotationAttempt: "v0"}
	for _, tt := range []struct {
		name    string
		history []flowrun.Row
		jobs    []batchv1.Job
		pods    []corev1.Pod
		age     time.Duration
		foreign bool
		attempt string
		job     string
		skip    skip
	}{
		{name: "no Job", history: claimed, age: adoptAge, attempt: "v1", job: promised},
		{name: "claimed a moment ago", history: claimed, age: adoptAge - 1, skip: skipRecent},
		{name: "its Job is there", history: claimed, age: adoptAge, jobs: []batchv1.Job{own}, skip: skipPromised},
		{name: "a Pod without a Job lives", history: claimed, age: adoptAge, pods: []corev1.Pod{pod(corev1.PodRunning)}, skip: skipLivePod},
		{name: "an older Job lives", history: claimed, age: adoptAge, jobs: []batchv1.Job{other}, skip: skipLiveJob},
		{name: "claimed without the right to read the namespace", history: []flowrun.Row{row(1, flowrun.Scheduled), claimRow(2, "here by name")}, age: adoptAge, attempt: "v1"},
		{name: "claimed so in another cluster", history: []flowrun.Row{row(1, flowrun.Scheduled), claimRow(2, "there by name")}, age: time.Hour, skip: skipElsewhere},
		{name: "of another place", history: []flowrun.Row{row(1, flowrun.Scheduled), claimRow(2, "there")}, age: time.Hour, skip: skipElsewhere},
		{name: "of a Python agent", history: []flowrun.Row{row(1, flowrun.Scheduled), row(2, flowrun.Submitted)}, age: time.Hour, skip: skipState},
		{name: "with labels that this agent does not take", history: claimed, age: time.Hour, foreign: true, skip: skipLabels},
		{name: "covered", history: append(slices.Clone(claimed), row(3, flowrun.Running), claimRow(4, "here")), age: time.Hour, skip: skipCovered},
		{name: "a rerun whose first create may be under way", history: rerun, age: flowrun.Fence - 1, skip: skipYoung},
		{name: "a late claim promised another Job", history: rerun, age: flowrun.Fence, attempt: "v3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			run := prefect1.FlowRun{Snapshot: flowrun.Snapshot{ID: "r", State: flowrun.State{Type: flowrun.Submitted}, History: tt.history}}
			read := time.Unix(0, 0)
			o, why := adopt(view{
				run: run, stand: run.Standing(), agent: "me", place: placeOf("here"), fits: !tt.foreign, here: objects{tt.jobs, tt.pods}, since: read.Add(-tt.age), read: read,
			})
			if diff := cmp.Diff([]any{tt.attempt, tt.job, tt.skip, false}, []any{o.Attempt, o.Run.Job, why, o.NeedsClaim}); diff != "" {
				t.Errorf("attempt, job, skip, claim (-want +got):\n%s", diff)
			}
			if why == "" && o.Run.Claimant != "x" {
				t.Errorf("got claimant %q, want the one who claimed", o.Run.Claimant)
			}
		})
	}
}

// The cluster is looked at before the history is read: what is Submitted after the
// Job was seen absent has executed nothing.
func TestAdoptionLooksAtTheClusterFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1, 1)
		s.insert("run-0", 2, claimRow(2, "p").State)
		c := newCluster(s, "p")
		c.processes = true
		m := &mortal{server: s, cluster: c}
		m.live(deadline(t), t, "a")
		c.group.Wait()
		s.check(t, "a claim of a process that is gone")
		looked, read, created := slices.Index(m.names, "jobs"), slices.Index(m.names, "claimed runs"), slices.Index(m.names, "create")
		if looked < 0 || read < looked || created < read {
			t.Errorf("got %q, want jobs, then claimed runs, then create", m.names)
		}
	})
}

// A rerun whose Job could not be made is adopted too, although the finished Job of the
// attempt before is kept.
func TestAdoptionOfARerun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1, 1)
		c := newCluster(s, "p")
		c.processes = true
		(&mortal{server: s, cluster: c}).live(deadline(t), t, "a")
		c.group.Wait()
		version, _ := s.shown("run-0")
		s.insert("run-0", version+1, flowrun.State{Type: flowrun.Scheduled})
		claim := claimRow(version+2, "p")
		s.insert("run-0", version+2, claim.State)
		(&mortal{server: s, cluster: c}).live(deadline(t), t, "b")
		c.group.Wait()
		s.check(t, "a rerun")
		if len(s.created) != 2 {
			t.Errorf("got Jobs %v, want one for each attempt", s.created)
		}
	})
}

// A namespace that was made again is another place: nothing is adopted into it.
func TestNothingIsAdoptedIntoAnotherPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1, 1)
		s.insert("run-0", 2, claimRow(2, "p").State)
		c := newCluster(s, "q")
		a := newAgent(t, s, c, "a", "p", rules{})
		sweep := &sweeper{a: a}
		sweep.claims.see("run-0", "2", time.Now().Add(-time.Minute))
		if err := sweep.adopt(t.Context(), []flowrun.ID{"run-0"}); !errors.Is(err, ErrPlace) {
			t.Errorf("got %v, want that the place is another", err)
		}
		if err := a.starts.Wait(); err != nil || len(s.created) > 0 {
			t.Errorf("got Jobs %v, %v", s.created, err)
		}
	})
}

// The right to read the namespace may come or go: what was claimed before is adopted
// by who knows the namespace in the other way, and a process goes on.
func TestAdoptionAcrossRights(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		claim           string
		unread, granted bool
	}{
		"claimed by name, adopted by UID": {claim: "p by name"},
		"claimed by UID, adopted by name": {claim: "p", unread: true},
		"the right comes in between":      {claim: "p", unread: true, granted: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(1, 2)
				s.insert("run-0", 2, claimRow(2, c.claim).State)
				there := newCluster(s, "p")
				there.processes = true
				(&mortal{server: s, cluster: there, unread: c.unread, granted: c.granted}).live(deadline(t), t, "a")
				there.group.Wait()
				s.check(t, name)
			})
		})
	}
}

// A run that nothing can be done about costs one read for each of its versions.
func TestOthersAreReadOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1, 3)
		s.insert("run-0", 2, claimRow(2, "elsewhere").State)
		s.insert("run-1", 2, row(2, flowrun.Submitted).State)
		s.insert("run-2", 2, claimRow(2, "p").State) // its Pod waits for a node
		c := newCluster(s, "p")
		c.jobs["j"] = &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{flowrun.LabelFlowRunID: "run-2"}}}
		m := &mortal{server: s, cluster: c}
		m.live(deadline(t), t, "a")
		count := map[string]int{}
		for _, name := range m.names {
			count[name]++
		}
		if count["verify"] != 1 || count["jobs"] != 0 || count["claims"] < 30 {
			t.Errorf("got calls %v, want one read of histories and no look at the cluster", count)
		}
	})
}

// A claim that was written since the list was read is too young, however long the run
// was seen before.
func TestAYoungerClaimIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1, 1)
		s.insert("run-0", 2, claimRow(2, "p").State)
		a := newAgent(t, s, newCluster(s, "p"), "a", "p", rules{})
		sweep := &sweeper{a: a}
		sweep.claims.see("run-0", "1", time.Now().Add(-time.Minute))
		if err := errors.Join(sweep.adopt(t.Context(), []flowrun.ID{"run-0"}), a.starts.Wait()); err != nil || len(s.created) > 0 {
			t.Errorf("got Jobs %v, %v", s.created, err)
		}
	})
}

// The time for which a claim may lead to nothing counts from when its Job could be
// made: an outage of the cluster takes nothing of it.
func TestAnOutageEndsNoClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1, 1)
		s.insert("run-0", 2, claimRow(2, "p").State)
		c := newCluster(s, "p")
		c.processes, c.away = true, time.Now().Add(15*time.Minute)
		(&mortal{server: s, cluster: c}).live(deadline(t, 20*time.Minute), t, "a")
		c.group.Wait()
		s.check(t, "after an outage of 15 minutes")
	})
}

// What is seen often is remembered, what is not seen again is not.
func TestSightingsForget(t *testing.T) {
	t.Parallel()
	var s sightings
	start := time.Unix(0, 0)
	for i := range 5 {
		at := start.Add(time.Duration(i) * forgetAfter / 2)
		if i == 0 {
			s.see("once", "1", at)
		}
		if since := s.see("often", "1", at).since; !since.Equal(start) {
			t.Errorf("seen since %v, want %v", since, start)
		}
	}
	if len(s.runs) != 1 || s.see("often", "2", start.Add(time.Hour)).since.Equal(start) {
		t.Errorf("remembered are %v, want the other one in its new form alone", s.runs)
	}
}

// What was found beside the queue is taken in parts, without what the queue has.
func TestLateRunsAreTakenInParts(t *testing.T) {
	t.Parallel()
	ids := make([]flowrun.ID, together+2)
	for i := range ids {
		ids[i] = flowrun.ID(strconv.Itoa(i))
	}
	var l late
	l.put(ids)
	first, second := l.take(ids[:1]), l.take(nil)
	if len(first) != together-1 || first[0] != "1" || len(second) != 2 || len(l.take(nil)) != 0 {
		t.Errorf("got %q, then %q", first, second)
	}
}

// A claim that leads to no Job for ten minutes is told, and ends.
func TestClaimWithoutAJobEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1, 1)
		s.insert("run-0", 2, claimRow(2, "p").State)
		c := newCluster(s, "p")
		c.busy = true
		(&mortal{server: s, cluster: c}).live(deadline(t, 12*time.Minute), t, "a")
		run := s.runs["run-0"]
		last := run.history[len(run.history)-1].State
		if run.shown != flowrun.Failed || last.Message != errNoJob.Error() || len(s.created) > 0 {
			t.Errorf("got%s, message %q, jobs %v; want Failed with the reason", historyOf(run), last.Message, s.created)
		}
	})
}

// Who finds that a claim of its own covers another state puts that back at once.
func TestVerificationPutsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1, 1)
		s.insert("run-0", 2, flowrun.State{Type: flowrun.Running})
		s.insert("run-0", 3, claimRow(3, "p").State)
		c := newCluster(s, "p")
		a := newAgent(t, s, c, "x", "p", rules{})
		holds, err := a.launch.Verify(t.Context(), []Offer{{ID: "run-0", Run: Run{Scheduled: 1, Claimant: "x"}}})
		if err != nil || holds["run-0"] || s.runs["run-0"].shown != flowrun.Running {
			t.Errorf("got %v %v,%s; want Running put back", holds, err, historyOf(s.runs["run-0"]))
		}
	})
}

// What the queue keeps back is started beside it (D-21).
func TestOverdueRunsAreStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1, 2)
		s.late = map[flowrun.ID]bool{"run-1": true}
		c := newCluster(s, "p")
		c.processes = true
		(&mortal{server: s, cluster: c}).live(deadline(t), t, "a")
		c.group.Wait()
		s.check(t, "a run that the queue does not return")
	})
}
