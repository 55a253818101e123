// Package agent is the loop of Prefect 0.x and 1.x: poll the queue, read what may
// be started, decide what is ours, and hand it to dispatch. It knows how Prefect
// 0.x and 1.x offer, claim and fail a flow run; it knows neither their wire format
// nor a Kubernetes client.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// API is the part of the Prefect API that the agent uses.
type API interface {
	Connect(ctx context.Context, r prefect1.Registration) error
	// Refresh asks again for what is open or was refused since.
	Refresh(ctx context.Context, r prefect1.Registration) error
	RunsInQueue(ctx context.Context, before time.Time, labels []string) ([]flowrun.ID, error)
	FlowRuns(ctx context.Context, ids []flowrun.ID, now time.Time) ([]prefect1.FlowRun, error)
	// Claims, FlowRunsByID and Overdue find what the queue does not show.
	Claims(ctx context.Context, after flowrun.ID) ([]prefect1.Claim, error)
	FlowRunsByID(ctx context.Context, ids []flowrun.ID) ([]prefect1.FlowRun, error)
	Overdue(ctx context.Context, before time.Time, labels []string) ([]flowrun.ID, error)
	// TenantID is the tenant in use, Settings those of the agent's config; both are
	// known once connected.
	TenantID() string
	Settings() prefect1.Settings
	Records
}

// Records is how a flow run's states and logs are read and written.
type Records interface {
	Snapshots(ctx context.Context, ids []flowrun.ID) (map[flowrun.ID]flowrun.Snapshot, error)
	SetStates(ctx context.Context, writes []flowrun.Write) error
	WriteLogs(ctx context.Context, logs []flowrun.Log) error
}

// Cluster answers what a place holds, by quorum and not from a cache.
type Cluster interface {
	// Place is what a namespace is known by: its UID, empty if it may not be read, and
	// a digest of its cluster and name.
	Place(ctx context.Context, namespace string) (uid, digest string, err error)
	Jobs(ctx context.Context, namespace, selector string) ([]batchv1.Job, error)
	Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error)
}

// Local is a copy of what the place holds. It may lag, so it saves requests and
// decides nothing.
type Local interface {
	// Lives reports whether a Job of a flow run goes on, or a Pod lives.
	Lives(id string) bool
}

// Health is told how the loop fares.
type Health interface {
	// Progress says that a poll was answered.
	Progress()
	// Fail says why the last attempt did not work.
	Fail(reason string)
	// Wait says that the loop pauses on purpose.
	Wait(pause time.Duration)
}

// Config are the fixed facts of an agent.
type Config struct {
	prefect1.Registration
	// ID is unique per process.
	ID string
	// Place is the namespace that gets the Jobs, Namespace its name.
	Place     flowrun.Place
	Namespace string
	// MaxPolls is the number of polls after which Run ends; negative means no limit.
	MaxPolls int
	// MaxPollInterval bounds the pause between polls that find nothing.
	MaxPollInterval time.Duration
	// SendLogs is false where no run log line may be written.
	SendLogs bool
	// Template reads the text behind a template path; nil means that the Job's settings
	// do. Credential is what Jobs get, read for each; nil means that of the settings.
	Template   func(ctx context.Context, path string) ([]byte, error)
	Credential func() (string, error)
	// Poke wakes the loop at once.
	Poke <-chan struct{}
	// Sweeping opens the place of the sweeps in health. They begin once connected.
	Sweeping func() Health
	Logger   *slog.Logger
}

// Agent polls one Prefect API for one place.
type Agent struct {
	c       Config
	api     API
	cluster Cluster
	local   Local
	health  Health
	starts  *dispatch.Dispatcher[Run]
	launch  *launcher
	// seen belongs to the poll loop.
	seen sightings
	// unreadable holds the runs that were complained about after the last poll.
	unreadable map[flowrun.ID]bool
	// strange holds the types that nobody knows, of the runs that were complained about.
	strange map[flowrun.ID]flowrun.StateType
	// late are runs that were found beside the queue.
	late late
}

