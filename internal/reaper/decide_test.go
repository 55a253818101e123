package reaper

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

const someRun flowrun.ID = "3f1c9f5e-0f2c-4d46-9a3e-0d8c3a0b7f11"

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func testPolicy() Policy {
	return Policy{
		Agent: "me", Place: flowrun.NewPlace("here", "here"), Namespace: "flows", LogName: "agent", Grace: 2 * time.Minute,
		DeleteFinished: true, SendLogs: true, Settle: time.Second,
	}
}

func foreign(version int, t flowrun.StateType) flowrun.Row {
	return flowrun.Row{Version: version, State: flowrun.State{Type: t}}
}

func claim(version int, agent, place, job string) flowrun.Row {
	return flowrun.Row{Version: version, State: flowrun.State{Type: flowrun.Submitted, Mark: flowrun.Mark{
		Kind: flowrun.Claim, Agent: agent, Place: flowrun.NewPlace(place, place), Namespace: "flows", Job: job, On: version - 1, OnType: flowrun.Scheduled,
	}}}
}

func verdict(version, on int, onType flowrun.StateType) flowrun.Row {
	return flowrun.Row{Version: version, State: flowrun.State{Type: flowrun.Failed, Mark: flowrun.Mark{
		Kind: flowrun.Verdict, Agent: "me", Place: flowrun.NewPlace("here", "here"), On: on, OnType: onType,
	}}}
}

// history is a run whose newest row is the last one.
func history(rows ...flowrun.Row) run {
	last := rows[len(rows)-1]
	return runOf(flowrun.Snapshot{ID: someRun, Version: last.Version, State: last.State, History: rows})
}

func shown(version int, t flowrun.StateType) run {
	return runOf(flowrun.Snapshot{ID: someRun, Version: version, State: flowrun.State{Type: t}})
}

// claimed is a run that this process claimed, with what came after.
func claimed(after ...flowrun.Row) run {
	return history(append([]flowrun.Row{foreign(3, flowrun.Scheduled), claim(4, "me", "here", "j")}, after...)...)
}

// failedJob are the facts of a failed Job of attempt v3, ten minutes old.
func failedJob(r run, mods ...func(*facts)) facts {
	f := facts{
		id: someRun, newest: true, started: true, run: r, now: noon, watched: time.Hour,
		job: diagnose.Job{
			Namespace: "flows", Name: "j", UID: "uid-j", RunID: someRun, Managed: true, Attempt: "v3", Created: noon.Add(-10 * time.Minute), Parallelism: 1,
			Ended: diagnose.Condition{Type: "Failed"},
		},
		verdict: diagnose.Verdict{Kind: diagnose.Failed, Reason: "OOMKilled", Since: noon, Message: "out of memory"},
	}
	for _, mod := range mods {
		mod(&f)
	}
	return f
}

// acrossRights calls f for each combination of who may read the namespace: those that
// wrote the history, and we.
func acrossRights(of facts, f func(what string, of facts, p Policy)) {
	f("both read the namespace", of, testPolicy())
	p := testPolicy()
	p.Place.UID = ""
	f("they read the namespace, we do not", of, p)
	if len(of.run.snapshot.History) > 0 {
		rows := slices.Clone(of.run.snapshot.History)
		for i := range rows {
			rows[i].State.Mark.Place.UID = ""
		}
		of.run = history(rows...)
	}
	f("neither reads the namespace", of, p)
	f("we read the namespace, they do not", of, testPolicy())
}

func kinds(actions []Action) []ActionKind {
	var out []ActionKind
	for _, a := range actions {
		out = append(out, a.Kind)
	}
	return out
}

