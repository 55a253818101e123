package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/kube"
	"github.com/prefect-kube/prefect-kube/internal/manifests"
	"github.com/prefect-kube/prefect-kube/internal/status"
)

const (
	// reviewPause is how long a lack of rights may be over before readiness says so, and
	// firstReview the pause after a look that failed. It doubles from one to the next.
	reviewPause = 5 * time.Minute
	firstReview = time.Second
	// reviewTimeout bounds one look at all rights, below what health takes for silence.
	reviewTimeout = 20 * time.Second
)

// reviewer tells what our credential may do. It is a *kube.Client.
type reviewer interface {
	Allowed(ctx context.Context, a kube.Access) (bool, error)
}

// lacking are the rights of the agent's own Role that the credential has not got. An
// error means that they are not known.
func lacking(ctx context.Context, r reviewer, namespace string) ([]manifests.Permission, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	var missing []manifests.Permission
	for _, p := range manifests.Permissions(namespace) {
		allowed, err := r.Allowed(ctx, kube.Access{Namespace: namespace, Group: p.Group, Resource: p.Resource, Verb: p.Verb, Name: p.Name})
		if err != nil {
			return nil, err
		}
		if !allowed {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// stops reports whether no flow run can be started without a right.
func stops(p manifests.Permission) bool { return p.Resource == "jobs" && p.Verb == "create" }

// watchRights tells health and the log which rights are missing, until none is or
// ctx ends. What is not known is not said, and keeps nobody from being ready.
func watchRights(ctx context.Context, r reviewer, namespace string, health *status.Health, log *slog.Logger) error {
	const name = "rights"
	loop := health.Loop(name, silence)
	defer health.Remove(name)
	told := map[string]bool{}
	for next := firstReview; ; {
		loop.Progress()
		missing, err := lacking(ctx, r, namespace)
		pause := reviewPause
		if err != nil {
			log.DebugContext(ctx, "rights in the cluster not known, asking again", slog.Any("error", err))
			pause, next = next, min(2*next, reviewPause)
		} else {
			next = firstReview
			tellLacks(ctx, missing, health, told, log)
			if len(missing) == 0 {
				return nil
			}
		}
		loop.Wait(pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// tellLacks tells health which rights are missing now, and the log once of each.
func tellLacks(ctx context.Context, missing []manifests.Permission, health *status.Health, told map[string]bool, log *slog.Logger) {
	stopping, warnings := lackTexts(missing)
	health.Lack(stopping, warnings)
	for _, text := range append(stopping, warnings...) {
		if !told[text] {
			told[text] = true
			log.WarnContext(ctx, "going on without a right in the cluster", slog.String("reason", text))
		}
	}
}

func lackTexts(missing []manifests.Permission) (stopping, warnings []string) {
	for _, p := range missing {
		text := fmt.Sprintf("right missing: %s %s: %s", p.Verb, p.Resource, p.Without)
		if stops(p) {
			stopping = append(stopping, text)
		} else {
			warnings = append(warnings, text)
		}
	}
	return stopping, warnings
}