// New makes an agent. It starts nothing.
func New(c Config, api API, cluster Cluster, local Local, submitter dispatch.Submitter, health Health, job jobspec.Settings, d dispatch.Config) (*Agent, error) {
	if api == nil || cluster == nil || local == nil || health == nil || c.Sweeping == nil || c.Logger == nil {
		return nil, errors.New("agent: api, cluster, its local copy, health of both loops and logger are required")
	}
	if c.ID == "" || c.Place.String() == "" || c.Namespace == "" {
		return nil, errors.New("agent: id, place and namespace are required")
	}
	a := &Agent{c: c, api: api, cluster: cluster, local: local, health: health, unreadable: map[flowrun.ID]bool{}}
	a.launch = &launcher{a: a, make: newMaker(c, job, api.TenantID)}
	starts, err := dispatch.New[Run](d, a.launch, submitter)
	a.starts = starts
	return a, err
}

// Run connects, polls and sweeps until ctx ends or the last poll is done, then waits
// for the starts under way. It returns nil on a clean stop.
func (a *Agent) Run(ctx context.Context) error {
	trying, stop := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error { a.launch.make.watch(trying); return nil })
	var err error
	if a.connect(ctx) && a.c.MaxPolls != 0 {
		err = a.work(ctx)
	}
	stop()
	return errors.Join(err, group.Wait(), a.starts.Wait())
}

func (a *Agent) work(ctx context.Context) error {
	sweeping, stop := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error { (&sweeper{a: a, health: a.c.Sweeping()}).run(sweeping); return nil })
	err := a.poll(ctx)
	stop()
	return errors.Join(err, group.Wait())
}

// ErrPlace means that the namespace was deleted and made again: the claims of
// this process name a place that is gone, so it must start anew.
var ErrPlace = errors.New("the namespace was replaced by another of the same name")

// connect tries until the API answers; an outage at start must not kill an agent (D-11).
func (a *Agent) connect(ctx context.Context) bool {
	last := ""
	for pause := time.Second; ; pause = min(2*pause, errorPause) {
		err := a.api.Connect(ctx, a.c.Registration)
		if err == nil {
			a.configure(a.api.Settings())
			a.c.Logger.InfoContext(ctx, "connected to the prefect api", slog.Any("labels", a.c.Labels), slog.String("namespace", a.c.Namespace))
			return true
		}
		a.health.Fail(err.Error())
		if text := err.Error(); text != last && ctx.Err() == nil {
			a.c.Logger.WarnContext(ctx, "not connected to the prefect api, trying again", slog.Any("error", err))
			last = text
		}
		if !a.pause(ctx, max(pause, flowrun.Asked(err, pollsWait))) {
			return false
		}
	}
}

// configure applies the settings of the agent's config at the backend where the
// agent itself was given nothing (D-12). Nothing is started yet.
func (a *Agent) configure(s prefect1.Settings) {
	if len(a.c.Labels) == 0 {
		a.c.Labels = s.Labels
	}
	a.launch.make.change(func(job *jobspec.Settings) { job.Labels = a.c.Labels })
	a.supply(s)
	a.launch.make.ready()
}

// supply gives Jobs the variables of the agent's config that they do not have.
func (a *Agent) supply(s prefect1.Settings) {
	a.launch.make.change(func(job *jobspec.Settings) {
		given := map[string]bool{}
		for _, v := range job.EnvVars {
			given[v.Name] = true
		}
		job.EnvVars = slices.Clone(job.EnvVars) // builds may be under way with them
		for _, name := range slices.Sorted(maps.Keys(s.EnvVars)) {
			if !given[name] {
				job.EnvVars = append(job.EnvVars, jobspec.EnvVar{Name: name, Value: s.EnvVars[name]})
			}
		}
	})
}

// progress says that a poll was answered, and whether what it finds can be started.
func (a *Agent) progress() {
	if why := a.launch.make.missing(); why != "" {
		a.health.Fail(why)
		return
	}
	a.health.Progress()
}

// offers reads runs and decides which may be started here.
func (a *Agent) offers(ctx context.Context, ids []flowrun.ID) ([]Offer, error) {
	read := time.Now()
	ctx, cancel := context.WithDeadline(ctx, read.Add(dispatch.ClaimWithin))
	defer cancel()
	views, broken, err := a.views(ctx, ids, read)
	if err != nil {
		return nil, err
	}
	a.complain(ctx, broken)
	a.wonder(ctx, views)
	a.note(views)
	return a.startable(ctx, a.decide(ctx, views))
}

