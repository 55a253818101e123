package kube

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// WatchOptions say what a Watch follows and what it keeps of it.
type WatchOptions[J, P any] struct {
	Namespace string
	// Labels are keys of labels. An object belongs to the group that the first of
	// them that it has names; objects without any are not seen. Each key costs a
	// watch on Jobs and one on Pods, since a selector cannot say "or".
	Labels []string
	// Job and Pod reduce an object to what is kept of it in memory. They are
	// called once for each change and must not keep the object itself.
	Job func(*batchv1.Job) J
	Pod func(*corev1.Pod) P
	Log *slog.Logger
}

// Watch keeps a reduced copy of the Jobs and Pods of a namespace that carry one
// of some labels, and hands out the groups that changed. What is handed out is a name
// only: whoever takes it reads the newest copy, so nothing depends on having
// seen every step. Its methods are safe for concurrent use.
type Watch[J, P any] struct {
	jobs, pods []cache.SharedIndexInformer // one for each label
	namespace  string
	lines      []*line
	groups     *groups
	ready      chan struct{}
	log        *slog.Logger
	// refused are the resources whose missing right was told.
	refused sync.Map
}

const byGroup = "group"

// record is what is kept of an object: its identity, its group, its reduced form.
type record[T any] struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	group string
	value T
}

func (r *record[T]) inGroup() string { return r.group }

// DeepCopyObject implements runtime.Object. Nobody changes a record.
func (r *record[T]) DeepCopyObject() runtime.Object { return r }

// NewWatch makes a Watch. Nothing is read before Run.
func NewWatch[J, P any](jobs Jobs, pods Pods, o WatchOptions[J, P]) (*Watch[J, P], error) {
	if len(o.Labels) == 0 || o.Job == nil || o.Pod == nil || o.Log == nil {
		return nil, errors.New("watch: labels, both reductions and a logger are required")
	}
	w := &Watch[J, P]{namespace: o.Namespace, groups: newGroups(), ready: make(chan struct{}), log: o.Log}
	var errs []error
	shared := &room{most: capacity(debug.SetMemoryLimit(-1)), copied: func() int { jobs, pods := w.Len(); return jobs + pods }}
	for i, label := range o.Labels {
		selector := Selector(o.Labels[:i], label)
		ofJobs, ofPods := newLine("jobs", shared), newLine("pods", shared)
		job := func(j *batchv1.Job) runtime.Object { return recordOf(label, j, o.Job) }
		pod := func(p *corev1.Pod) runtime.Object { return recordOf(label, p, o.Pod) }
		j := cache.NewSharedIndexInformer(listWatch(ofJobs, jobs, selector, jobsOf(jobs), job, jobs.Watch), &batchv1.Job{}, 0, indexers())
		p := cache.NewSharedIndexInformer(listWatch(ofPods, pods, selector, podsOf(pods), pod, pods.Watch), &corev1.Pod{}, 0, indexers())
		w.jobs, w.pods, w.lines = append(w.jobs, j), append(w.pods, p), append(w.lines, ofJobs, ofPods)
		errs = append(errs,
			w.prepare(j, "jobs", o.Namespace, reduce(label, o.Job)),
			w.prepare(p, "pods", o.Namespace, reduce(label, o.Pod)))
	}
	return w, errors.Join(errs...)
}

// Selector names the objects that fit a requirement on a label, such as a key
// alone or "key=value", and have none of the labels before it. So an object that
// has several is in one list only.
func Selector(before []string, requirement string) string {
	if len(before) == 0 {
		return requirement
	}
	return requirement + ",!" + strings.Join(before, ",!")
}

// listWatch reads through the small interfaces, at the pace of a line. The wrapper lets a client say
// that it cannot stream lists, by a method IsWatchListSemanticsUnSupported: an
// informer over a client that cannot and does not say so, such as the parts of
// client-go's fake clientset, waits for a bookmark for ever.
func listWatch[L runtime.Object, T any](l *line, client any, selector string, b book[L, T], keep func(*T) runtime.Object,
	watches func(context.Context, metav1.ListOptions) (watch.Interface, error),
) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			return list(ctx, l, b, selector, keep)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return l.watch(ctx, o, watches)
		},
	}, client)
}

func indexers() cache.Indexers {
	return cache.Indexers{byGroup: func(obj any) ([]string, error) { return []string{groupOf(obj)}, nil }}
}

// reduce turns an object into its record. It may meet a record it made before.
func reduce[O metav1.Object, T any](label string, reduction func(O) T) cache.TransformFunc {
	return func(obj any) (any, error) {
		o, ok := obj.(O)
		if !ok {
			return obj, nil
		}
		return recordOf(label, o, reduction), nil
	}
}

func recordOf[O metav1.Object, T any](label string, o O, reduction func(O) T) *record[T] {
	return &record[T]{
		ObjectMeta: metav1.ObjectMeta{Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()},
		group:      o.GetLabels()[label],
		value:      reduction(o),
	}
}