func TestDecide(t *testing.T) {
	t.Parallel()
	attempt := func(a string) func(*facts) { return func(f *facts) { f.job.Attempt = a } }
	young := func(f *facts) { f.job.Created = noon.Add(-time.Minute) }
	well := func(f *facts) {
		f.verdict = diagnose.Verdict{Kind: diagnose.Succeeded}
		f.job.Ended = diagnose.Condition{Type: "Complete"}
	}
	stuck := func(reason string, patience int, since time.Duration) func(*facts) {
		return func(f *facts) {
			f.same, f.started, f.occupied, f.job.Ended = time.Hour, false, true, diagnose.Condition{}
			f.verdict = diagnose.Verdict{Kind: diagnose.Stuck, Reason: reason, Patience: patience, Since: noon.Add(-since)}
		}
	}
	alive := func(f *facts) {
		f.same, f.occupied, f.job.Ended, f.verdict = time.Hour, true, diagnose.Condition{}, diagnose.Verdict{Kind: diagnose.Running}
	}
	running, again := foreign(5, flowrun.Running), foreign(6, flowrun.Scheduled)
	cancelled := foreign(6, flowrun.Cancelled)
	elsewhere := history(foreign(3, flowrun.Scheduled), claim(4, "you", "there", "j"), running)
	covered := verdict(7, 5, flowrun.Running)
	covered.State.Mark.Place = flowrun.NewPlace("there", "there")
	beyond := verdict(9, 5, flowrun.Running)
	beyond.State.Mark.Place = flowrun.NewPlace("beyond", "beyond")
	ending := func(f *facts) { alive(f); f.job.Parallelism = 0 }
	stopped := func(f *facts) {
		ending(f)
		f.occupied, f.verdict.Kind = false, diagnose.Stopped
	}
	helpless := func(f *facts) { alive(f); f.unstoppable = true }
	older := func(f *facts) { f.newest, f.same = false, 0 }
	over := func(d time.Duration) func(*facts) { return func(f *facts) { f.over = d } }
	report := []ActionKind{ReportLog, SetState}
	tests := map[string]struct {
		facts facts
		want  []ActionKind
	}{
		"not asked yet":       {failedJob(run{}), []ActionKind{Ask}},
		"submitted":           {failedJob(claimed()), report},
		"running":             {failedJob(claimed(running)), report},
		"finished by itself":  {failedJob(claimed(running, foreign(6, flowrun.Success))), []ActionKind{DeleteJob}},
		"failed by us":        {failedJob(claimed(running, verdict(6, 5, flowrun.Running))), []ActionKind{DeleteJob}},
		"failed by us, young": {failedJob(claimed(running, verdict(6, 5, flowrun.Running)), young), []ActionKind{Recheck}},
		"rerun waits":         {failedJob(claimed(running, foreign(6, flowrun.Scheduled))), []ActionKind{Recheck}},
		"rerun waits for a Job that cannot start": {failedJob(claimed(running, again), stuck("ErrImagePull", 1, time.Hour)), []ActionKind{StopJob}},
		"rerun claimed, its Job still to come":    {failedJob(claimed(running, foreign(6, flowrun.Scheduled), claim(7, "me", "here", "k"))), []ActionKind{Recheck}},
		"rerun running, its Job not seen yet":     {failedJob(claimed(running, foreign(6, flowrun.Scheduled), claim(7, "me", "here", "k"), foreign(8, flowrun.Running))), []ActionKind{Recheck}},
		"older Job of a rerun":                    {failedJob(claimed(running), func(f *facts) { f.newest = false }), []ActionKind{DeleteJob}},
		"process faster than a rerun":             {failedJob(claimed(foreign(5, flowrun.Scheduled), foreign(6, flowrun.Running))), report},
		"first Job beside its retry":              {failedJob(claimed(running), func(f *facts) { f.newest = false }, young), []ActionKind{Recheck}},
		"retry of a Running run":                  {failedJob(claimed(running), attempt("0d5f-uid-of-the-job-before")), report},
		"retry of a run that is Submitted again":  {failedJob(claimed(), attempt("0d5f-uid-of-the-job-before")), []ActionKind{Recheck}},
		"another place holds it":                  {failedJob(elsewhere), []ActionKind{Recheck}},
		"a pod of the run lives":                  {failedJob(claimed(running), func(f *facts) { f.busy, f.occupied = true, true }), nil},
		"another replica holds it":                {failedJob(history(foreign(3, flowrun.Scheduled), claim(4, "you", "here", "j")), func(f *facts) { f.watched = 0 }, young), []ActionKind{Recheck, Recheck}},
		"another replica held it, and is silent":  {failedJob(history(foreign(3, flowrun.Scheduled), claim(4, "you", "here", "j"))), report},
		"unknown, first look":                     {failedJob(run{knowledge: unknown}), []ActionKind{Recheck}},
		"unknown, second look":                    {failedJob(run{knowledge: unknown}, func(f *facts) { f.doubted = time.Minute }), []ActionKind{DeleteJob}},
		"unknown, young":                          {failedJob(run{knowledge: unknown}, young), []ActionKind{Recheck}},
		"foreign Job":                             {failedJob(claimed(running), func(f *facts) { f.job.Managed = false }), nil},
		"Job with the label of another run":       {failedJob(claimed(running), func(f *facts) { f.job.RunID = "other" }), nil},

		"no history, submitted":           {failedJob(shown(4, flowrun.Submitted)), report},
		"no history, submitted once more": {failedJob(shown(7, flowrun.Submitted)), []ActionKind{Recheck}},
		"no history, running":             {failedJob(shown(5, flowrun.Running)), report},
		"no history, scheduled":           {failedJob(shown(6, flowrun.Scheduled)), []ActionKind{Recheck}},
		"no history, finished":            {failedJob(shown(6, flowrun.Success)), []ActionKind{DeleteJob}},
		"a void verdict covers a success": {failedJob(claimed(running, foreign(6, flowrun.Success), verdict(7, 5, flowrun.Running))), []ActionKind{SetState}},
		"a void claim covers Running":     {failedJob(history(foreign(3, flowrun.Scheduled), claim(4, "me", "here", "j"), running, claim(6, "you", "here", "j"))), []ActionKind{SetState}},

		"ended well, run final":             {failedJob(claimed(running, foreign(6, flowrun.Failed)), well), []ActionKind{DeleteJob}},
		"ended well, task runs wait":        {failedJob(claimed(running), well), []ActionKind{Recheck}},
		"ended well, not asked, young":      {failedJob(run{}, well, young, func(f *facts) { f.watched = time.Minute }), []ActionKind{Recheck, Recheck}},
		"ended well, not asked, old":        {failedJob(run{}, well), []ActionKind{Ask}},
		"ended well, a pod of it ends":      {failedJob(claimed(running, foreign(6, flowrun.Success)), well, func(f *facts) { f.occupied = true }), nil},
		"ended well, its pod never started": {failedJob(claimed(running, foreign(6, flowrun.Success)), well, func(f *facts) { f.started, f.occupied = false, true }), nil},

		"never began":                            {failedJob(claimed(), well), report},
		"never began, within the grace period":   {failedJob(claimed(), well, func(f *facts) { f.watched = time.Minute }), []ActionKind{Recheck, Recheck}},
		"never began, held by another replica":   {failedJob(history(foreign(3, flowrun.Scheduled), claim(4, "you", "here", "j")), well, func(f *facts) { f.watched = testPolicy().Grace }), report},
		"never began, no history":                {failedJob(shown(4, flowrun.Submitted), well), report},
		"never began, an older attempt":          {failedJob(claimed(running, again, claim(7, "me", "here", "k")), well), []ActionKind{Recheck}},
		"never began, another place holds it":    {failedJob(history(foreign(3, flowrun.Scheduled), claim(4, "you", "there", "j")), well), []ActionKind{Recheck}},
		"never began, another Job of it runs":    {failedJob(claimed(), well, func(f *facts) { f.busy = true }), []ActionKind{Recheck}},
		"never began, its environment may go on": {failedJob(claimed(), well, func(f *facts) { f.job.HandsOver = true }), []ActionKind{Recheck}},
		"never began, of a Python agent":         {failedJob(history(foreign(3, flowrun.Scheduled), foreign(4, flowrun.Submitted)), well, func(f *facts) { f.job.Managed, f.job.Python, f.job.Name = false, true, "prefect-job-j" }), []ActionKind{Recheck}},

		"a claim covers a void verdict": {failedJob(claimed(running, foreign(6, flowrun.Success), verdict(7, 5, flowrun.Running), claim(8, "you", "here", "j"))), []ActionKind{SetState}},
		"stuck, failed, its pod ended":  {failedJob(claimed(verdict(5, 4, flowrun.Submitted)), stuck("ErrImagePull", 1, time.Hour), func(f *facts) { f.started, f.occupied = true, false }), []ActionKind{Recheck}},
		"being deleted":                 {failedJob(claimed(running, foreign(6, flowrun.Success)), well, func(f *facts) { f.job.Deleting = true }), nil},

		"stuck within the grace period":              {failedJob(run{}, stuck("ErrImagePull", 1, time.Minute)), []ActionKind{Recheck, Ask}},
		"stuck beyond the grace period":              {failedJob(claimed(), stuck("ErrImagePull", 1, 2*time.Minute)), report},
		"stuck beyond it, not asked":                 {failedJob(run{}, stuck("ErrImagePull", 1, 2*time.Minute)), []ActionKind{Ask}},
		"stuck for what heals by itself":             {failedJob(claimed(), stuck("Unschedulable", 0, time.Hour)), []ActionKind{ReportLog, Recheck}},
		"stuck for what may take longer":             {failedJob(claimed(), stuck("QuotaExceeded", 15, 3*time.Minute)), []ActionKind{ReportLog, Recheck, Recheck}},
		"stuck for longer than that":                 {failedJob(claimed(), stuck("QuotaExceeded", 15, 30*time.Minute)), report},
		"stuck and failed by us":                     {failedJob(claimed(verdict(5, 4, flowrun.Submitted)), stuck("ErrImagePull", 1, time.Hour), young), []ActionKind{StopJob}},
		"stuck and cancelled":                        {failedJob(claimed(foreign(5, flowrun.Cancelled)), stuck("ErrImagePull", 1, time.Hour)), []ActionKind{StopJob}},
		"stuck, failed, but a container ran":         {failedJob(claimed(verdict(5, 4, flowrun.Submitted)), stuck("ErrImagePull", 1, time.Hour), func(f *facts) { f.started = true }), []ActionKind{Recheck}},
		"running, looked at now and then":            {failedJob(claimed(running), alive), []ActionKind{Recheck}},
		"running, not asked":                         {failedJob(run{}, alive), []ActionKind{Ask}},
		"running, a moment old":                      {failedJob(run{}, alive, func(f *facts) { f.job.Created = noon }), []ActionKind{Recheck}},
		"running, cancelled a moment ago":            {failedJob(claimed(running, cancelled), alive, func(f *facts) { f.same = time.Second }), []ActionKind{Recheck}},
		"running, cancelled long ago":                {failedJob(claimed(running, cancelled), alive, young), []ActionKind{StopJob}},
		"running, cancelled, not the newest":         {failedJob(claimed(running, cancelled), alive, func(f *facts) { f.newest = false }), []ActionKind{Recheck}},
		"finished, its pod still running":            {failedJob(claimed(running, cancelled), alive, func(f *facts) { f.job.Ended.Type = "Failed" }), nil},
		"running, cancelling":                        {failedJob(claimed(running, foreign(6, flowrun.Cancelling)), alive), []ActionKind{Recheck}},
		"running, cancelled, no history":             {failedJob(shown(6, flowrun.Cancelled), alive), []ActionKind{StopJob}},
		"running, its run is unknown":                {failedJob(run{knowledge: unknown}, alive), []ActionKind{Recheck}},
		"running, finished by itself":                {failedJob(claimed(running, foreign(6, flowrun.Success)), alive), []ActionKind{Recheck}},
		"a sidecar goes on":                          {failedJob(claimed(running, foreign(6, flowrun.Success)), alive, over(testPolicy().Grace)), []ActionKind{StopJob}},
		"a sidecar goes on, of an older Job":         {failedJob(claimed(running, foreign(6, flowrun.Failed)), alive, older, over(testPolicy().Grace)), []ActionKind{StopJob}},
		"a sidecar goes on, within the grace period": {failedJob(claimed(running, foreign(6, flowrun.Success)), alive, over(testPolicy().Grace-1)), []ActionKind{Recheck}},
		"a sidecar goes on, not asked":               {failedJob(run{}, alive, over(time.Hour)), []ActionKind{Ask}},
		"a sidecar goes on, its run too":             {failedJob(claimed(running), alive, over(time.Hour)), []ActionKind{Recheck}},
		"a sidecar goes on, no right to stop":        {failedJob(claimed(running, foreign(6, flowrun.Success)), helpless, over(time.Hour)), []ActionKind{DeleteJob}},
		"without a pod, cancelled long ago": {failedJob(claimed(cancelled), alive, func(f *facts) {
			f.verdict = diagnose.Verdict{Reason: diagnose.NoPod}
		}), []ActionKind{Recheck, StopJob}},
		"without a pod, looked at again in 5 s": {failedJob(run{}, alive, func(f *facts) {
			f.verdict, f.job.Created = diagnose.Verdict{Reason: diagnose.NoPod}, noon
		}), []ActionKind{Recheck, Recheck}},

		"superseded":                            {failedJob(claimed(running, again), alive, young), []ActionKind{StopJob}},
		"superseded a moment ago":               {failedJob(claimed(running, again), alive, func(f *facts) { f.same = time.Second - 1 }), []ActionKind{Recheck}},
		"superseded, claimed elsewhere":         {failedJob(claimed(running, again, claim(7, "you", "there", "k")), alive, older), []ActionKind{StopJob}},
		"superseded, claimed by a Python agent": {failedJob(claimed(running, again, foreign(7, flowrun.Submitted)), alive), []ActionKind{StopJob}},
		"superseded, running again":             {failedJob(claimed(running, again, foreign(7, flowrun.Running)), alive), []ActionKind{Recheck}},
		"superseded, running elsewhere":         {failedJob(claimed(running, again, claim(7, "you", "there", "k"), foreign(8, flowrun.Running)), alive, older), []ActionKind{StopJob}},
		"superseded, covered elsewhere":         {failedJob(claimed(running, again, claim(7, "you", "there", "k"), foreign(8, flowrun.Running), beyond), alive, older), []ActionKind{Recheck}},
		"superseded as it begins":               {failedJob(claimed(again), alive, func(f *facts) { f.same = testPolicy().Grace - 1 }), []ActionKind{Recheck}},
		"superseded, and does not begin":        {failedJob(claimed(again), alive, func(f *facts) { f.same = testPolicy().Grace }), []ActionKind{StopJob}},
		"superseded, no history":                {failedJob(shown(6, flowrun.Scheduled), alive), []ActionKind{Recheck}},
		"superseded, covered by another place":  {failedJob(claimed(running, again, covered), alive), []ActionKind{SetState}},
		"superseded, of a Python agent":         {failedJob(claimed(running, again), alive, func(f *facts) { f.job.Managed, f.job.Python, f.job.Name = false, true, "prefect-job-j" }), []ActionKind{Recheck}},
		"superseded, foreign":                   {failedJob(claimed(running, again), alive, func(f *facts) { f.job.Managed = false }), nil},
		"superseded, ends already":              {failedJob(claimed(running, again), ending), nil},
		"the attempt that waits":                {failedJob(history(foreign(3, flowrun.Scheduled)), alive), []ActionKind{Recheck}},
		"the attempt that is claimed":           {failedJob(claimed(), alive), []ActionKind{Recheck}},
		"an attempt that the history lacks yet": {failedJob(claimed(), alive, attempt("v9")), []ActionKind{Recheck}},
		"an attempt that is none":               {failedJob(claimed(running, again), alive, attempt("vx")), []ActionKind{Recheck}},
		"no attempt":                            {failedJob(claimed(running, again), alive, attempt("")), []ActionKind{Recheck}},
		"superseded retry":                      {failedJob(claimed(running, again), alive, attempt("0d5f-uid-of-the-job-before")), []ActionKind{StopJob}},
		"superseded retry, claimed":             {failedJob(claimed(running, again, claim(7, "me", "here", "k")), alive, attempt("none")), []ActionKind{StopJob}},
		"retry of a Running run, alive":         {failedJob(claimed(running), alive, attempt("0d5f-uid-of-the-job-before")), []ActionKind{Recheck}},

		"no right to stop":             {failedJob(claimed(running, cancelled), helpless), []ActionKind{DeleteJob}},
		"no right to stop, young":      {failedJob(claimed(running, cancelled), helpless, young), []ActionKind{Recheck}},
		"no right to stop, superseded": {failedJob(claimed(running, again), helpless), []ActionKind{DeleteJob}},

		"stopped, cancelled":                {failedJob(claimed(running, cancelled), stopped), []ActionKind{DeleteJob}},
		"stopped, cancelled, young":         {failedJob(claimed(running, cancelled), stopped, young), []ActionKind{Recheck}},
		"stopped, a rerun waits":            {failedJob(claimed(running, again), stopped), []ActionKind{Recheck}},
		"stopped, a rerun is claimed":       {failedJob(claimed(running, again, claim(7, "me", "here", "k")), stopped), []ActionKind{Recheck}},
		"stopped, a rerun has its Job":      {failedJob(claimed(running, again, claim(7, "me", "here", "k")), stopped, older), []ActionKind{DeleteJob}},
		"stopped by a person":               {failedJob(claimed(running), stopped), report},
		"stopped by a person, just now":     {failedJob(claimed(running), stopped, func(f *facts) { f.watched = time.Second }), []ActionKind{Recheck, Recheck}},
		"stopped before it began":           {failedJob(claimed(), stopped, func(f *facts) { f.watched = longestHold - 1 }), []ActionKind{Recheck, Recheck}},
		"stopped before it began, for ever": {failedJob(claimed(), stopped), report},
		"stopped, not asked":                {failedJob(run{}, stopped), []ActionKind{Ask}},
		"stopped after its pod ended":       {failedJob(claimed(running, cancelled), stopped, func(f *facts) { f.verdict.Kind = diagnose.Failed }), []ActionKind{DeleteJob}},
		"stopped, its pod is still there":   {failedJob(claimed(running, cancelled), stopped, func(f *facts) { f.occupied = true }), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			acrossRights(tt.facts, func(what string, f facts, p Policy) {
				if diff := cmp.Diff(tt.want, kinds(decide(f, p))); diff != "" {
					t.Errorf("%s: actions (-want +got):\n%s", what, diff)
				}
			})
		})
	}
}

