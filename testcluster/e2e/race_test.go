package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// order says how the claims of two agents reach the backend.
type order struct {
	// leader is the agent whose claim goes first. The other's follows once that is answered.
	leader int
	// overlap sends the other's without waiting for the answer, after the lag.
	overlap bool
	lag     time.Duration
}

// raceOptions are what a race can be had with. Without binaries it is that of all tests.
type raceOptions struct {
	generation     generation
	namespaces     int
	agent, backend string
	args           []string
}

// race is two agents with the same labels that always read the same offers before either claims.
type race struct {
	*stage
	// places are the namespaces of the two agents.
	places [2]string
	gates  [2]*gate
	agents [2]agent
	flow   string
	// orders holds how each run was claimed.
	orders map[string]order
}

func newRace(t *testing.T, o raceOptions) *race {
	t.Helper()
	r := &race{stage: newStageWithoutPods(t, o.generation, cmp.Or(o.backend, shared.binary)), orders: map[string]order{}}
	r.flow = r.createFlow()
	r.places = [2]string{r.namespace, r.namespace}
	if o.namespaces == 2 {
		r.places[1] = newNamespace(t)
		forbidPods(t, r.places[1])
	}
	for i := range r.agents {
		r.gates[i] = newGate()
		r.agents[i] = r.launch(agentOptions{
			name: fmt.Sprintf("agent-%d", i), binary: o.agent, namespace: r.places[i], api: proxy(t, r.url, r.gates[i].serve),
			args: append([]string{"--max-poll-interval", "100ms", "--grace", "1h"}, o.args...),
		})
	}
	for _, a := range r.agents {
		a.awaitReady()
	}
	return r
}

// round creates runs, at most 25 as one poll returns, lets both agents read them all, and releases their claims.
func (r *race) round(runs int, o order) {
	r.t.Helper()
	ids := r.createRuns(runs)
	for _, gate := range r.gates {
		gate.polls.Store(1)
	}
	for _, gate := range r.gates {
		claims := receive(r.t, "both agents claim", gate.claims)
		for _, id := range ids {
			if !strings.Contains(claims, id) {
				r.t.Fatalf("an agent does not claim run %s: %s", id, claims)
			}
			r.orders[id] = o
		}
	}
	leader, other := r.gates[o.leader], r.gates[1-o.leader]
	if !o.overlap {
		leader.pass(r.t)
		other.pass(r.t)
		return
	}
	leader.release <- struct{}{}
	time.Sleep(o.lag) // the lag is the case under test
	other.release <- struct{}{}
	receive(r.t, "the claim is answered", leader.done)
	receive(r.t, "the claim is answered", other.done)
}

// createRuns creates runs with one request.
func (r *race) createRuns(n int) []string {
	r.t.Helper()
	var text strings.Builder
	text.WriteString("mutation($flow: UUID){")
	for i := range n {
		fmt.Fprintf(&text, "r%d: create_flow_run(input: {flow_id: $flow}){id} ", i)
	}
	text.WriteString("}")
	answer, err := ask[map[string]created](r.t.Context(), r.stage, text.String(), map[string]any{"flow": r.flow})
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, run := range answer {
		ids = append(ids, run.ID)
	}
	return ids
}

// starts is what became of one run.
type starts struct {
	order order
	// by are the agents that say that they submitted it.
	by []int
	// jobs are its Jobs in both places.
	jobs []job
	// claims are in the order in which they count.
	claims []claim
}

// tie says that both claims rest on the same version: the backend read it twice before it inserted.
func (s *starts) tie() bool { return len(s.claims) == 2 && s.claims[0].Version == s.claims[1].Version }

// claim is a Submitted row of a run's history.
type claim struct {
	Version int
	State   string
	Data    struct {
		Context struct{ Agent, Namespace, Job string }
	} `json:"serialized_state"`
}

// finish lets the agents leave, which ends every start under way, and counts by run.
func (r *race) finish() map[string]*starts {
	r.t.Helper()
	all := map[string]*starts{}
	for run, o := range r.orders {
		all[run] = &starts{order: o, claims: r.claims(r.t.Context(), run)}
	}
	for i, a := range r.agents {
		a.stop()
		for _, l := range a.lines() {
			if l.Phase == "submitted" {
				all[l.FlowRunID].by = append(all[l.FlowRunID].by, i)
			}
		}
	}
	for _, j := range jobs(r.t.Context(), r.t, slices.Compact(slices.Clone(r.places[:]))...) {
		all[j.run()].jobs = append(all[j.run()].jobs, j)
	}
	return all
}

func (r *race) claims(ctx context.Context, run string) []claim {
	r.t.Helper()
	type answer struct {
		Runs []struct{ States []claim } `json:"flow_run"`
	}
	got, err := ask[answer](ctx, r.stage,
		`query($id: uuid){flow_run(where: {id: {_eq: $id}}){states{version state serialized_state}}}`, map[string]any{"id": run})
	if err != nil || len(got.Runs) != 1 {
		r.t.Fatalf("history of %s: %v %v", run, got, err)
	}
	claims := slices.DeleteFunc(got.Runs[0].States, func(c claim) bool { return c.State != "Submitted" })
	want := 2
	if r.generation.newer {
		want = 1 // it refuses the second
	}
	if len(claims) != want {
		r.t.Fatalf("run %s has claims %+v, want %d", run, claims, want)
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Data.Context.Agent, b.Data.Context.Agent))
	})
	return claims
}
