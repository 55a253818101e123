package kube_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// label and older are the keys that are followed.
const label, older = "run", "old_run"

// brief is a reduced object.
type brief struct{ Name, Version string }

func options(log *slog.Logger) kube.WatchOptions[brief, brief] {
	return kube.WatchOptions[brief, brief]{
		Namespace: "flows", Labels: []string{label, older}, Log: log,
		Job: func(j *batchv1.Job) brief { return brief{j.Name, j.Annotations["v"]} },
		Pod: func(p *corev1.Pod) brief { return brief{p.Name, p.Annotations["v"]} },
	}
}

func meta(name, run, version string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: "flows", Labels: map[string]string{label: run}, Annotations: map[string]string{"v": version},
	}
}

// listsJobs and listsPods say what the fake clientset says of itself, but not
// through its parts: it cannot stream lists.
type (
	listsJobs struct{ kube.Jobs }
	listsPods struct{ kube.Pods }
)

func (listsJobs) IsWatchListSemanticsUnSupported() bool { return true }
func (listsPods) IsWatchListSemanticsUnSupported() bool { return true }

// The fake clientset selects in lists only.
func (l listsJobs) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	w, err := l.Jobs.Watch(ctx, o)
	return selected(w, o), err
}

func (l listsPods) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	w, err := l.Pods.Watch(ctx, o)
	return selected(w, o), err
}

func selected(w watch.Interface, o metav1.ListOptions) watch.Interface {
	selector, err := labels.Parse(o.LabelSelector)
	if w == nil || err != nil {
		return w
	}
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		object, ok := e.Object.(metav1.Object)
		return e, !ok || selector.Matches(labels.Set(object.GetLabels()))
	})
}

// started runs a Watch over the fake clientset until the test ends.
func started(t *testing.T, cs *fake.Clientset, log *slog.Logger) *kube.Watch[brief, brief] {
	t.Helper()
	w, err := kube.NewWatch(listsJobs{cs.BatchV1().Jobs("flows")}, listsPods{cs.CoreV1().Pods("flows")}, options(log))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

// due takes all that is due, gives it back at once, and names each group once: a
// change that comes while a group waits for its taker makes it due again.
func due(t *testing.T, w *kube.Watch[brief, brief]) []string {
	t.Helper()
	var all []string
	for {
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		groups, err := w.Take(ctx, 10)
		cancel()
		if err != nil {
			slices.Sort(all)
			return slices.Compact(all)
		}
		for _, g := range groups {
			w.Done(g)
		}
		all = append(all, groups...)
	}
}

func TestWatchHandsOutGroupsThatChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cs := fake.NewClientset(
			&batchv1.Job{ObjectMeta: meta("a", "r1", "1")},
			&batchv1.Job{ObjectMeta: meta("b", "r2", "1")},
			&corev1.Pod{ObjectMeta: meta("a-x", "r1", "1")},
			&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "foreign", Namespace: "flows"}},
		)
		w := started(t, cs, slog.New(slog.DiscardHandler))
		<-w.Ready()
		if diff := cmp.Diff([]string{"r1", "r2"}, due(t, w)); diff != "" {
			t.Errorf("at the start (-want +got):\n%s", diff)
		}
		jobs, pods := w.Group("r1")
		if diff := cmp.Diff([]brief{{"a", "1"}}, jobs); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]brief{{"a-x", "1"}}, pods); diff != "" {
			t.Errorf("pods (-want +got):\n%s", diff)
		}

		mustNot(t, second(cs.CoreV1().Pods("flows").Update(ctx, &corev1.Pod{ObjectMeta: meta("a-x", "r1", "2")}, metav1.UpdateOptions{})))
		mustNot(t, second(cs.BatchV1().Jobs("flows").Create(ctx, &batchv1.Job{ObjectMeta: meta("c", "r3", "1")}, metav1.CreateOptions{})))
		if diff := cmp.Diff([]string{"r1", "r3"}, due(t, w)); diff != "" {
			t.Errorf("after an update and a create (-want +got):\n%s", diff)
		}
		mustNot(t, cs.BatchV1().Jobs("flows").Delete(ctx, "b", metav1.DeleteOptions{}))
		if diff := cmp.Diff([]string{"r2"}, due(t, w)); diff != "" {
			t.Errorf("after a delete (-want +got):\n%s", diff)
		}
		if jobs, _ := w.Group("r2"); len(jobs) != 0 {
			t.Errorf("got %v left of a deleted group", jobs)
		}
		if jobs, pods := w.Len(); jobs != 2 || pods != 1 {
			t.Errorf("got %d jobs and %d pods, want 2 and 1", jobs, pods)
		}
	})
}