func TestDecideNamesWhatTheVerdictRestsOn(t *testing.T) {
	t.Parallel()
	actions := decide(failedJob(claimed(foreign(5, flowrun.Running))), testPolicy())
	want := flowrun.Write{
		FlowRunID: someRun, Version: 5, Type: flowrun.Failed, Message: "Kubernetes Error: out of memory",
		Mark: flowrun.Mark{Kind: flowrun.Verdict, Agent: "me", Place: flowrun.NewPlace("here", "here"), Namespace: "flows", Job: "j", On: 5, OnType: flowrun.Running},
	}
	if diff := cmp.Diff(want, actions[1].Write); diff != "" {
		t.Errorf("write (-want +got):\n%s", diff)
	}
}

func TestPutBackWritesTheCountingStateAgain(t *testing.T) {
	t.Parallel()
	success := flowrun.Row{Version: 6, State: flowrun.State{Type: flowrun.Success, Message: "well", Data: []byte(`{"type":"Success"}`)}}
	actions := decide(failedJob(claimed(foreign(5, flowrun.Running), success, verdict(7, 5, flowrun.Running))), testPolicy())
	want := flowrun.Write{
		FlowRunID: someRun, Version: 7, Type: flowrun.Success, Message: "well", Inner: success.State.Data,
		Mark: flowrun.Mark{Kind: flowrun.PutBack, Agent: "me", Place: flowrun.NewPlace("here", "here"), On: 6, OnType: flowrun.Success},
	}
	if diff := cmp.Diff(want, actions[0].Write); diff != "" {
		t.Errorf("write (-want +got):\n%s", diff)
	}
}

