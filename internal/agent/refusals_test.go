package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// lastingRefusal is what package kube makes of a refusal that stays the same.
type lastingRefusal struct{ error }

func (lastingRefusal) Temporary() bool { return true }
func (lastingRefusal) Lasts() bool     { return true }

// A refusal that is good for ever is told within half a minute, once, and named by what
// ends the run, also where another process took it over.
func TestARefusalForGoodIsTold(t *testing.T) {
	t.Parallel()
	const why = "500 Unknown: resourceVersion should not be set on objects to be created"
	synctest.Test(t, func(t *testing.T) {
		s := newShop(1)
		s.cluster.refuse = func(ctx context.Context) error {
			if !sleep(ctx, 10*time.Second) {
				return lastingRefusal{errors.New(why)}
			}
			return lastingRefusal{errors.New(why)}
		}
		told := func() (n int) {
			s.server.mu.Lock()
			defer s.server.mu.Unlock()
			for _, line := range s.server.logs {
				if strings.Contains(line.Message, why) {
					n++
				}
			}
			return n
		}
		time.AfterFunc(30*time.Second, func() {
			if told() != 1 {
				t.Errorf("told %d times within 30 s", told())
			}
		})
		s.run(deadline(t, time.Minute), t)
		if told() != 1 {
			t.Errorf("told %d times within a minute", told())
		}
		s.run(deadline(t, 12*time.Minute), t) // the next process
		last := s.server.runs["run-0"].history
		if end := last[len(last)-1].State; end.Type != flowrun.Failed || !strings.HasPrefix(end.Message, "no Job after 10 minutes: "+why) {
			t.Errorf("the run ends as %s: %s", end.Type, end.Message)
		}
	})
}

// A refusal that passes leaves nothing.
func TestARefusalThatPasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, began := newShop(1), time.Now()
		s.cluster.refuse = func(context.Context) error {
			if time.Since(began) < 5*time.Second {
				time.Sleep(time.Second)
				return lastingRefusal{errors.New("500")}
			}
			return nil
		}
		s.run(deadline(t, time.Minute), t)
		if !s.cluster.has("run-0") || len(s.server.logs) != 2 {
			t.Errorf("has a Job: %v; lines %+v", s.cluster.has("run-0"), s.server.logs)
		}
	})
}
