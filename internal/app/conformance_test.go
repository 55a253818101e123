package app_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const absent = "<none>"

// difference is one way in which we differ from the reference on purpose. In its
// patterns * stands for anything; values that are not there are "<none>".
type difference struct {
	// id is the defect of the reference, or the name of the difference.
	id string
	// core is the release it holds for, "*" for both.
	core string
	// when is what a case, or the thing that a fact is about, must be like.
	when trait
	fact string
	want string // the reference
	got  string // ours
	why  string
}

var differences = []difference{
	// Start-up.
	{
		"D-11", "*", always, "exit", "1", "waiting",
		"an API that is down, refuses or answers nonsense may be mended while we wait; readiness says so",
	},
	{"D-11", "*", helloFails, "exit", "0", "waiting", "an agent that cannot reach the API polls nothing yet"},
	{"D-11", "*", helloFails, "poll/*", "*", absent, "the same"},
	{"D-11", "*", helloFails, "run/*", "*", absent, "the same"},
	{"D-11", "*", helloFails, "left/jobs/<job>", "yes", absent, "the same"},
	{"D-11", "*", mended, "exit", "1", "0", "an API that was down only for a while is waited for"},
	{"D-11", "*", mended, "start/order", "*", "*", "the same: the rest of the start"},
	{"D-11", "*", mended, "start/*", absent, "*", "the same"},
	{"D-11", "*", mended, "poll/*", absent, "*", "the same: and the poll behind it"},
	{"D-11", "*", mended, "run/*", absent, "*", "the same: and the runs that it finds"},
	{"D-11", "*", mended, "left/jobs/<job>", absent, "yes", "the same"},
	{"D-15", "0.11.0", always, "start/*/tries", absent, "*", "requests are repeated over plain HTTP too"},
	{"exit code", "*", silent, "exit", "1", "2", "a missing credential is a matter of configuration"},
	{"D-10", "0.11.0", marked("D-10"), "exit", "1", "0", "the documented fallback to cloud.auth_token works"},
	{"D-10", "0.11.0", marked("D-10"), "start/*", absent, "*", "the same: what follows in the start"},
	{"D-10", "0.11.0", marked("D-10"), "poll/*", absent, "*", "the same: and the poll behind it"},

	{"D-12", "1.4.1", configured, "start/agent_config/header/X-PREFECT-AGENT-ID", absent, "*", "the agent's id is sent from when it is known"},
	{"D-12", "1.4.1", configured, "poll/*/labels", "[]", "*", "labels of the agent's config hold where none are given"},

	// Polls.
	{"look-ahead", "*", always, "poll/*/before", "0s", "10s", "runs start on time in this form of the command too"},
	{"D-15", "0.11.0", always, "poll/*/tries", absent, "*", "requests are repeated over plain HTTP too"},
	{"tries", "1.4.1", outlasting, "poll/*/tries", "*", "4", "four tries within a poll instead of seven over a minute: the loop polls again"},
	{"tries", "1.4.1", outlasting, "poll/*", "*", absent, "the same: so this poll ends without runs"},
	{"tries", "1.4.1", outlasting, "run/*", "*", absent, "the same"},
	{"tries", "1.4.1", outlasting, "left/jobs/<job>", "yes", absent, "the same"},
	{"D-15", "0.11.0", passing, "poll/*", absent, "*", "the same: what it reads"},
	{"D-15", "0.11.0", passing, "run/*", absent, "*", "a poll that goes well when it is tried again finds its runs"},
	{"D-15", "0.11.0", passing, "left/jobs/<job>", absent, "yes", "the same"},

	// Runs.
	{"D-18", "*", always, "run/*/state/*", "Failed on version *", "Failed on version *", "the version is read again before a verdict"},
	{"D-17", "*", unclaimed, "run/*/order", "Submitted*", "Submitted", "a claim that is refused or has no answer is not sent again: the next poll reads what counts"},
	{"D-17", "*", unclaimed, "run/*/log/*", "*", absent, "the same"},
	{"D-17", "*", unclaimed, "run/*/job/*", "*", absent, "the same"},
	{"D-17", "*", unclaimed, "run/*/state/2*", "*", absent, "the same"},
	{"D-17", "*", unclaimed, "left/jobs/<job>", "yes", absent, "the same"},
	{"D-15", "*", always, "request/*/tries", "*", absent, "what changes something is sent once"},
	{"D-19", "*", unloggable, "run/*/order", "*INFO line, ERROR line*", "*INFO line", "a line that cannot be written fails no run"},
	{"D-19", "*", unloggable, "run/*/log/2*", "*", absent, "the same"},
	{"D-19", "*", unloggable, "run/*/state/2*", "*", absent, "the same"},
	{"D-19", "0.11.0", unloggable, "run/*/order", "*ERROR line", "*ERROR line, Failed", "nor does it keep one from being failed"},
	{"D-19", "0.11.0", unloggable, "run/*/state/2*", absent, "*", "the same"},
	{"D-27", "*", queued, "run/*/order", "Submitted, *", "Submitted", "a run that the server queued is left alone"},
	{"D-27", "*", queued, "run/*/log/*", "*", absent, "the same"},
	{"D-27", "*", queued, "run/*/job/*", "*", absent, "the same"},
	{"D-27", "*", queued, "left/jobs/<job>", "yes", absent, "the same"},
	{"D-03", "0.11.0", unlogged, "run/*/job/*.env[PREFECT__LOGGING__LOG_TO_CLOUD]", `"true"`, `"false"`, "--no-cloud-logs holds for Jobs"},
	{"no-cloud-logs", "*", unlogged, "run/*/order", "*line*", "*", "and for the agent: no line is written at all"},
	{"no-cloud-logs", "*", unlogged, "run/*/order", "*report*", "*", "the same, about what becomes of Jobs"},
	{"no-cloud-logs", "*", unlogged, "run/*/log/*", "*", absent, "the same"},
	{"D-26", "*", running, "run/*", "*", absent, "a Running run without claim and Job of ours is not started again (D-20 in 0.11.0)"},
	{"D-26", "*", retried, "left/jobs/<job>", "yes", absent, "the same"},
	{"task-runs", "*", taskRunsFail, "run/*/order", "*Submitted, ERROR line, Failed", "*Submitted, Job, INFO line", "what is not written cannot fail"},
	{"task-runs", "*", taskRunsFail, "run/*/log/1*", "*", "*", "the same"},
	{"task-runs", "*", taskRunsFail, "run/*/state/2*", "*", absent, "the same"},
	{"task-runs", "*", taskRunsFail, "run/*/job/1/*", absent, "*", "the same"},
	{"task-runs", "*", taskRunsFail, "left/jobs/<job>", absent, "yes", "the same"},
	{"task-runs", "*", always, "task-run/*", "*", absent, "a run whose Job lives is not started again, so its task runs need no Submitted"},
	{"D-28", "*", stateless, "run/*", "*", absent, "a run that cannot be read is left alone"},
	{"D-28", "1.4.1", besideStateless, "run/*", absent, "*", "and the others of that poll are started"},
	{"D-28", "1.4.1", besideStateless, "left/jobs/<job>", absent, "yes", "the same"},
	{"D-28", "*", lenient, "run/*/order", "*Submitted, ERROR line, Failed", "*Submitted, Job, INFO line", "what says nothing about the Job does not matter (D-34: an image makes any storage runnable; D-44: templates may lack parts)"},
	{"D-28", "*", lenient, "run/*/state/2*", "*", absent, "the same"},
	{"D-28", "*", lenient, "run/*/log/1*", "*", "*", "the same"},
	{"D-28", "*", lenient, "run/*/job/1/*", absent, "*", "the same"},
	{"words", "*", always, "run/*/message", "failure: *", "failure: *", "a failure is told in our words, with the place and the mend"},
	{"state as read", "*", always, "run/*/state/1/inner", "Scheduled *", "Scheduled", "the state inside is not completed with a start time of now"},

	// Creates.
	{"D-29", "*", createsFail, "run/*/job/*/tries", "*", "*", "what may pass is sent again until the fence, which the fixed name makes safe"},
	{"D-29", "*", createsHeal, "run/*/order", "*Job, ERROR line, Failed", "*Job, INFO line", "the same: an answer that passes fails no run"},
	{"D-29", "*", createsHeal, "run/*/log/*", "*", "*", "the same"},
	{"D-29", "*", createsHeal, "run/*/state/2*", "*", absent, "the same"},
	{"D-29", "*", createsHeal, "left/jobs/<job>", absent, "yes", "the same"},
	{"D-16", "*", createsStay, "run/*/order", "*Job, *", "*Job", "a create without a sure answer fails no run: the Job may be there; the run stays Submitted for adoption"},
	{"D-16", "*", createsStay, "run/*/log/*", "*", absent, "the same"},
	{"D-16", "*", createsStay, "run/*/state/2*", "*", absent, "the same"},

	// What becomes of Jobs.
	{"version", "1.4.1", always, "run/*/state/*", "Failed no version", "Failed on version *", "a verdict names the version it rests on"},
	{"evidence", "1.4.1", always, "run/*/told/*", absent, "yes", "a report tells more"},
	{"kept", "*", newestUnfinished, "deleted/jobs/*", "yes", absent, "the newest Job of a run that has not ended stays: its name guards the start"},
	{"kept", "*", newestUnfinished, "left/jobs/*", absent, "yes", "the same"},
	{"D-54", "1.4.1", alive, "run/*", "*", absent, "a run is not failed while a Pod of it lives"},
	{"D-54", "1.4.1", alive, "deleted/jobs/*", "yes", absent, "the same: nor is its Job deleted"},
	{"D-54", "1.4.1", alive, "left/jobs/*", absent, "yes", "the same"},
	{"D-54", "1.4.1", severalJobs, "run/*/order", "ERROR report, Failed, ERROR report, Failed", "ERROR report, Failed", "only the newest Job of a run tells of its ending"},
	{"D-54", "1.4.1", severalJobs, "run/*/state/*", "*", absent, "the same"},
	{"D-54", "1.4.1", severalJobs, "run/*/told/*", "yes", absent, "the same"},
	{"D-54", "1.4.1", rivals, "deleted/jobs/*", "yes", absent, "a run does not end while a Pod of another Job may start"},
	{"D-54", "1.4.1", rivals, "left/jobs/*", absent, "yes", "the same"},
	{"D-57", "1.4.1", severalPods, "run/*/told/pod *", "yes", absent, "of several Pods the newest one tells"},
	{"D-57", "1.4.1", severalPods, "run/*/state/*/tries", "*", absent, "an ending is told once, not for each Pod"},
	{"D-55", "1.4.1", unmarked, "run/*", absent, "*", "the Pod tells, also where the status of its Job does not say yet that there is one"},
	{"D-55", "1.4.1", unmarked, "deleted/jobs/*", absent, "yes", "the same"},
	{"D-55", "1.4.1", unmarked, "left/jobs/*", "yes", absent, "the same"},
	{"spelling", "1.4.1", misspelt, "deleted/jobs/*", absent, "yes", "DELETE_FINISHED_JOBS holds in any case"},
	{"spelling", "1.4.1", misspelt, "left/jobs/*", "yes", absent, "the same"},
	{"D-61", "1.4.1", cancelled, "deleted/jobs/*", absent, "yes", "the Job of a run that was cancelled is stopped, and deleted in time"},
	{"D-61", "1.4.1", cancelled, "left/*", "yes", absent, "the same"},
	{"D-55", "1.4.1", pulling, "run/*/order", "Failed*", "ERROR report, Failed", "failed after a grace period, and the run's log says why"},
	{"D-55", "1.4.1", pulling, "run/*/order", "Failed", absent, "a container that runs beside the one without an image keeps the run going"},
	{"D-55", "1.4.1", pulling, "run/*/state/*", "Failed *", absent, "the same"},
	{"D-55", "1.4.1", pulling, "run/*/message", "*", absent, "the same"},
	{"D-55", "1.4.1", pulling, "run/*/told/*", "yes", absent, "the same"},
	{"stopped", "1.4.1", unstartable, "left/pods/*", "yes", absent, "when the run has ended, the Job is stopped before it is deleted, and the Job controller ends its Pods"},
	{"D-56", "1.4.1", stuck, "run/*", absent, "*", "what keeps a Pod from starting is told after a grace period, and fails the run where it does not heal"},
	{"D-56", "1.4.1", stuck, "*/jobs/*", "*", "*", "the same: and the Job goes"},
	{"refused", "1.4.1", refusing, "run/*/state/*/tries", "*", "*", "a verdict that was refused is tried again"},
	{"refused", "1.4.1", refusing, "request/set_flow_run_states/tries", "*", "*", "the same"},
	{"waiting", "1.4.1", waiting, "run/*", "*", absent, "a run that waits to be started again is not failed by an old Job"},
	{"D-52", "1.4.1", aborting, "run/*/order", "ERROR report", "ERROR report, Failed", "an answer that fails ends no pass"},
	{"D-52", "1.4.1", aborting, "run/*", absent, "*", "the same (D-30: no refusal of the cluster does)"},
	{"D-52", "1.4.1", aborting, "deleted/jobs/*", absent, "yes", "the same"},
	{"D-52", "1.4.1", aborting, "left/jobs/*", "yes", absent, "the same"},
	{"D-57", "1.4.1", passes, "run/*/order", "*Failed, ERROR report*", "ERROR report, Failed", "an ending is told once"},
	{"D-57", "1.4.1", passes, "run/*/state/*/tries", "*", absent, "the same"},
	{"D-58", "1.4.1", events, "run/*/order", "DEBUG report*", "*", "events of Pods that may still start are not repeated into the run's log; what holds them back is told"},
	{"D-58", "1.4.1", events, "run/*/told/*", "yes", absent, "the same"},
	{"D-60", "1.4.1", vanished, "deleted/jobs/*", absent, "yes", "Jobs of deleted runs are deleted"},
	{"D-60", "1.4.1", vanished, "left/jobs/*", "yes", absent, "the same"},
	{"D-63", "1.4.1", podless, "run/*", absent, "*", "a Job that lost its Pods fails its run"},
	{"ended", "1.4.1", ended, "run/*", "*", absent, "a run that has ended gets no report of its Job"},
	{"delete again", "1.4.1", deleting, "left/jobs/*", "yes", absent, "a deletion that is refused is tried again"},

	// Jobs: the changes of package jobspec.
	{"D-35", "*", always, "run/*/job/*/body.spec.backoffLimit", absent, "0", "no second pod"},
	{"D-36", "*", always, "run/*/job/*.env[PREFECT__CLOUD__A*]", `""`, absent, "an empty credential is left out"},
	{"D-44", "*", always, "run/*/job/*/body.metadata.namespace", "*", `"*"`, "the agent's namespace stands in the body too"},
	{"D-47", "*", always, "run/*/job/*.labels.app.kubernetes.io/managed-by", "*", `"prefect-kube"`, "tells our Jobs from others"},
	{"D-64", "*", always, "run/*/job/*.annotations.cluster-autoscaler.kubernetes.io/safe-to-evict", absent, `"false"`, "the autoscaler may not evict"},
	{"annotations", "*", always, "run/*/job/*.annotations.prefect-kube.io/*", absent, "*", "attempt and names"},
	{"pod-security", "*", always, "run/*/job/*.securityContext.*", absent, "*", "what restricted namespaces ask for"},
	{"labels", "0.11.0", always, "run/*/job/*.labels.prefect.io/*", absent, "*", "the labels of later releases stand beside those of 0.11.0"},
	{"D-31", "0.11.0", always, "run/*/job/*.env[PREFECT__CONTEXT__NAMESPACE]", "*", `"*"`, "the namespace really used"},
	{"D-32", "*", always, "run/*/job/*.imagePullSecrets[*].name", "*", "*", "no pull secret without a name, and each by its own name"},
	{"D-33", "*", byEnvironment, "run/*/job/*.resources.limits.cpu", "*", "*", "no cpu limit unless one is set"},
	{"D-37", "*", byEnvironment, "run/*/job/*.env[PREFECT__BACKEND]", absent, "*", "the backend is passed"},
	{"D-33", "*", byEnvironment, "run/*/job/*.env[PREFECT__LOGGING__LEVEL]", `"DEBUG"`, "*", "the log level is the agent's setting, if it has one"},
	{"D-33", "*", sized, "run/*/job/*.imagePullPolicy", "*", "*", "the agent's pull policy is the default"},
	{"D-43", "1.4.1", sized, "run/*/job/*.resources.*", absent, "*", "the agent's memory and cpu are defaults for these flows too"},

	// The releases between.
	{"wire", "*", between, "*/header/X-PREFECT-CORE-VERSION", "*", "*", "a form of the command speaks the wire of one release, and says so"},
	{"wire", "0.11.0", between, "*/to", "/graphql", "/graphql/alpha", "the same: servers answer under every path"},
	{"wire", "*", oldForm, "start/*", "*", absent, "agent start kubernetes speaks the wire of 0.11.0, which does not register at a self-hosted server"},
	{"wire", "*", oldForm, "start/order", "*", "hello", "the same"},
	{"wire", "*", oldForm, "*/to", "/", "/graphql/alpha", "the same: servers answer under every path"},
	{"wire", "*", oldForm, "*/header/X-PREFECT-AGENT-ID", "*", absent, "the same"},
	{"wire", "*", oldForm, "poll/*/tenant_id", "*", absent, "the same: a self-hosted server finds the tenant itself, and one that has several is asked for its schema first"},
	{"labels", "*", between, "poll/*/labels", "*", "*", "labels are a set; 0.12 sends it in no order"},
	{"token", "1.4.1", tokenAlone, "exit", "1", "0", "a token of 0.x works where there is no key"},
	{"token", "1.4.1", tokenAlone, "start/*", absent, "*", "the same"},
	{"token", "1.4.1", tokenAlone, "poll/*", absent, "*", "the same"},
	{"own release", "1.4.1", environmentAt1, "run/*/job/*", "*", "*", "a flow with an environment gets the Job of the releases that have environments; 1.0.0 and later forget it"},
	{"later variables", "1.4.1", between, "run/*/job/*.env[PREFECT__*]", absent, "*", "a flow with a run config gets the variables of 1.4.1"},
	{"task runner", "1.4.1", between, "run/*/job/*.env[PREFECT__ENGINE__TASK_RUNNER__DEFAULT_CLASS]", "*", absent, "the flow runner of every release names the class itself"},
	{"D-22", "1.4.1", between, "run/*/job/*.env[PREFECT__LOGGING__LOG_TO_CLOUD]", `"INFO"`, `"true"`, "a level was written in the place of the variable before it"},
	{"labels", "0.11.0", between, "run/*/job/*.labels.*", `"*UUID"`, "*", "the labels app and identifier get the values of the Job"},
}

