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
	// reviewPause is how long a lack of rights may be over before readiness says so.
	reviewPause = 5 * time.Minute
	// reviewTimeout bounds one look at all rights.
	reviewTimeout = 30 * time.Second
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
// ctx ends. What is not known is not said.
func watchRights(ctx context.Context, r reviewer, namespace string, health *status.Health, log *slog.Logger) error {
	told := map[string]bool{}
	for {
		missing, err := lacking(ctx, r, namespace)
		if err == nil {
			stopping, warnings := lackTexts(missing)
			health.Lack(stopping, warnings)
			for _, text := range append(stopping, warnings...) {
				if !told[text] {
					told[text] = true
					log.WarnContext(ctx, "going on without a right in the cluster", slog.String("reason", text))
				}
			}
			if len(missing) == 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reviewPause):
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
