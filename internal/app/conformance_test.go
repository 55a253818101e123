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

// later names the cases that are not judged yet. Patterns are as in difference.
var later = []struct{ cases, reason string }{
	{"*/manage-*", "what becomes of Jobs: needs a bubble that drives the reaper pass by pass"},
	{"*/heartbeat-*", "what becomes of Jobs: needs a bubble that drives the reaper pass by pass"},
	{"*/create-job-403", "our message has the server's text, but neither status nor reason"},
	{"*/create-job-422", "our message has the server's text, but neither status nor reason"},
	{"*/create-job-409", "needs adoption: the Job that the answer speaks of is not there"},
	{"*/create-job-500", "needs a decision: the create is repeated and works, so the run is not failed"},
	{"*/create-job-connection-closed-for-ever", "needs adoption: the run stays Submitted without a Job"},
}

// difference is one way in which we differ from the reference on purpose. In its
// patterns * stands for anything; values that are not there are "<none>".
type difference struct {
	// id is the defect of the reference, or the name of the difference.
	id    string
	cases string
	fact  string
	want  string // the reference
	got   string // ours
	why   string
}

var differences = []difference{
	// Start-up.
	{
		"D-11", "*/startup-*", "exit", "1", "waiting",
		"an API that is down, refuses or answers nonsense may be mended while we wait; readiness says so",
	},
	{"D-11", "1.4.1/startup-*", "start/*/tries", "7", "*", "the same: the start goes on"},
	{"exit code", "*/startup-cloud-no-*", "exit", "1", "2", "a missing credential is a matter of configuration"},
	{"D-10", "0.11.0/startup-*auth-token*", "exit", "1", "0", "the documented fallback to cloud.auth_token works"},
	{"D-10", "0.11.0/startup-*auth-token*", "start/*", absent, "*", "the same: what follows in the start"},
	{"D-10", "0.11.0/startup-*auth-token*", "poll/*", absent, "*", "the same: and the poll behind it"},
	{"D-12", "1.4.1/*", "start/agent_config/*", "*", absent, "settings that would not be applied are not fetched"},
	{"D-12", "1.4.1/*", "start/order", "tenant register_agent agent_config hello", "tenant register_agent hello", "the same"},

	// Polls.
	{"look-ahead", "0.11.0/*", "poll/*/before", "0s", "10s", "runs start on time in this form of the command too"},
	{"D-15", "0.11.0/*", "poll/*/tries", absent, "*", "requests are repeated over plain HTTP too"},
	{"tries", "1.4.1/*", "poll/*/tries", "7", "4", "four tries within a poll instead of seven over a minute: the loop polls again"},

	// Runs.
	{"D-18", "*", "run/*/state/2", "Failed on version 1", "Failed on version 2", "the version is read again before a verdict"},
	{"D-26", "*/deploy-queued-task-run", "run/*", "*", absent, "a Running run without claim and Job of ours is not started again (D-20 in 0.11.0)"},
	{"task-runs", "*", "task-run/*", "*", absent, "a run whose Job lives is not started again, so its task runs need no Submitted"},
	{"D-28", "*/deploy-null-state", "run/*", "*", absent, "a run that cannot be read is left alone"},
	{"D-28", "1.4.1/deploy-unknown-storage", "run/*/order", "Submitted, ERROR line, Failed", "Submitted, Job, INFO line", "a storage that says nothing about an image does not matter"},
	{"D-28", "1.4.1/deploy-unknown-storage", "run/*/state/2*", "*", absent, "the same"},
	{"D-28", "1.4.1/deploy-unknown-storage", "run/*/log/1*", "*", "*", "the same"},
	{"D-28", "1.4.1/deploy-unknown-storage", "run/*/job/1/*", absent, "*", "the same"},
	{"words", "0.11.0/deploy-*-storage", "run/*/message", "*", "unsupported Storage type*", "the message names the type and the mend"},
	{"state as read", "*/deploy-minimal-scheduled-state", "run/*/state/1/inner", "Scheduled 2022-*", "Scheduled", "the state inside is not completed with a start time of now"},

	// Jobs: the changes of package jobspec.
	{"D-35", "*", "run/*/job/*/body.spec.backoffLimit", absent, "0", "no second pod"},
	{"D-36", "*", "run/*/job/*.env[PREFECT__CLOUD__A*]", `""`, absent, "an empty credential is left out"},
	{"D-44", "*", "run/*/job/*/body.metadata.namespace", absent, "*", "the namespace stands in the body too"},
	{"D-47", "*", "run/*/job/*.labels.app.kubernetes.io/managed-by", absent, `"prefect-kube"`, "tells our Jobs from others"},
	{"D-64", "*", "run/*/job/*.annotations.cluster-autoscaler.kubernetes.io/safe-to-evict", absent, `"false"`, "the autoscaler may not evict"},
	{"annotations", "*", "run/*/job/*.annotations.prefect-kube.io/*", absent, "*", "attempt and names"},
	{"pod-security", "*", "run/*/job/*.securityContext.*", absent, "*", "what restricted namespaces ask for"},
	{"labels", "0.11.0/*", "run/*/job/*.labels.prefect.io/*", absent, "*", "the labels of later releases stand beside those of 0.11.0"},
	{"D-31", "0.11.0/*", "run/*/job/*.env[PREFECT__CONTEXT__NAMESPACE]", `"default"`, "*", "the namespace really used"},
	{"D-32", "0.11.0/*", "run/*/job/*.imagePullSecrets[0].name", `""`, absent, "no pull secret without a name"},
	{"D-33", "0.11.0/*", "run/*/job/*.resources.limits.cpu", `"100m"`, absent, "no cpu limit unless one is set"},
	{"D-33", "0.11.0/*", "run/*/job/*.env[PREFECT__LOGGING__LEVEL]", `"DEBUG"`, `"INFO"`, "the log level is the agent's setting"},
	{"D-37", "0.11.0/*", "run/*/job/*.env[PREFECT__BACKEND]", absent, "*", "the backend is passed"},
}