func TestNothingIsDeletedIfThatIsSwitchedOff(t *testing.T) {
	t.Parallel()
	p := testPolicy()
	p.DeleteFinished = false
	cancelled := claimed(foreign(5, flowrun.Cancelled))
	goesOn := func(f *facts) {
		f.same, f.job.Ended, f.verdict = time.Hour, diagnose.Condition{}, diagnose.Verdict{Kind: diagnose.Running}
	}
	for name, tt := range map[string]struct {
		facts facts
		want  []ActionKind
	}{
		"finished":         {failedJob(claimed(foreign(5, flowrun.Success))), nil},
		"goes on":          {failedJob(cancelled, goesOn), []ActionKind{StopJob}},
		"no right to stop": {failedJob(cancelled, goesOn, func(f *facts) { f.unstoppable = true }), []ActionKind{Recheck}},
	} {
		if diff := cmp.Diff(tt.want, kinds(decide(tt.facts, p))); diff != "" {
			t.Errorf("%s: actions (-want +got):\n%s", name, diff)
		}
	}
}

func TestGone(t *testing.T) {
	t.Parallel()
	running := claimed(foreign(5, flowrun.Running))
	elsewhere := history(foreign(3, flowrun.Scheduled), claim(4, "you", "there", "j"), foreign(5, flowrun.Running))
	python := func(seen int) func(*facts) {
		return func(f *facts) { f.job, f.witnessed = diagnose.Job{Name: "prefect-job-j", Python: true}, seen }
	}
	rerun := history(foreign(1, flowrun.Scheduled), claim(2, "you", "there", "j"), foreign(3, flowrun.Running), foreign(4, flowrun.Scheduled), foreign(5, flowrun.Running))
	again := history(foreign(1, flowrun.Scheduled), foreign(2, flowrun.Running), foreign(3, flowrun.Scheduled), foreign(4, flowrun.Running))
	tests := map[string]struct {
		run     run
		doubted time.Duration
		want    []ActionKind
		mod     func(*facts)
	}{
		"a Python agent's, of another place":          {run: rerun, doubted: time.Hour, mod: python(4)},
		"a Python agent's, of the attempt before":     {run: again, doubted: time.Hour, mod: python(1)},
		"a Python agent's, seen alive in its attempt": {run: again, doubted: time.Hour, mod: python(3), want: []ActionKind{ReportLog, SetState}},
		"not asked yet":          {want: []ActionKind{Ask}},
		"running, first look":    {run: running, want: []ActionKind{Recheck}},
		"running, second look":   {run: running, doubted: doubt, want: []ActionKind{ReportLog, SetState}},
		"submitted is adopted":   {run: claimed(), doubted: doubt},
		"final":                  {run: claimed(foreign(5, flowrun.Success)), doubted: doubt},
		"another place":          {run: elsewhere, doubted: doubt},
		"no claim, no place":     {run: shown(5, flowrun.Running), doubted: doubt},
		"unknown":                {run: run{knowledge: unknown}, doubted: doubt},
		"void verdict covers it": {run: claimed(foreign(5, flowrun.Success), verdict(6, 4, flowrun.Submitted)), want: []ActionKind{SetState}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := facts{id: someRun, verdict: diagnose.Verdict{Kind: diagnose.Gone}, run: tt.run, now: noon, doubted: tt.doubted}
			if tt.mod != nil {
				tt.mod(&f)
			}
			acrossRights(f, func(what string, f facts, p Policy) {
				if diff := cmp.Diff(tt.want, kinds(gone(f, p))); diff != "" {
					t.Errorf("%s: actions (-want +got):\n%s", what, diff)
				}
			})
		})
	}
}

