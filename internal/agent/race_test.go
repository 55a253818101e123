package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rules leave a part of the protocol out.
type rules struct {
	blind     bool // no verification read
	unsettled bool // the verification does not wait for slower writers
}

// race lets agents with the same labels, one for each place, take the same runs,
// and returns how many Jobs each run got in all places together.
func race(t *testing.T, seed uint64, places []string, r rules) map[flowrun.ID]int {
	t.Helper()
	jobs := map[flowrun.ID]int{}
	synctest.Test(t, func(t *testing.T) {
		s := newServer(seed, 5)
		clusters := map[string]*cluster{}
		var group errgroup.Group
		for i, place := range places {
			where := strings.Fields(place)[0]
			if clusters[where] == nil {
				clusters[where] = newCluster(s, where)
			}
			a := newAgent(t, s, clusters[where], fmt.Sprintf("agent-%d", i), place, r)
			group.Go(func() error { return a.Run(t.Context()) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for id := range s.runs {
			jobs[id] = 0
		}
		for _, c := range clusters {
			for _, job := range c.jobs {
				jobs[flowrun.ID(job.Labels[flowrun.LabelFlowRunID])]++
			}
		}
	})
	return jobs
}

func newAgent(t *testing.T, s *server, c *cluster, id, place string, r rules) *Agent {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	var api API = s
	if r.blind {
		api = blindAPI{server: s, agent: id}
	}
	var there Cluster = c
	if placeOf(place).UID == "" {
		there = closed{c}
	}
	settle := dispatch.Settle
	if r.unsettled {
		settle = 0
	}
	a, err := New(Config{
		Registration: prefect1.Registration{Name: "agent"}, ID: id, Place: placeOf(place), Namespace: "n",
		MaxPolls: 6, MaxPollInterval: time.Second, SendLogs: true, Sweeping: sweepsCalm, Logger: log,
	}, api, there, c, c, calm{}, jobspec.Settings{Namespace: "n", API: "http://localhost:4200"}, dispatch.Config{
		Settle: settle, Slots: 8, Drain: time.Minute, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// blindAPI shows an agent its own claims as if they always counted: what an agent
// without verification believes.
type blindAPI struct {
	*server
	agent string
}

func (b blindAPI) Snapshots(ctx context.Context, ids []flowrun.ID) (map[flowrun.ID]flowrun.Snapshot, error) {
	out, err := b.server.Snapshots(ctx, ids)
	for id, snapshot := range out {
		own := slices.DeleteFunc(snapshot.History, func(r flowrun.Row) bool {
			return r.State.Mark.Kind != flowrun.Foreign && r.State.Mark.Agent != b.agent
		})
		snapshot.History = own
		out[id] = snapshot
	}
	return out, err
}

// Two agents that read the same offers start each run once, in one place and in two.
func TestOneJobPerAttempt(t *testing.T) {
	t.Parallel()
	for name, places := range map[string][]string{
		"one place": {"p", "p"}, "two places": {"p", "q"}, "three agents": {"p", "q", "p"},
		"one may not read the namespace": {"p", "p by name"}, "nor may the other": {"p by name", "p by name"},
		"of each kind in two places": {"p by name", "q", "p", "q by name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(150) {
				for id, n := range race(t, seed, places, rules{}) {
					if n != 1 {
						t.Fatalf("seed %d: %s has %d jobs, want 1", seed, id, n)
					}
				}
			}
		})
	}
}

// The same race with a rule left out: the test above would notice.
func TestRaceIsLostWithoutTheRules(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]rules{"verification": {blind: true}, "settling": {unsettled: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(150) {
				if slices.Max(slices.Collect(maps.Values(race(t, seed, []string{"p", "q"}, r)))) > 1 {
					return
				}
			}
			t.Error("no run was started twice without this rule: the race does not test it")
		})
	}
}