func (w *Watch[J, P]) prepare(informer cache.SharedIndexInformer, resource, namespace string, reduction cache.TransformFunc) error {
	add := func(obj any) { w.groups.add(groupOf(obj)) }
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add,
		UpdateFunc: func(before, after any) {
			if was := groupOf(before); was != groupOf(after) {
				w.groups.add(was)
			}
			add(after)
		},
		DeleteFunc: add,
	})
	return errors.Join(err, informer.SetTransform(reduction),
		informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
			w.broken(ctx, resource, namespace, err)
		}))
}

// groupOf is the group of a record; a deletion that was missed arrives as a
// tombstone with the last known record inside.
func groupOf(obj any) string {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	r, ok := obj.(interface{ inGroup() string })
	if !ok {
		return ""
	}
	return r.inGroup()
}

// broken is told of lists and watches that ended with an error. What lasts is said by
// whoever asks Unread; a refusal is said at once, since it does not pass by itself.
func (w *Watch[J, P]) broken(ctx context.Context, resource, namespace string, err error) {
	if ctx.Err() == nil {
		w.log.LogAttrs(ctx, w.level(resource, err), "watch failed, backing off", slog.Any("error", fail(err, "list", resource, namespace, "")))
	}
}

// level lets a missing right be told once for each resource.
func (w *Watch[J, P]) level(resource string, err error) slog.Level {
	if !apierrors.IsForbidden(err) {
		return slog.LevelDebug
	}
	if _, told := w.refused.LoadOrStore(resource, true); told {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// Run follows the cluster until ctx ends. It may be called once.
func (w *Watch[J, P]) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(chatter(ctx, w.log))
	defer cancel()
	w.groups.start()
	var g errgroup.Group
	g.Go(func() error { <-ctx.Done(); w.groups.shutDown(); return nil })
	var synced []cache.DoneChecker
	for _, informer := range slices.Concat(w.jobs, w.pods) {
		synced = append(synced, informer.HasSyncedChecker())
		g.Go(func() error { informer.RunWithContext(ctx); return nil })
	}
	g.Go(func() error {
		if cache.WaitFor(ctx, "", synced...) {
			close(w.ready)
			w.groups.run(ctx)
		}
		return nil
	})
	return g.Wait()
}

// Ready is closed once the copy is complete. No group is handed out before.
func (w *Watch[J, P]) Ready() <-chan struct{} { return w.ready }

// Unread is for how long some Jobs or Pods have not been read, and why; zero while the
// copy follows the cluster.
func (w *Watch[J, P]) Unread() (time.Duration, error) {
	now := time.Now()
	longest, why := time.Duration(0), error(nil)
	for _, l := range w.lines {
		since, err := l.unread(now)
		if d := now.Sub(since); !since.IsZero() && (why == nil || d > longest) {
			longest, why = d, fail(err, "list", l.resource, w.namespace, "")
		}
	}
	return longest, why
}

// Group is the newest copy of a group, in the order of names.
func (w *Watch[J, P]) Group(group string) ([]J, []P) {
	return members[J](w.jobs, group), members[P](w.pods, group)
}

// Len is the number of Jobs and Pods in the copy.
func (w *Watch[J, P]) Len() (jobs, pods int) { return count(w.jobs), count(w.pods) }

func count(informers []cache.SharedIndexInformer) int {
	n := 0
	for _, informer := range informers {
		n += len(informer.GetIndexer().ListKeys())
	}
	return n
}

// Jobs calls f for each Job in the copy until it returns false.
func (w *Watch[J, P]) Jobs(f func(J) bool) {
	for _, informer := range w.jobs {
		if !each(informer.GetIndexer().List(), f) {
			return
		}
	}
}

// Take waits until a group has changed or its time has come, and returns all
// that are due, up to limit. Each must be given back with Done. The error is
// that of ctx.
func (w *Watch[J, P]) Take(ctx context.Context, limit int) ([]string, error) {
	return w.groups.take(ctx, limit)
}

// Done gives a group back. If it changed meanwhile it is due again.
func (w *Watch[J, P]) Done(group string) { w.groups.done(group) }

// Again makes a group due after a while, or earlier if it changes or was to be
// due earlier already.
func (w *Watch[J, P]) Again(group string, after time.Duration) { w.groups.again(group, after) }

func members[T any](informers []cache.SharedIndexInformer, group string) []T {
	var objects []any
	for _, informer := range informers {
		// The index exists since NewWatch, so there is no error.
		found, _ := informer.GetIndexer().ByIndex(byGroup, group)
		objects = append(objects, found...)
	}
	slices.SortFunc(objects, compareNames)
	var out []T
	each(objects, func(v T) bool { out = append(out, v); return true })
	return out
}

// each reports whether f wanted all.
func each[T any](objects []any, f func(T) bool) bool {
	for _, obj := range objects {
		if r, ok := obj.(*record[T]); ok && !f(r.value) {
			return false
		}
	}
	return true
}

func compareNames(a, b any) int {
	x, okx := a.(metav1.Object)
	y, oky := b.(metav1.Object)
	if !okx || !oky {
		return 0
	}
	return cmp.Compare(x.GetName(), y.GetName())
}