// anyRun draws a history as the servers of a fleet may leave it.
func anyRun(t *rapid.T) run {
	types := []flowrun.StateType{
		flowrun.Scheduled, flowrun.Submitted, flowrun.Running, flowrun.Success, flowrun.Failed, flowrun.Cancelled, flowrun.Cancelling, flowrun.Retrying,
	}
	s := flowrun.Snapshot{ID: someRun}
	for range rapid.IntRange(0, 7).Draw(t, "rows") {
		row := foreign(s.Version+rapid.IntRange(0, 1).Draw(t, "step"), rapid.SampledFrom(types).Draw(t, "type"))
		row.State.Mark = flowrun.Mark{
			Kind:  flowrun.MarkKind(rapid.IntRange(0, 3).Draw(t, "kind")),
			Agent: rapid.SampledFrom([]string{"me", "you"}).Draw(t, "agent"), Place: flowrun.Place{UID: rapid.SampledFrom([]string{"here", "there"}).Draw(t, "place")},
			Job: "j", On: rapid.IntRange(0, 7).Draw(t, "on"), OnType: rapid.SampledFrom(types).Draw(t, "onType"),
		}
		s.Version, s.State = row.Version, row.State
		s.History = append(s.History, row)
	}
	if len(s.History) == 0 {
		s.State.Type, s.Version = rapid.SampledFrom(types).Draw(t, "shown"), rapid.IntRange(0, 7).Draw(t, "version")
	}
	r := runOf(s)
	r.knowledge = knowledge(rapid.IntRange(0, 2).Draw(t, "knowledge"))
	return r
}