// An object of an older release is in the copy once, under the newest of the labels
// that it has.
func TestWatchFollowsSeveralLabels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, both := meta("old", "", "1"), meta("both", "r2", "1")
		old.Labels, both.Labels[older] = map[string]string{older: "r1"}, "r9"
		oldPod := *old.DeepCopy()
		oldPod.Name = "old-x"
		cs := fake.NewClientset(&batchv1.Job{ObjectMeta: old}, &batchv1.Job{ObjectMeta: both}, &corev1.Pod{ObjectMeta: oldPod})
		w := started(t, cs, slog.New(slog.DiscardHandler))
		<-w.Ready()
		if diff := cmp.Diff([]string{"r1", "r2"}, due(t, w)); diff != "" {
			t.Errorf("at the start (-want +got):\n%s", diff)
		}
		jobs, pods := w.Group("r1")
		if diff := cmp.Diff([]brief{{"old", "1"}, {"old-x", "1"}}, append(jobs, pods...)); diff != "" {
			t.Errorf("group of an old label (-want +got):\n%s", diff)
		}
		if jobs, pods := w.Len(); jobs != 2 || pods != 1 {
			t.Errorf("got %d jobs and %d pods, want 2 and 1", jobs, pods)
		}
		var names []string
		w.Jobs(func(b brief) bool { names = append(names, b.Name); return true })
		if slices.Sort(names); !slices.Equal(names, []string{"both", "old"}) {
			t.Errorf("got %q", names)
		}
		mustNot(t, cs.BatchV1().Jobs("flows").Delete(t.Context(), "old", metav1.DeleteOptions{}))
		if diff := cmp.Diff([]string{"r1"}, due(t, w)); diff != "" {
			t.Errorf("after a delete (-want +got):\n%s", diff)
		}
	})
}

func TestWatchAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := started(t, fake.NewClientset(&batchv1.Job{ObjectMeta: meta("a", "r1", "1")}), slog.New(slog.DiscardHandler))
		due(t, w)
		w.Again("r1", time.Minute)
		time.Sleep(59 * time.Second)
		if got := due(t, w); len(got) != 0 {
			t.Errorf("got %q before the time", got)
		}
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff([]string{"r1"}, due(t, w)); diff != "" {
			t.Errorf("after the time (-want +got):\n%s", diff)
		}
	})
}

// TestWatchSurvivesAMissedDeletion covers a tombstone: the watch breaks, the Job
// disappears meanwhile, and the list that follows no longer has it.
func TestWatchSurvivesAMissedDeletion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cs := fake.NewClientset(&batchv1.Job{ObjectMeta: meta("a", "r1", "1")})
		var missing atomic.Bool
		broken := watch.NewFake()
		cs.PrependReactor("list", "jobs", func(k8stesting.Action) (bool, runtime.Object, error) {
			return missing.Load(), &batchv1.JobList{ListMeta: metav1.ListMeta{ResourceVersion: "9"}}, nil
		})
		cs.PrependWatchReactor("jobs", func(k8stesting.Action) (bool, watch.Interface, error) { return !missing.Load(), broken, nil })
		w := started(t, cs, slog.New(slog.DiscardHandler))
		if diff := cmp.Diff([]string{"r1"}, due(t, w)); diff != "" {
			t.Errorf("at the start (-want +got):\n%s", diff)
		}
		missing.Store(true)
		gone := apierrors.NewResourceExpired("too old").Status()
		broken.Error(&gone)
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"r1"}, due(t, w)); diff != "" {
			t.Errorf("after the missed deletion (-want +got):\n%s", diff)
		}
		if jobs, _ := w.Group("r1"); len(jobs) != 0 {
			t.Errorf("got %v, want nothing", jobs)
		}
	})
}

func mustNot(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestWatchBacksOffWhenItIsForbidden guards against the hot loop of the reference
// (D-30): about a million requests a second when listing is refused.
func TestWatchBacksOffWhenItIsForbidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cs := fake.NewClientset()
		var refused atomic.Int64
		for _, verb := range []string{"list", "watch"} {
			no := func() error {
				refused.Add(1)
				return apierrors.NewForbidden(batchv1.Resource("jobs"), "", errors.New("no role"))
			}
			cs.PrependReactor(verb, "jobs", func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, no() })
		}
		var text strings.Builder
		var mu sync.Mutex
		log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return text.Write(p)
		}), nil))
		w := started(t, cs, log)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := refused.Load(); n < 5 || n > 100 {
			t.Errorf("got %d requests for two labels in ten minutes, want a few dozen", n)
		}
		mu.Lock()
		defer mu.Unlock()
		if strings.Count(text.String(), "level=WARN") != 1 || !strings.Contains(text.String(), "grant the verb") {
			t.Errorf("not one warning with the mend in:\n%s", text.String())
		}
		select {
		case <-w.Ready():
			t.Error("ready without having seen a Job")
		default:
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestNewWatchWantsItsParts(t *testing.T) {
	t.Parallel()
	cs := fake.NewClientset()
	o := options(slog.New(slog.DiscardHandler))
	o.Pod = nil
	if _, err := kube.NewWatch(listsJobs{cs.BatchV1().Jobs("flows")}, listsPods{cs.CoreV1().Pods("flows")}, o); err == nil {
		t.Error("a Watch without a reduction was made")
	}
}