type counts struct{ cases, equal, differ, failed atomic.Int64 }

func (n *counts) add(t *testing.T, found comparison) {
	t.Helper()
	n.cases.Add(1)
	switch {
	case len(found.unnamed) > 0:
		n.failed.Add(1)
		t.Errorf("facts (-reference +ours):\n%s\nlog:\n%s", strings.Join(found.unnamed, "\n"), found.log[:min(len(found.log), 4000)])
	case found.named > 0:
		n.differ.Add(1)
	default:
		n.equal.Add(1)
	}
}

// usage remembers which rows matched.
type usage struct {
	mu   sync.Mutex
	rows map[int]bool
}

func (u *usage) mark(row int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.rows[row] = true
}

// check wants every row to have matched a recorded case, so that none rests on what
// somebody thought. Another corpus need not hold every row.
func (u *usage) check(t *testing.T, rows []string) {
	t.Helper()
	for i, row := range rows {
		if !u.rows[i] && os.Getenv("CONFORMANCE_DIR") == "" {
			t.Errorf("row %d of differences matches no case: %s", i, row)
		}
	}
}

// corpora are the folders of recorded cases, by what the documentation calls them.
func corpora() map[string]string {
	if root := os.Getenv("CONFORMANCE_DIR"); root != "" {
		return map[string]string{"": root}
	}
	root := filepath.Join("..", "..", "conformance")
	return map[string]string{"": root, "variants/": filepath.Join(root, "variants")}
}

