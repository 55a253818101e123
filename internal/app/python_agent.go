package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
)

// rival notices a Python agent that works beside ours: a Job of its making that is
// younger than ours is. It needs no right that the agent has not got anyway. A Job
// with another name may be one that a flow made itself.
type rival struct {
	since time.Time
	log   *slog.Logger
	once  sync.Once
}

// facts is diagnose.JobFacts, with a look at who made the Job.
func (r *rival) facts(ctx context.Context) func(*batchv1.Job) diagnose.Job {
	return func(j *batchv1.Job) diagnose.Job {
		f := diagnose.JobFacts(j)
		if pythons(f) && f.Created.After(r.since) {
			r.once.Do(func() {
				r.log.WarnContext(ctx, "a python agent seems to run in this namespace; stop it: it yields no claim, and deletes finished jobs of ours",
					slog.String("job", f.Name), slog.String("namespace", f.Namespace))
			})
		}
		return f
	}
}
