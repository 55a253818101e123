// Package reaper brings every Job to its end: it says why a Job failed in the
// run's log and state, stops Jobs that shall not go on, and deletes finished Jobs once
// nobody needs their names.
// Prefect 0.11 called this the resource manager. It knows verdicts and what
// counts in a history; it refuses to know which Prefect it speaks to, and how
// Kubernetes is reached.
package reaper

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// Watch is the local copy of Jobs and Pods, grouped by flow run id, and the queue
// of groups that changed. It is met by kube.Watch.
type Watch interface {
	Group(group string) ([]diagnose.Job, []diagnose.Pod)
	Take(ctx context.Context, limit int) ([]string, error)
	Done(group string)
	Again(group string, after time.Duration)
}

// Cluster is Kubernetes itself, read by quorum. It is met by kube.Client.
type Cluster interface {
	Jobs(ctx context.Context, namespace, selector string) ([]batchv1.Job, error)
	Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error)
	Stop(ctx context.Context, namespace, name, uid, resourceVersion string) error
	Delete(ctx context.Context, namespace, name, uid, resourceVersion string) error
	DeletePod(ctx context.Context, namespace, name, uid string) error
	ServerNow() time.Time
}

// Witness tells what happened. It is met by kube.Client.
type Witness interface {
	Events(ctx context.Context, namespace, name string) ([]corev1.Event, error)
	Warnings(ctx context.Context, namespace string) ([]corev1.Event, error)
	PodLog(ctx context.Context, namespace, pod, container string, previous bool, lines int64, limit int) (string, error)
}

// Reporter is Prefect. It is met by the clients of both generations.
type Reporter interface {
	// Snapshots reads many flow runs in one call. A run that Prefect does not know
	// is not in the answer.
	Snapshots(ctx context.Context, ids []flowrun.ID) (map[flowrun.ID]flowrun.Snapshot, error)
	// SetStates writes many states in one call and sends it once. Its error is no
	// evidence that nothing was written: the histories are read again.
	SetStates(ctx context.Context, writes []flowrun.Write) error
	// WriteLogs writes lines of run logs in one call.
	WriteLogs(ctx context.Context, logs []flowrun.Log) error
}

// Health is told how the loop fares.
type Health interface {
	// Progress says that Prefect or the cluster answered.
	Progress()
	// Fail says why the one that was asked did not.
	Fail(reason string)
	// Wait says that the loop pauses on purpose.
	Wait(pause time.Duration)
}

// Options are the parts of a Reaper. All but Policy's booleans are required.
type Options struct {
	Watch    Watch
	Cluster  Cluster
	Witness  Witness
	Reporter Reporter
	Health   Health
	Policy   Policy
	Log      *slog.Logger
}

// Reaper reports endings, stops Jobs that shall not go on and deletes finished ones. Any number of replicas may
// run at once.
type Reaper struct {
	watch    Watch
	cluster  Cluster
	witness  Witness
	reporter Reporter
	health   Health
	policy   Policy
	log      *slog.Logger
	// runs is what this process remembers of each run that has a Job or a Pod. It
	// belongs to Run alone.
	runs   map[flowrun.ID]*memory
	warned warnings
	// lastRead is when Prefect was last asked.
	lastRead time.Time
	// lacking are the rights in the cluster whose lack was told.
	lacking sync.Map
}

// New makes a Reaper. The error names what is missing.
func New(o Options) (*Reaper, error) {
	if o.Watch == nil || o.Cluster == nil || o.Witness == nil || o.Reporter == nil || o.Health == nil || o.Log == nil {
		return nil, errors.New("reaper: a watch, a cluster, a witness, a reporter, health and a logger are required")
	}
	if o.Policy.Agent == "" || o.Policy.Place.String() == "" || o.Policy.Namespace == "" {
		return nil, errors.New("reaper: the policy names no agent, no place or no namespace")
	}
	if o.Policy.Grace <= 0 {
		return nil, errors.New("reaper: the grace period must be longer than 0 s")
	}
	return &Reaper{
		watch: o.Watch, cluster: o.Cluster, witness: o.Witness, reporter: o.Reporter, health: o.Health, policy: o.Policy, log: o.Log,
		runs: map[flowrun.ID]*memory{},
	}, nil
}

const (
	// batch is how many runs are worked at once, which is one read of Prefect.
	batch = 200
	// pace is the shortest time between two passes that read Prefect, so that ten
	// thousand live Jobs cost two background requests a second at most.
	pace = 500 * time.Millisecond
	// idle stands for as long as nothing changes in the cluster.
	idle = 365 * 24 * time.Hour
)

// Run works until ctx ends. Nothing is forgotten by stopping: the Jobs are the
// memory, and the next process finds them.
func (r *Reaper) Run(ctx context.Context) error {
	r.health.Progress()
	for {
		r.health.Wait(idle)
		groups, err := r.watch.Take(ctx, batch)
		if err != nil {
			return nil //nolint:nilerr // the end of ctx is a clean stop
		}
		r.health.Wait(0)
		r.pass(ctx, groups)
		for _, group := range groups {
			r.watch.Done(group)
		}
		if left := pace - time.Since(r.lastRead); left > 0 && !sleep(ctx, left) {
			return nil
		}
	}
}

// fares tells health what an answer says of the loop. What Prefect or the cluster refuses
// of one run is no trouble of the loop.
func (r *Reaper) fares(err error) {
	if err != nil && temporary(err) {
		r.health.Fail(err.Error())
		return
	}
	r.health.Progress()
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// pass works a batch of groups: look, ask Prefect once for all, decide, act.
func (r *Reaper) pass(ctx context.Context, groups []string) {
	cases := r.look(ctx, groups)
	answers := r.ask(ctx, r.questions(cases))
	plan := &plan{}
	for _, c := range cases {
		if failure, failed := answers.failed[c.id]; failed {
			r.retry(ctx, c, failure)
			continue
		}
		c.run = answers.of(c.id)
		r.settled(ctx, c)
		plan.add(c, r.decide(c))
	}
	r.act(ctx, plan)
	r.flush(ctx, cases)
	for _, c := range cases {
		r.forget(c)
	}
}

// questions are the runs that a decision needs to know.
func (r *Reaper) questions(cases []*runCase) []flowrun.ID {
	var ids []flowrun.ID
	for _, c := range cases {
		if c.memory.written != flowrun.Foreign || needs(r.decide(c), Ask) {
			ids = append(ids, c.id)
		}
	}
	return ids
}

func needs(actions []jobAction, kind ActionKind) bool {
	for _, a := range actions {
		if a.Kind == kind {
			return true
		}
	}
	return false
}

// forget drops what is remembered of a run that has nothing left in the cluster.
func (r *Reaper) forget(c *runCase) {
	if len(c.jobs) == 0 && len(c.pods) == 0 && !c.again && len(c.memory.unsent) == 0 {
		delete(r.runs, c.id)
	}
}

// lacks reports whether an error says that a right in the cluster is missing, and
// tells that once: it stays so until somebody mends it, and nothing stops for it.
func (r *Reaper) lacks(ctx context.Context, right, effect string, err error) bool {
	if !apierrors.IsForbidden(err) {
		return false
	}
	if _, told := r.lacking.LoadOrStore(right, true); !told {
		r.log.WarnContext(ctx, "a right in the cluster is missing, going on without", slog.String("reason", right+": "+effect), slog.Any("error", err))
	}
	return true
}