func anyFacts(t *rapid.T) facts {
	yes := func(name string) bool { return rapid.Bool().Draw(t, name) }
	span := func(name string) time.Duration {
		return time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, name))
	}
	return facts{
		id: someRun, newest: yes("newest"), busy: yes("busy"), started: yes("started"), occupied: yes("occupied"),
		run: anyRun(t), now: noon, watched: span("watched"), doubted: span("doubted"), same: span("same"),
		witnessed: rapid.IntRange(0, 7).Draw(t, "witnessed"), unstoppable: yes("unstoppable"),
		job: diagnose.Job{
			Name: rapid.SampledFrom([]string{"j", "prefect-job-j"}).Draw(t, "name"), Python: yes("python"), RunID: rapid.SampledFrom([]flowrun.ID{someRun, "other"}).Draw(t, "run"), Managed: yes("managed"), Deleting: yes("deleting"),
			Attempt: rapid.SampledFrom([]string{"", "v0", "v3", "none", "0d5f"}).Draw(t, "attempt"), Created: noon.Add(-span("age")),
			Parallelism: rapid.Int32Range(0, 1).Draw(t, "parallelism"),
			Ended:       diagnose.Condition{Type: rapid.SampledFrom([]string{"", "Complete", "Failed"}).Draw(t, "ended")},
		},
		verdict: diagnose.Verdict{
			Kind:     diagnose.Kind(rapid.IntRange(0, 7).Draw(t, "verdict")),
			Patience: rapid.SampledFrom([]int{0, 1, 15}).Draw(t, "patience"), Since: noon.Add(-span("since")),
		},
	}
}

func TestDecideIsSafe(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		for _, a := range decide(f, testPolicy()) {
			switch a.Kind {
			case StopJob:
				checkStop(t, f)
			case DeleteJob:
				checkDelete(t, f)
			case SetState:
				checkWrite(t, f, a.Write)
			case Recheck:
				if a.After <= 0 {
					t.Fatalf("looks again after %v, which spins", a.After)
				}
			case Ask:
				if f.run.knowledge != unasked {
					t.Fatal("asks what it knows")
				}
			case DeletePod:
				t.Fatal("deletes a Pod that has a Job")
			case ReportLog:
			}
		}
	})
}

// checkStop tells apart why a Job that may still run is ended.
func checkStop(t *rapid.T, f facts) {
	_, state := f.run.counting()
	holder := f.run.standing.Holder
	elsewhere := holder != nil && !holder.State.Mark.Place.Is(testPolicy().Place)
	older := f.job.Managed && f.run.folded && f.job.Attempt != flowrun.Attempt(f.run.standing.Scheduled) &&
		(state == flowrun.Scheduled || state == flowrun.Submitted || elsewhere && f.job.Attempt[0] == 'v') && (!f.newest || f.same >= testPolicy().Settle)
	stuck := f.verdict.Kind == diagnose.Stuck && !f.started && state.IsFinished()
	cancelled := f.newest && state == flowrun.Cancelled && f.same >= testPolicy().Grace
	switch {
	case f.job.RunID != f.id, !f.job.Managed && (!f.job.Python || f.job.Name != "prefect-job-j"):
		t.Fatal("ends a foreign Job")
	case f.job.Finished(), f.job.Deleting, f.job.Parallelism == 0:
		t.Fatal("ends a Job that ends or has ended")
	case f.run.knowledge != known, !older && !stuck && !cancelled:
		t.Fatal("ends a Job that may go on")
	}
}

func checkDelete(t *rapid.T, f facts) {
	_, state := f.run.counting()
	over := f.job.Finished() || f.job.Parallelism == 0
	if !over {
		if checkStop(t, f); !f.unstoppable {
			t.Fatal("deletes a Job that could be stopped")
		}
	}
	switch {
	case f.job.RunID != f.id, !f.job.Managed && (!f.job.Python || f.job.Name != "prefect-job-j"):
		t.Fatal("deletes a foreign Job")
	case noon.Sub(f.job.Created) < flowrun.Retention:
		t.Fatal("deletes a young Job")
	case over && f.occupied:
		t.Fatal("deletes a Job with a live Pod")
	case f.run.knowledge != known && !f.job.Managed:
		t.Fatal("deletes what may belong to another Prefect")
	case f.run.knowledge == known && f.newest && over && !state.IsFinished():
		t.Fatal("deletes the newest Job of a run that is not final")
	case f.run.knowledge == unasked:
		t.Fatal("deletes without having asked")
	}
}

func checkWrite(t *rapid.T, f facts, w flowrun.Write) {
	version, state := f.run.counting()
	if w.Mark.On != version || w.Mark.OnType != state {
		t.Fatalf("rests on %d %s, but %d %s counts", w.Mark.On, w.Mark.OnType, version, state)
	}
	switch w.Mark.Kind {
	case flowrun.Verdict:
		if state.IsFinished() || w.Type != flowrun.Failed {
			t.Fatalf("writes %s over %s", w.Type, state)
		}
		stopped := f.verdict.Kind == diagnose.Stopped && state != flowrun.Submitted && f.watched >= doubt
		if f.busy || !stopped && !slices.Contains([]diagnose.Kind{diagnose.Failed, diagnose.Stuck}, f.verdict.Kind) {
			t.Fatal("fails a run that may be alive")
		}
	case flowrun.PutBack:
		if w.Type != state {
			t.Fatalf("puts back %s, but %s counts", w.Type, state)
		}
	case flowrun.Foreign, flowrun.Claim:
		t.Fatalf("writes a %v", w.Mark.Kind)
	}
}