type counts struct{ cases, equal, differ, later, failed atomic.Int64 }

// usage remembers which rows matched.
type usage struct {
	mu   sync.Mutex
	rows map[string]bool
}

func (u *usage) mark(row string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.rows[row] = true
}

func TestConformanceHTTP(t *testing.T) {
	root := os.Getenv("CONFORMANCE_DIR")
	if root == "" {
		root = filepath.Join("..", "..", "conformance")
	}
	folders, err := filepath.Glob(filepath.Join(root, "http", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no folders in %s: %v", filepath.Join(root, "http"), err)
	}
	used := &usage{rows: map[string]bool{}}
	for _, folder := range folders {
		var n counts
		files, err := filepath.Glob(filepath.Join(folder, "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases in %s: %v", folder, err)
		}
		t.Run(filepath.Base(folder), func(t *testing.T) {
			for _, file := range files {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
					t.Parallel()
					conform(t, file, &n, used)
				})
			}
		})
		t.Logf("http/%s: %d cases, %d equal, %d with named differences only, %d later, %d failed", filepath.Base(folder),
			n.cases.Load(), n.equal.Load(), n.differ.Load(), n.later.Load(), n.failed.Load())
	}
	if os.Getenv("CONFORMANCE_DIR") != "" {
		return // Another corpus need not hold every row.
	}
	for _, row := range later {
		if !used.rows["later "+row.cases] {
			t.Errorf("row %q of later matches no case", row.cases)
		}
	}
	for i, row := range differences {
		if !used.rows[strconv.Itoa(i)] {
			t.Errorf("row %d of differences matches no case: %+v", i, row)
		}
	}
}

func conform(t *testing.T, file string, n *counts, used *usage) {
	name := filepath.Base(filepath.Dir(file)) + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
	n.cases.Add(1)
	for _, row := range later {
		if like(row.cases, name) {
			used.mark("later " + row.cases)
			n.later.Add(1)
			return
		}
	}
	v := readVector(t, file)
	got := v.run(t)
	found := compare(name, v.reference(name), got.facts(&v), used)
	switch {
	case len(found.unnamed) > 0:
		n.failed.Add(1)
		t.Errorf("facts (-reference +ours):\n%s\nlog:\n%s", strings.Join(found.unnamed, "\n"), got.log)
	case found.named > 0:
		n.differ.Add(1)
	default:
		n.equal.Add(1)
	}
}

// reference are the facts of the recording.
func (v *vector) reference(name string) facts {
	t := traffic{exchanges: v.Expected.Exchanges, repeats: !strings.HasPrefix(name, "0.11.0/"), exit: strconv.Itoa(v.Expected.Exit.Code)}
	for i := range t.exchanges {
		t.exchanges[i].at = v.Input.Now
	}
	if after := v.Expected.ClusterAfter; after != nil {
		t.left = map[string][]string{"jobs": after.Jobs, "pods": after.Pods}
	}
	return t.reduce()
}

func (o outcome) facts(v *vector) facts {
	t := traffic{exchanges: o.exchanges, repeats: true, exit: o.exit}
	if v.Expected.ClusterAfter != nil {
		t.left = map[string][]string{"jobs": o.cluster.names("jobs"), "pods": o.cluster.names("pods")}
	}
	return t.reduce()
}

type comparison struct {
	named   int
	unnamed []string
}

// compare looks for a row for each fact that is not equal.
func compare(name string, want, got facts, used *usage) comparison {
	var found comparison
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, fact := range slices.Sorted(maps.Keys(all)) {
		w, g := valueOf(want, fact), valueOf(got, fact)
		if w == g {
			continue
		}
		i := slices.IndexFunc(differences, func(d difference) bool {
			return like(d.cases, name) && like(d.fact, fact) && like(d.want, w) && like(d.got, g)
		})
		if i < 0 {
			found.unnamed = append(found.unnamed, fmt.Sprintf("%s\n  - %s\n  + %s", fact, w, g))
			continue
		}
		used.mark(strconv.Itoa(i))
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