func TestConformanceHTTP(t *testing.T) {
	used := &usage{rows: map[int]bool{}}
	for name, root := range corpora() {
		for _, folder := range wireFolders(t, root) {
			conformAll(t, name+folder, filepath.Join(root, folder), func(t *testing.T, file string) comparison {
				v := readVector(t, file)
				got := v.run(t)
				return v.compare(v.reference(), got.facts(&v), used).with(got.log)
			})
		}
	}
	var rows []string
	for _, row := range differences {
		rows = append(rows, fmt.Sprintf("%+v", row))
	}
	used.check(t, rows)
}

// wireFolders are those of a root that hold traffic.
func wireFolders(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"http/*", "releases/*/http"} {
		folders, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range folders {
			name, err := filepath.Rel(root, folder)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, filepath.ToSlash(name))
		}
	}
	if len(found) == 0 {
		t.Fatalf("no folders of traffic in %s", root)
	}
	return found
}

// conformAll judges the cases of a folder and compares what it counted with the
// documentation, which is about our own corpora.
func conformAll(t *testing.T, name, folder string, judge func(t *testing.T, file string) comparison) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	var n counts
	t.Run(name, func(t *testing.T) {
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
				t.Parallel()
				n.add(t, judge(t, file))
			})
		}
	})
	line := fmt.Sprintf("| %s | %d | %d | %d | 0 | %d |", name, n.cases.Load(), n.equal.Load(), n.differ.Load(), n.failed.Load())
	t.Log(line)
	if os.Getenv("CONFORMANCE_DIR") != "" {
		return
	}
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "conformance.md"))
	if err != nil || !strings.Contains(string(data), line+"\n") {
		t.Errorf("docs/conformance.md has no line %q (%v)", line, err)
	}
}

