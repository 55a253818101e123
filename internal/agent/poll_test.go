package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// pages is a server whose pages behind the queue take a minute each.
type pages struct{ *server }

func (pages) Overdue(ctx context.Context, _ time.Time, _ []string) ([]flowrun.ID, error) {
	for range 10 {
		if !sleep(ctx, time.Minute) {
			return nil, ctx.Err()
		}
	}
	return nil, nil
}

// A slow server behind the queue makes no loop look stuck, which it does after five minutes.
func TestLookingBehindTheQueueEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, began := &Agent{api: pages{newServer(1, 0)}}, time.Now()
		if err := a.widen(t.Context(), began); err == nil || time.Since(began) > 2*time.Minute {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}