// pythonJob are the facts of a failed Job that a Python agent made.
func pythonJob(r run, mods ...func(*facts)) facts {
	return failedJob(r, append([]func(*facts){func(f *facts) {
		f.job.Managed, f.job.Python, f.job.Attempt, f.job.Name = false, true, "", "prefect-job-j"
	}}, mods...)...)
}

func TestDecideOnJobsOfPythonAgents(t *testing.T) {
	t.Parallel()
	scheduled, submitted, running := foreign(1, flowrun.Scheduled), foreign(2, flowrun.Submitted), foreign(3, flowrun.Running)
	rerun := history(scheduled, submitted, running, foreign(4, flowrun.Failed), foreign(5, flowrun.Scheduled), foreign(6, flowrun.Submitted))
	named := func(name string) func(*facts) { return func(f *facts) { f.job.Name = name } }
	// seen was alive in an attempt, and has been the newest Job for a while.
	seen := func(attempt int, d time.Duration) func(*facts) {
		return func(f *facts) { f.witnessed, f.same = attempt, d }
	}
	young := func(f *facts) { f.job.Created = noon }
	long := history(scheduled, submitted, running)
	for n := range 16 {
		long.snapshot.History = append(long.snapshot.History, foreign(4+n, flowrun.Running))
	}
	whole := history(append(long.snapshot.History, foreign(20, flowrun.Running))...)
	cut := history(append([]flowrun.Row{foreign(7, flowrun.Scheduled)}, long.snapshot.History[7:]...)...)
	elsewhere := history(scheduled, claim(2, "you", "there", "j"), running, foreign(4, flowrun.Scheduled), foreign(5, flowrun.Running))
	claimedThere := history(scheduled, foreign(2, flowrun.Submitted), claim(2, "you", "there", "j"), running)
	report := []ActionKind{ReportLog, SetState}
	for name, tt := range map[string]struct {
		facts facts
		want  []ActionKind
	}{
		"not asked yet":                     {pythonJob(run{}), []ActionKind{Ask}},
		"submitted":                         {pythonJob(history(scheduled, submitted)), report},
		"running":                           {pythonJob(history(scheduled, submitted, running)), report},
		"running, its name by a template":   {pythonJob(history(scheduled, submitted, running), named("etl-j")), report},
		"finished":                          {pythonJob(history(scheduled, submitted, running, foreign(4, flowrun.Success))), []ActionKind{DeleteJob}},
		"finished, its name by a template":  {pythonJob(history(scheduled, submitted, running, foreign(4, flowrun.Success)), named("etl-j")), nil},
		"finished, young":                   {pythonJob(history(scheduled, submitted, foreign(3, flowrun.Success)), func(f *facts) { f.job.Created = noon }), []ActionKind{Recheck}},
		"the turn of another replica":       {pythonJob(history(scheduled, submitted), func(f *facts) { f.watched, f.job.Created = 0, noon }), []ActionKind{Recheck, Recheck}},
		"a rerun, alive in it, first look":  {pythonJob(rerun, seen(5, time.Second)), []ActionKind{Recheck, Recheck}},
		"a rerun, alive in it, second look": {pythonJob(rerun, seen(5, time.Minute)), report},
		"a rerun, alive before it":          {pythonJob(rerun, seen(1, time.Hour)), []ActionKind{Recheck}},
		"a rerun, and no Job came":          {pythonJob(rerun, seen(0, time.Hour)), []ActionKind{Recheck}},
		"a rerun, claimed elsewhere before": {pythonJob(elsewhere, seen(4, time.Hour)), []ActionKind{Recheck}},
		"a claim elsewhere":                 {pythonJob(claimedThere, seen(1, time.Hour)), []ActionKind{Recheck}},
		"twenty rows, all of them":          {pythonJob(whole), report},
		"a history that is cut off":         {pythonJob(cut, seen(0, time.Hour)), []ActionKind{Recheck}},
		"cut off, but seen alive":           {pythonJob(cut, seen(7, time.Hour)), report},
		"no history, never seen alive":      {pythonJob(shown(3, flowrun.Running), seen(0, time.Hour)), []ActionKind{Recheck}},
		"no history, first look":            {pythonJob(shown(3, flowrun.Running), seen(3, time.Second)), []ActionKind{Recheck, Recheck}},
		"no history, second look":           {pythonJob(shown(3, flowrun.Running), seen(3, time.Minute)), report},
		"finished, of a run unknown here":   {pythonJob(run{knowledge: unknown}, func(f *facts) { f.doubted = time.Hour }), []ActionKind{Recheck}},
		"young, of a run unknown here":      {pythonJob(run{knowledge: unknown}, young), []ActionKind{Recheck}},
		"a claim of ours took over":         {pythonJob(history(scheduled, submitted, foreign(3, flowrun.Scheduled), claim(4, "me", "here", "k"))), []ActionKind{Recheck}},
		"a Python agent took over from us":  {pythonJob(claimed(foreign(5, flowrun.Scheduled), foreign(6, flowrun.Submitted)), seen(5, time.Minute)), report},
		"it did, and no Job of it came":     {pythonJob(claimed(foreign(5, flowrun.Scheduled), foreign(6, flowrun.Submitted)), seen(0, time.Hour)), []ActionKind{Recheck}},
		"a newer Job took over":             {pythonJob(history(scheduled, submitted, running), func(f *facts) { f.newest = false }), []ActionKind{DeleteJob}},
		"a pod lives":                       {pythonJob(history(scheduled, submitted, running), func(f *facts) { f.busy, f.occupied = true, true }), nil},
		"cancelled before it started": {pythonJob(history(scheduled, submitted, foreign(3, flowrun.Cancelled)), func(f *facts) {
			f.started, f.occupied, f.job.Ended = false, true, diagnose.Condition{}
			f.verdict = diagnose.Verdict{Kind: diagnose.Stuck, Reason: "ErrImagePull", Patience: 1, Since: noon.Add(-time.Hour)}
		}), []ActionKind{StopJob}},
		"of nobody we know": {pythonJob(history(scheduled, submitted, running), func(f *facts) { f.job.Python = false }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			acrossRights(tt.facts, func(what string, f facts, p Policy) {
				if diff := cmp.Diff(tt.want, kinds(decide(f, p))); diff != "" {
					t.Errorf("%s: actions (-want +got):\n%s", what, diff)
				}
			})
		})
	}
}

