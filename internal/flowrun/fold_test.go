package flowrun_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

func foreign(version int, t flowrun.StateType) flowrun.Row {
	return flowrun.Row{Version: version, State: flowrun.State{Type: t}}
}

func claim(version int, agent string, on int) flowrun.Row {
	return flowrun.Row{Version: version, State: flowrun.State{
		Type: flowrun.Submitted, Mark: flowrun.Mark{Kind: flowrun.Claim, Agent: agent, Place: flowrun.NewPlace("place-"+agent, agent), Job: "j", On: on},
	}}
}

func verdict(version int, agent string, on int, onType flowrun.StateType) flowrun.Row {
	return flowrun.Row{Version: version, State: flowrun.State{
		Type: flowrun.Failed, Mark: flowrun.Mark{Kind: flowrun.Verdict, Agent: agent, Place: flowrun.NewPlace("place-"+agent, agent), On: on, OnType: onType},
	}}
}

func putBack(version int, agent string, t flowrun.StateType) flowrun.Row {
	return flowrun.Row{Version: version, State: flowrun.State{
		Type: t, Mark: flowrun.Mark{Kind: flowrun.PutBack, Agent: agent, Place: flowrun.NewPlace("place-"+agent, agent)},
	}}
}

func TestFold(t *testing.T) {
	t.Parallel()
	type want struct {
		Version   int
		Type      flowrun.StateType
		Scheduled int
		Holder    string
		Previous  string
		Ran       bool
	}
	for _, tt := range []struct {
		name string
		rows []flowrun.Row
		want want
	}{
		{"nothing", nil, want{}},
		{"offered", []flowrun.Row{foreign(1, flowrun.Scheduled)}, want{1, flowrun.Scheduled, 1, "", "", false}},
		{"claimed", []flowrun.Row{foreign(1, flowrun.Scheduled), claim(2, "a", 1)}, want{2, flowrun.Submitted, 1, "a", "", false}},
		{
			"two claims of one version: the smaller agent holds",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), claim(2, "b", 1), claim(2, "a", 1)},
			want{2, flowrun.Submitted, 1, "a", "", false},
		},
		{
			"a later claim is void",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), claim(2, "b", 1), claim(3, "a", 1)},
			want{2, flowrun.Submitted, 1, "b", "", false},
		},
		{
			"a claim that lands after a cancel is void",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), foreign(2, flowrun.Cancelled), claim(3, "a", 1)},
			want{2, flowrun.Cancelled, 1, "", "", false},
		},
		{
			"ours before foreign of one version: the cancel counts",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), foreign(2, flowrun.Cancelled), claim(2, "a", 1)},
			want{2, flowrun.Cancelled, 1, "a", "", false},
		},
		{
			"a claim that lands on a rerun holds the rerun",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), foreign(2, flowrun.Failed), foreign(3, flowrun.Scheduled), claim(4, "a", 1)},
			want{4, flowrun.Submitted, 3, "a", "", false},
		},
		{
			"a rerun remembers the last holder",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), claim(2, "a", 1), foreign(3, flowrun.Running), foreign(4, flowrun.Scheduled)},
			want{4, flowrun.Scheduled, 4, "", "a", true},
		},
		{
			"a rerun of one that only ran before its claim",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), foreign(2, flowrun.Running), foreign(3, flowrun.Scheduled), claim(4, "a", 3), foreign(5, flowrun.Scheduled)},
			want{5, flowrun.Scheduled, 5, "", "a", false},
		},
		{
			"a rerun of one that nobody saw running",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), claim(2, "a", 1), foreign(3, flowrun.Scheduled), foreign(4, flowrun.Running), foreign(5, flowrun.Scheduled)},
			want{5, flowrun.Scheduled, 5, "", "a", false},
		},
		{
			"a verdict on the state that counts",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), claim(2, "a", 1), foreign(3, flowrun.Running), verdict(4, "b", 3, flowrun.Running)},
			want{4, flowrun.Failed, 1, "a", "", false},
		},
		{
			"a verdict that comes after the success is void",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), claim(2, "a", 1), foreign(3, flowrun.Running), foreign(4, flowrun.Success), verdict(5, "b", 3, flowrun.Running)},
			want{4, flowrun.Success, 1, "a", "", false},
		},
		{
			"of two foreign states of one version the final one counts",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), foreign(5, flowrun.Running), foreign(5, flowrun.Cancelled)},
			want{5, flowrun.Cancelled, 1, "", "", false},
		},
		{
			"a put-back changes nothing",
			[]flowrun.Row{foreign(1, flowrun.Scheduled), foreign(2, flowrun.Success), claim(3, "a", 1), putBack(4, "a", flowrun.Success)},
			want{2, flowrun.Success, 1, "", "", false},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := flowrun.Fold(tt.rows)
			got := want{s.Counting.Version, s.Counting.State.Type, s.Scheduled, agentOf(s.Holder), agentOf(s.Previous), s.PreviousRan}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("fold (-want +got):\n%s", diff)
			}
		})
	}
}

func agentOf(row *flowrun.Row) string {
	if row == nil {
		return ""
	}
	return row.State.Mark.Agent
}