// traffic is what recording and our own run have in common.
func (v *vector) traffic(exchanges []exchange) traffic {
	return traffic{exchanges: exchanges, passes: v.heartbeat(), tellable: v.Input.Cluster.tellable()}
}

// reference are the facts of the recording.
func (v *vector) reference() facts {
	t := v.traffic(slices.Clone(v.Expected.Exchanges))
	t.repeats = v.core != "0.11.0"
	if v.Expected.Exit != nil {
		t.exit = strconv.Itoa(v.Expected.Exit.Code)
	}
	for i := range t.exchanges {
		t.exchanges[i].at = v.Input.Now
	}
	if after := v.Expected.ClusterAfter; after != nil {
		t.left = map[string][]string{"jobs": after.Jobs, "pods": after.Pods}
	}
	return t.reduce()
}

func (o outcome) facts(v *vector) facts {
	t := v.traffic(o.exchanges)
	t.repeats = true
	if v.Expected.Exit != nil {
		t.exit = o.exit
	}
	if v.Expected.ClusterAfter != nil {
		t.left = map[string][]string{"jobs": o.cluster.names("jobs"), "pods": o.cluster.names("pods")}
	}
	return t.reduce()
}

type comparison struct {
	named   int
	unnamed []string
	// log is what our own run said.
	log string
}

func (c comparison) with(log string) comparison { c.log = log; return c }

// compare looks for a row for each fact that is not equal.
func (v *vector) compare(want, got facts, used *usage) comparison {
	var found comparison
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, fact := range slices.Sorted(maps.Keys(all)) {
		w, g := valueOf(want, fact), valueOf(got, fact)
		if w == g {
			continue
		}
		i := slices.IndexFunc(differences, func(d difference) bool {
			return like(d.core, v.core) && like(d.fact, fact) && like(d.want, w) && like(d.got, g) && d.when(v, fact)
		})
		if i < 0 {
			found.unnamed = append(found.unnamed, fmt.Sprintf("%s\n  - %s\n  + %s", fact, w, g))
			continue
		}
		used.mark(i)
		found.named++
	}
	return found
}

func valueOf(f facts, name string) string {
	if value, ok := f[name]; ok {
		return value
	}
	return absent
}

// like matches a text with a pattern whose * stands for anything.
func like(pattern, text string) bool {
	expression := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
	return regexp.MustCompile(`(?s)^` + expression + `$`).MatchString(text)
}
