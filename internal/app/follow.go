package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// Chatter prepares a process that is ours alone: what the Kubernetes client logs for the
// whole process goes to a log, at debug level, and the memory has the container's
// limit. It must be called before any command.
func Chatter(log *slog.Logger) {
	kube.Chatter(log)
	limitMemory(log)
}

const (
	// beat is how often health is told whether the cluster is read.
	beat = 5 * time.Second
	// unread is how long Jobs and Pods may go unread without a word: each watch ends now
	// and then, and begins again.
	unread = 30 * time.Second
)

// copied is a copy of the cluster that knows whether it is up to date. It is a *kube.Watch.
type copied interface {
	Unread() (time.Duration, error)
}

// follow tells the loop "watch" of health whether Jobs and Pods are read.
func (s *started) follow(watch copied) func(context.Context) error {
	loop := s.health.Loop("watch", silence)
	return func(ctx context.Context) error {
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for first := true; ; first = false {
			since, err := watch.Unread()
			switch {
			case since == 0, s.tolerates(err):
				loop.Progress()
			case since >= unread || first:
				loop.Fail(fmt.Sprintf("jobs and pods not read for %v: %v", since.Round(time.Second), err))
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	}
}

// tolerates reports whether the process is of use although it may not read: an agent
// starts flow runs all the same, and says which right is missing; see watchRights.
func (s *started) tolerates(err error) bool { return s.standby == 0 && apierrors.IsForbidden(err) }