// Who starts no runs leaves reports to those who do, and says nothing of trouble
// that it cannot know to be told.
func TestStandbyComesSecond(t *testing.T) {
	t.Parallel()
	second := testPolicy()
	second.Agent, second.Standby = "second", 4*time.Second
	stuck := func(f *facts) {
		f.started, f.occupied, f.job.Ended = false, true, diagnose.Condition{}
		f.verdict = diagnose.Verdict{Kind: diagnose.Stuck, Reason: "Unschedulable", Since: noon.Add(-time.Hour)}
	}
	for name, tt := range map[string]struct {
		facts facts
		want  []ActionKind
	}{
		"a moment after the end": {failedJob(claimed(), func(f *facts) { f.watched, f.job.Created = 4*time.Second, noon }), []ActionKind{Recheck, Recheck}},
		"nobody reported":        {failedJob(claimed(), func(f *facts) { f.watched = 8 * time.Second }), []ActionKind{ReportLog, SetState}},
		"trouble":                {failedJob(claimed(), stuck), []ActionKind{Recheck}},
	} {
		if diff := cmp.Diff(tt.want, kinds(decide(tt.facts, second))); diff != "" {
			t.Errorf("%s: actions (-want +got):\n%s", name, diff)
		}
	}
}

func TestClearDeletesOnlyWhatIsOver(t *testing.T) {
	t.Parallel()
	success, running := history(foreign(1, flowrun.Scheduled), foreign(2, flowrun.Success)), history(foreign(1, flowrun.Scheduled), foreign(2, flowrun.Running))
	pod := func(name string, phase corev1.PodPhase, age time.Duration) diagnose.Pod {
		return diagnose.Pod{Name: name, Phase: phase, Created: noon.Add(-age), Python: true}
	}
	const named = "prefect-job-1-x"
	for name, tt := range map[string]struct {
		run  run
		pods []diagnose.Pod
		want []ActionKind
	}{
		"not asked":                    {run{}, []diagnose.Pod{pod(named, corev1.PodSucceeded, time.Hour)}, []ActionKind{Ask}},
		"ended well":                   {success, []diagnose.Pod{pod(named, corev1.PodSucceeded, time.Hour)}, []ActionKind{DeletePod}},
		"ended well, a task waits":     {running, []diagnose.Pod{pod(named, corev1.PodSucceeded, time.Hour)}, []ActionKind{Recheck}},
		"ended well, its run unknown":  {run{knowledge: unknown}, []diagnose.Pod{pod(named, corev1.PodSucceeded, time.Hour)}, []ActionKind{Recheck}},
		"ended well, young":            {run{}, []diagnose.Pod{pod(named, corev1.PodSucceeded, time.Minute)}, []ActionKind{Recheck}},
		"runs":                         {success, []diagnose.Pod{pod(named, corev1.PodRunning, time.Hour)}, nil},
		"waits":                        {success, []diagnose.Pod{pod(named, corev1.PodPending, time.Hour)}, nil},
		"on a lost node":               {success, []diagnose.Pod{pod(named, corev1.PodUnknown, time.Hour)}, nil},
		"named by a template":          {success, []diagnose.Pod{pod("etl-1-x", corev1.PodSucceeded, time.Hour)}, nil},
		"failed, not asked":            {run{}, []diagnose.Pod{pod(named, corev1.PodFailed, time.Hour)}, []ActionKind{Ask}},
		"failed, not told yet":         {running, []diagnose.Pod{pod(named, corev1.PodFailed, time.Hour)}, []ActionKind{Recheck}},
		"failed, its run over":         {success, []diagnose.Pod{pod(named, corev1.PodFailed, time.Hour)}, []ActionKind{DeletePod}},
		"failed, its run unknown":      {run{knowledge: unknown}, []diagnose.Pod{pod(named, corev1.PodFailed, time.Hour)}, []ActionKind{Recheck}},
		"failed before the newest one": {running, []diagnose.Pod{pod(named, corev1.PodSucceeded, time.Hour), pod(named, corev1.PodFailed, 2*time.Hour)}, []ActionKind{Recheck, DeletePod}},
	} {
		f := facts{id: someRun, orphans: true, run: tt.run, now: noon}
		if diff := cmp.Diff(tt.want, kinds(f.clear(tt.pods, testPolicy()))); diff != "" {
			t.Errorf("%s: actions (-want +got):\n%s", name, diff)
		}
	}
	p := testPolicy()
	p.DeleteFinished = false
	f := facts{id: someRun, run: success, now: noon}
	if got := f.clear([]diagnose.Pod{pod(named, corev1.PodSucceeded, time.Hour)}, p); len(got) != 0 {
		t.Errorf("got %v where deletion is switched off", kinds(got))
	}
}
