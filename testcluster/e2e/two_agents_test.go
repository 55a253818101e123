package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTwoAgents: however two claims meet, a run gets one Job in all places together, and it is the holder's. Both servers
// read a run's version and insert the next row in two steps; the older one has no lock around them, so there the backend
// takes its time in between.
func TestTwoAgents(t *testing.T) {
	t.Parallel()
	needCluster(t)
	backends := map[string]string{"0.11.0": mutant(t, slowly(20*time.Millisecond))}
	for version, g := range generations() {
		for namespaces := 1; namespaces <= 2; namespaces++ {
			t.Run(fmt.Sprintf("%d namespaces/%s", namespaces, version), func(t *testing.T) {
				t.Parallel()
				newRace(t, raceOptions{generation: g, namespaces: namespaces, backend: backends[version]}).fifty()
			})
		}
	}
}

// fifty races for fifty runs in each order.
func (r *race) fifty() {
	r.t.Helper()
	for range 2 {
		for _, o := range []order{{leader: 0}, {leader: 1}, {overlap: true}} {
			r.round(25, o)
		}
	}
	ties := 0
	for run, s := range r.finish() {
		r.check(run, s)
		if s.tie() {
			ties++
		}
	}
	r.t.Logf("%d runs, in %d of them both claims of one version", len(r.orders), ties)
	if len(r.orders) != 150 || !r.generation.newer && ties == 0 {
		r.t.Error("want 150 runs, and on the older server some with both claims of one version")
	}
}

// check compares what became of a run with what shall.
func (r *race) check(run string, s *starts) {
	r.t.Helper()
	if len(s.jobs) != 1 || len(s.by) != 1 {
		r.t.Errorf("run %s (%+v): agents %v started it, jobs are %+v; want one of each", run, s.order, s.by, s.jobs)
		return
	}
	if !s.order.overlap && s.by[0] != s.order.leader {
		r.t.Errorf("run %s (%+v): agent %d started it", run, s.order, s.by[0])
	}
	got, holder := s.jobs[0].Metadata, s.claims[0].Data.Context
	if got.Name != holder.Job || got.Namespace != holder.Namespace || got.Namespace != r.places[s.by[0]] {
		r.t.Errorf("run %s (%+v): job %s/%s of agent %d is not the holder's, %+v", run, s.order, got.Namespace, got.Name, s.by[0], holder)
	}
}

// TestGuards takes the guards out of the program, one by one, and sees the second Job that they prevent. In one namespace
// the name is enough; --exclusive-labels, which is a promise, switches the settling off.
func TestGuards(t *testing.T) {
	t.Parallel()
	needCluster(t)
	const gap = 300 * time.Millisecond
	older, newer := generations()["0.11.0"], generations()["1.4.1"]
	backend, unverified, unnamed := mutant(t, slowly(gap)), mutant(t, noVerification()), mutant(t, randomNames())
	// Without settling the leader verifies before the other's row is there. Where the other has the smaller id, it holds
	// the claim as well: once in the two orders.
	late := []order{{leader: 0, overlap: true, lag: 2 * gap / 3}, {leader: 1, overlap: true, lag: 2 * gap / 3}}
	hasty := func(namespaces int) raceOptions {
		return raceOptions{generation: older, namespaces: namespaces, backend: backend, args: []string{"--exclusive-labels"}}
	}
	cases := map[string]struct {
		options raceOptions
		agent   string
		orders  []order
		most    int // Jobs of one run
	}{
		"no settling in one namespace":                    {hasty(1), "", late, 1},
		"no settling, random names in one namespace":      {hasty(1), unnamed, late, 2},
		"no settling in two namespaces":                   {hasty(2), "", late, 2},
		"no verification in one namespace":                {raceOptions{generation: newer, namespaces: 1}, unverified, []order{{}}, 1},
		"no verification in two namespaces":               {raceOptions{generation: newer, namespaces: 2}, unverified, []order{{}}, 2},
		"no verification in two namespaces, older server": {raceOptions{generation: older, namespaces: 2}, unverified, []order{{}}, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.agent = c.agent
			r := newRace(t, c.options)
			for _, o := range slices.Repeat(c.orders, 3) {
				r.round(1, o)
			}
			most := 0
			for _, s := range r.finish() {
				most = max(most, len(s.jobs))
			}
			if most != c.most {
				t.Errorf("a run has %d jobs at most, want %d", most, c.most)
			}
		})
	}
}

// mutation replaces a text of the program that is there exactly once.
type mutation struct{ file, old, new string }

// slowly makes the development backend read a version and insert the next row in two steps, with a gap between.
func slowly(gap time.Duration) []mutation {
	const file = "internal/app/dev.go"
	hook := fmt.Sprintf("BetweenReadAndInsert: func(context.Context, string) { time.Sleep(%d) }, Logger: log,", gap)
	return []mutation{{file, `"log/slog"`, "\"log/slog\"\n\t\"time\""}, {file, "Logger: log,", hook}}
}

func noVerification() []mutation {
	return []mutation{{"internal/agent/launch.go", ".Holds(o.Run.Claimant, o.Run.Scheduled)", ".Holds(o.Run.Claimant, o.Run.Scheduled) || true"}}
}

func randomNames() []mutation {
	const file = "internal/flowrun/flowrun.go"
	return []mutation{
		{file, `"crypto/sha256"`, "\"crypto/rand\"\n\t\"crypto/sha256\""},
		{file, "sha256.Sum256([]byte(string(id)", "sha256.Sum256([]byte(rand.Text() + string(id)"},
	}
}

// mutant builds the program with mutations. One that no longer fits the source fails the test.
func mutant(t *testing.T, mutations []mutation) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for _, m := range mutations {
		source, mutated := filepath.Join(root, m.file), filepath.Join(dir, filepath.Base(m.file))
		text, err := os.ReadFile(mutated)
		if os.IsNotExist(err) {
			text, err = os.ReadFile(source)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Fatalf("%s holds %q %d times, want once: fit the mutation to the source", m.file, m.old, n)
		}
		if err := os.WriteFile(mutated, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[source] = mutated
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "prefect-kube")
	if err := build(t.Context(), root, path, "./cmd/prefect-kube", "-overlay", file); err != nil {
		t.Fatal(err)
	}
	return path
}