// startable passes offers on only while the cluster answers: nothing is claimed
// that could not be started now.
func (a *Agent) startable(ctx context.Context, offers []Offer) ([]Offer, error) {
	if len(offers) == 0 {
		return nil, nil
	}
	uid, digest, err := a.cluster.Place(ctx, a.c.Namespace)
	if err != nil {
		return nil, err
	}
	if !a.c.Place.Is(flowrun.NewPlace(uid, digest)) {
		return nil, ErrPlace
	}
	return offers, nil
}

// refresh decides again on runs that were offered before. It may run beside the
// poll loop.
func (a *Agent) refresh(ctx context.Context, offers []Offer) ([]Offer, error) {
	read := time.Now()
	ctx, cancel := context.WithDeadline(ctx, read.Add(dispatch.ClaimWithin))
	defer cancel()
	views, _, err := a.views(ctx, ids(offers), read)
	if err != nil {
		return nil, err
	}
	for i := range views {
		views[i].since = sinceOf(offers, views[i])
	}
	return a.startable(ctx, a.decide(ctx, views))
}

// sinceOf is when the run of a view was first seen as it is, if it was offered so.
func sinceOf(offers []Offer, v view) time.Time {
	for _, o := range offers {
		if o.ID == v.run.ID && o.Run.Scheduled == v.stand.Scheduled {
			return o.Run.since
		}
	}
	return v.since
}

// views reads runs, and what the place holds of them. Runs that cannot be read
// come apart from the others: one bad run must not stop them (D-28).
func (a *Agent) views(ctx context.Context, ids []flowrun.ID, read time.Time) (views []view, broken []prefect1.FlowRun, err error) {
	runs, err := a.api.FlowRuns(ctx, ids, read)
	if err != nil {
		return nil, nil, err
	}
	seen := map[flowrun.ID]bool{}
	for _, run := range runs {
		if seen[run.ID] {
			continue
		}
		seen[run.ID] = true
		if run.Err != nil {
			broken = append(broken, run)
			continue
		}
		views = append(views, view{run: run, stand: run.Standing(), agent: a.c.ID, place: a.c.Place, since: read, read: read})
	}
	return views, broken, a.lookAt(ctx, views)
}

func (a *Agent) decide(ctx context.Context, views []view) []Offer {
	var offers []Offer
	for _, v := range views {
		o, why := offer(v)
		if why == "" {
			offers = append(offers, o)
			continue
		}
		a.skipped(ctx, v, why)
		if why == skipCovered {
			a.launch.putBack(ctx, v.run.Snapshot)
		}
	}
	return offers
}

func (a *Agent) skipped(ctx context.Context, v view, why skip) {
	a.c.Logger.DebugContext(ctx, "flow run not started now", slog.String("flow_run_id", string(v.run.ID)), slog.String("reason", string(why)))
}

// complain says once of each run that it cannot be read.
func (a *Agent) complain(ctx context.Context, broken []prefect1.FlowRun) {
	unreadable := make(map[flowrun.ID]bool, len(broken))
	for _, run := range broken {
		unreadable[run.ID] = true
		if !a.unreadable[run.ID] {
			a.c.Logger.ErrorContext(ctx, "flow run not readable, left alone", slog.String("flow_run_id", string(run.ID)), slog.Any("error", run.Err))
		}
	}
	a.unreadable = unreadable
}

// wonder says once of each run that its state is of a type that no release of Prefect
// 0.x or 1.x knows. Such a run is left alone.
func (a *Agent) wonder(ctx context.Context, views []view) {
	strange := map[flowrun.ID]flowrun.StateType{}
	for _, v := range views {
		for _, state := range []flowrun.StateType{v.run.State.Type, v.stand.Counting.State.Type} {
			if _, said := strange[v.run.ID]; said || state.Known() {
				continue
			}
			strange[v.run.ID] = state
			if before, known := a.strange[v.run.ID]; !known || before != state {
				a.c.Logger.WarnContext(ctx, "flow run is in a state of an unknown type, left alone",
					slog.String("flow_run_id", string(v.run.ID)), slog.String("flow_run_name", v.run.Name), slog.String("state", string(state)))
			}
		}
	}
	a.strange = strange
}

// note keeps since when each run that somebody had before has been seen as it is, with
// or without a Job. The others wait for nothing.
func (a *Agent) note(views []view) {
	for i := range views {
		v := &views[i]
		if !needsLook(v.run, v.stand) {
			continue
		}
		as := fmt.Sprintf("%d %t", v.stand.Counting.Version, len(v.here.jobs) > 0)
		v.since = a.seen.see(v.run.ID, as, v.read).since
	}
}