// histories are what servers that lock nothing can hold: rows of any writer, with
// versions that repeat.
func histories() *rapid.Generator[[]flowrun.Row] {
	types := []flowrun.StateType{flowrun.Scheduled, flowrun.Running, flowrun.Success, flowrun.Failed, flowrun.Cancelled}
	row := rapid.Custom(func(t *rapid.T) flowrun.Row {
		version := rapid.IntRange(1, 8).Draw(t, "version")
		agent := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "agent")
		on := rapid.IntRange(1, 8).Draw(t, "on")
		kind := rapid.SampledFrom(types).Draw(t, "type")
		switch rapid.IntRange(0, 4).Draw(t, "writer") {
		case 0:
			return claim(version, agent, on)
		case 1:
			return verdict(version, agent, on, kind)
		case 2:
			return putBack(version, agent, kind)
		}
		return foreign(version, kind)
	})
	return rapid.Map(rapid.SliceOfN(row, 0, 12), func(rows []flowrun.Row) []flowrun.Row {
		return append([]flowrun.Row{foreign(0, flowrun.Scheduled)}, rows...)
	})
}

func without(rows []flowrun.Row, drop func(flowrun.Row) bool) []flowrun.Row {
	return slices.DeleteFunc(slices.Clone(rows), drop)
}

func TestFoldProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := histories().Draw(t, "rows")
		s := flowrun.Fold(rows)

		shuffled := slices.Clone(rows)
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if diff := cmp.Diff(s, flowrun.Fold(shuffled)); diff != "" {
			t.Fatalf("the order in which rows are read matters:\n%s", diff)
		}

		noPutBacks := without(rows, func(r flowrun.Row) bool { return r.State.Mark.Kind == flowrun.PutBack })
		if diff := cmp.Diff(s, flowrun.Fold(noPutBacks)); diff != "" {
			t.Fatalf("a put-back counts:\n%s", diff)
		}

		holders := 0
		for _, agent := range []string{"a", "b", "c"} {
			if s.Holds(agent, s.Scheduled) {
				holders++
			}
			if s.Holds(agent, s.Scheduled+1) {
				t.Fatal("a claim holds an attempt it does not rest on")
			}
		}
		if holders > 1 {
			t.Fatalf("%d agents hold one attempt", holders)
		}

		final := append(slices.Clone(rows), foreign(9, flowrun.Success))
		late := rapid.SliceOf(rapid.SampledFrom([]flowrun.Row{
			claim(10, "a", 0), claim(11, "b", 0), verdict(10, "b", 8, flowrun.Running), putBack(12, "c", flowrun.Running),
		})).Draw(t, "late")
		if got := flowrun.Fold(append(final, late...)).Counting; got.Version != 9 || got.State.Type != flowrun.Success {
			t.Fatalf("writes of ours moved a final state to %v (version %d)", got.State.Type, got.Version)
		}

		rerun := flowrun.Fold(append(final, foreign(10, flowrun.Scheduled)))
		if rerun.Scheduled != 10 || rerun.Holder != nil || rerun.Counting.State.Type != flowrun.Scheduled {
			t.Fatalf("a rerun is not an attempt of its own: %+v", rerun)
		}
	})
}

// The second start is refused by its name only while the Job exists.
func TestRetentionOutlivesFence(t *testing.T) {
	t.Parallel()
	const requestTimeout = 60e9 // --request-timeout of kube-apiserver, in nanoseconds
	if flowrun.Retention <= 2*flowrun.Fence+requestTimeout {
		t.Errorf("retention %v does not outlive twice the fence %v plus the API server's request timeout", flowrun.Retention, flowrun.Fence)
	}
}

func TestJobName(t *testing.T) {
	t.Parallel()
	const id = flowrun.ID("11111111-1111-4111-8111-111111111111")
	long := "a-very-long-name-that-a-template-may-carry-12345-and-more"
	for _, tt := range []struct{ name, prefix, attempt, want string }{
		{"default prefix", "", "v1", "prefect-job-" + flowrun.Identifier(id, "v1")},
		{"own prefix", "etl", "v1", "etl-" + flowrun.Identifier(id, "v1")},
		{"cut at 46 without the dash there", long, "v1", "a-very-long-name-that-a-template-may-carry-123-" + flowrun.Identifier(id, "v1")},
		{"nothing left of the prefix", "---", "v1", "prefect-job-" + flowrun.Identifier(id, "v1")},
	} {
		if got := flowrun.JobName(tt.prefix, id, tt.attempt); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	if flowrun.Identifier(id, "v1") == flowrun.Identifier(id, "v2") || flowrun.Identifier(id, "v1") == flowrun.Identifier(id+"x", "v1") {
		t.Error("another attempt or run has the same identifier")
	}
	if got := flowrun.JobName(long, id, "v1"); len(got) > 63 {
		t.Errorf("name of %d characters does not fit a label", len(got))
	}
}

// A server without histories shows the last state only; a claim still holds.
func TestStandingWithoutHistory(t *testing.T) {
	t.Parallel()
	shown := claim(2, "a", 1)
	s := flowrun.Snapshot{Version: shown.Version, State: shown.State}.Standing()
	if !s.Holds("a", 1) || s.Holds("b", 1) {
		t.Errorf("the claim shown does not hold: %+v", s)
	}
	s = flowrun.Snapshot{Version: 3, State: flowrun.State{Type: flowrun.Scheduled}}.Standing()
	if s.Scheduled != 3 || s.Counting.State.Type != flowrun.Scheduled {
		t.Errorf("the offer shown is none: %+v", s)
	}
}
