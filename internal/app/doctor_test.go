package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

const tenant = "e4f25f62-7394-4d61-9da1-abc1cd5380e6"

// schema is what introspection answers: of a server of 2020 to 2023, without what is left out.
func schema(without string) string {
	text := `{"queue": {"inputFields": [{"name": "tenant_id"}]}, "run": {"fields": [{"name": "run_config"}, {"name": "states"}]}, "flow": {"fields": [{"name": "core_version"}]}}`
	return strings.ReplaceAll(text, without, "other")
}

// illness is what is wrong with a configuration, a cluster or a Prefect API.
type illness struct {
	flags   map[string][]string
	env     []string
	api     map[string]string // answers of the Prefect API, by field; without one it refuses
	runs    map[string]string // states of flow runs
	missing []string          // rights
	denied  []*override
	jobs    []map[string]any
	via     func(http.RoundTripper) http.RoundTripper // the way to the cluster
	host    string                                    // of the cluster
	date    map[string]time.Duration                  // by how much the clocks of both are ahead
	job     string                                    // what is in the Job
	// want are the lines of the report that are not ok, or "ok " and a part of one that is.
	want []string
}

func deny(method, path string, status int, message string) *override {
	return &override{Method: method, Path: path, Answers: slices.Repeat([]answer{{Status: status, Message: message}}, 9)}
}

func illnesses(t *testing.T) map[string]illness {
	t.Helper()
	const (
		mend    = "      mend: grant it in namespace default to this credential, as the Role does that agent kubernetes install --rbac prints"
		config1 = "11111111-1111-4111-8111-111111111111"
	)
	python := func(name string, age time.Duration) []map[string]any {
		return []map[string]any{{"metadata": map[string]any{
			"name": name, "namespace": "default", "creationTimestamp": time.Now().Add(-age).UTC().Format(time.RFC3339),
			"labels": map[string]any{"prefect.io/identifier": "i", "prefect.io/flow_run_id": "f"},
		}}}
	}
	signed := "file:" + filepath.Join(t.TempDir(), "job.yaml?X-Amz-Signature=hush") // a path that ends in a query as well
	if err := os.WriteFile(strings.TrimPrefix(signed, "file:"), []byte("spec: {template: {spec: {}}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	paused := map[string]string{}
	for i := range 25 {
		paused[fmt.Sprintf("r%d", i)] = "Paused"
	}
	return map[string]illness{
		"none": {want: []string{
			"ok    configuration: agent of 1.4.1 for server; read: no file; credential: PREFECT__CLOUD__API_KEY",
			"ok    kubernetes: test", "ok    api server: v1.33.1 at http://[redacted]@cluster.test\n", "ok    namespace: default exists", "ok    rights: all ",
			"ok    job template: the built-in one", "ok    job: can be built, and the API server would take it", "ok    service account: none", "ok    secrets: none",
			"ok    other agents: no job", "ok    prefect api: " + apiURL + " answers", "ok    clock: this machine's agrees with: none that tells its time", "ok    credential: accepted; tenant " + tenant,
			"ok    prefect server: a Prefect Server of 2020 or later; with histories of states: one flow run, one Job; a claim is read back after a settling second",
			"ok    agent config: none is in use", `ok    queue: due flow runs for the labels ["a"]: 0`,
		}},
		"the rights of the Python agent's Role": {missing: []string{"get pods/log", "list events"}, want: []string{
			"warn  rights: get pods/log is missing: failed flow runs are reported without the end of the container's log", mend,
			"warn  rights: list events is missing: Jobs that get no Pod are reported without the cause", mend, "ok    job: ",
		}},
		"nothing can be started": {missing: []string{"create jobs"}, want: []string{
			"fail  rights: create jobs is missing: no flow run starts: each fails with the API server's message", mend + "; or name another namespace with --namespace",
			`skip  job: not checked, since "rights" failed`,
		}},
		"rights are not told": {missing: []string{"review"}, want: []string{
			`warn  rights: not known: review create jobs in namespace "default": 403 Forbidden: no`,
			"      mend: nothing, if flow runs start: what is missing is said by the agent's log when it is met", "ok    job: ",
		}},
		"no cluster": {via: func(http.RoundTripper) http.RoundTripper { return unreachable{} }, want: []string{
			`fail  api server: ask http://[redacted]@cluster.test for its version: Get "http://[redacted]@cluster.test/version": offline`, "      mend: check that the cluster runs and that its address is right",
			`skip  namespace: not checked, since "api server" failed`, `skip  rights: not checked, since "api server" failed`, `skip  job: not checked, since "api server" failed`,
			`skip  service account: not checked, since "api server" failed`, `skip  secrets: not checked, since "api server" failed`, `skip  other agents: not checked, since "api server" failed`,
		}},
		"a password that makes the address unreadable": {host: `http://u:hush"/x@cluster.test`, want: []string{
			`fail  kubernetes: client for test: the address of the server cannot be used, and is not shown since it holds a credential: write it as https://host:6443` + "\n", "      mend: in a pod, give it", "skip  ",
		}},
		"a slow cluster": {via: way(func(req *http.Request) { <-req.Context().Done() }), want: []string{
			"fail  api server: no answer within 20s: ask http://[redacted]@cluster.test for its version: ", "      mend: check that the cluster runs and that its address is right", "skip  ",
		}},
		"a plugin that cannot be ended": {via: way(func(*http.Request) { time.Sleep(time.Hour) }), want: []string{
			"fail  api server: no answer within 20s\n", "      mend: see what it waits for, such as the program that the kubeconfig names for its credential\n", "skip  ", "ok    queue: ",
		}},
		"a clock that goes right": {date: map[string]time.Duration{"kubernetes": 2 * time.Second, "prefect": -2 * time.Second}, want: []string{"ok    clock: this machine's agrees with: the Prefect API, the API server\n"}},
		"a clock that is slow": {date: map[string]time.Duration{"kubernetes": 90 * time.Second}, want: []string{
			"warn  clock: the clock of this machine is about 1m30s behind that of the API server\n", "      mend: set both clocks by NTP: ",
		}},
		"a clock that is fast": {date: map[string]time.Duration{"kubernetes": time.Second, "prefect": -61 * time.Second}, want: []string{
			"warn  clock: the clock of this machine is about 1m0s ahead of that of the Prefect API\n", "      mend: set both clocks by NTP: ",
		}},
		"no namespace": {denied: []*override{deny("GET", "/namespaces/default$", 404, "gone")}, want: []string{
			"fail  namespace: default does not exist", "      mend: create it with kubectl create namespace default, or name another one with --namespace",
			`skip  rights: not checked, since "namespace" failed`, `skip  job: not checked, since "namespace" failed`,
			`skip  service account: not checked, since "namespace" failed`, `skip  secrets: not checked, since "namespace" failed`, `skip  other agents: not checked, since "namespace" failed`,
		}},
		"a namespace that goes": {
			denied: []*override{{Method: "GET", Path: "/namespaces/default$", Answers: []answer{{JSON: json.RawMessage(`{"metadata": {"deletionTimestamp": "2022-01-01T00:00:00Z"}}`)}}}},
			want:   []string{"fail  namespace: default is being deleted", "      mend: wait until it is gone", `skip  `},
		},
		"nothing but Jobs may be made": {
			flags:  map[string][]string{"service-account-name": {"runner"}, "image-pull-secrets": {"pull"}},
			denied: []*override{deny("GET", "/version|/namespaces/default(/serviceaccounts/.*|/secrets/.*|/jobs)?$", 403, "no")},
			want: []string{
				"ok    api server: http://[redacted]@cluster.test answers and does not tell", "ok    namespace: default: not checked, no right", "ok    job: ",
				"ok    service account: runner: not checked, no right", "ok    secrets: pull: not checked, no right", "ok    other agents: not checked, no right",
			},
		},
		"objects that Jobs name are not there": {
			flags: map[string][]string{"service-account-name": {"runner"}, "image-pull-secrets": {"pull"}, "credential-secret": {"key/api"}},
			want: []string{
				"fail  service account: runner does not exist, so no Pod can be made", "      mend: kubectl create serviceaccount runner --namespace default",
				"warn  secrets: image pull secret pull does not exist: images that need it cannot be pulled", "      mend: kubectl create secret docker-registry pull --namespace default ...",
				"fail  secrets: key with the credential does not exist, so no flow run can begin", "      mend: kubectl create secret generic key --namespace default --from-literal=api=...",
			},
		},
		"a quota": {denied: []*override{deny("POST", "/jobs$", 422, "spec: too much")}, want: []string{
			`fail  job: create jobs "prefect-job-`,
			"      mend: check the job template, and what --service-account-name, JOB_MEM_REQUEST and their like say",
		}},
		"a refusal": {denied: []*override{deny("POST", "/jobs$", 403, "no quota")}, want: []string{
			`fail  job: create jobs "prefect-job-smjfgsbhcejljeul" in namespace "default": 403 Forbidden: no quota` + "\n", "      mend: If it is a matter of permission, grant",
		}},
		"a python agent": {jobs: python("prefect-job-x", time.Minute), want: []string{
			"warn  other agents: a python agent seems to run in this namespace: it made job prefect-job-x 1m", "      mend: stop it: it yields no claim, and deletes finished jobs of ours",
		}},
		"a python agent that is gone":  {jobs: python("prefect-job-x", time.Hour), want: []string{"ok    other agents: the newest job of a python agent, prefect-job-x, is 1h0m"}},
		"a job that a flow made":       {jobs: python("etl-x", time.Minute), want: []string{"ok    other agents: no job"}},
		"no Prefect API":               {api: map[string]string{"": ""}, want: []string{"fail  prefect api: ", "      mend: check --api", `skip  credential: not checked, since "prefect api" failed`, `skip  prefect server: not checked, since "prefect api" failed`, `skip  agent config: not checked, since "prefect api" failed`, `skip  queue: not checked, since "prefect api" failed`}},
		"a credential that is refused": {api: map[string]string{"tenant": "hush-hush"}, want: []string{"fail  credential: ", "      mend: check the API key or token, and the tenant", `skip  prefect server: not checked, since "credential" failed`, `skip  agent config: not checked, since "credential" failed`, `skip  queue: not checked, since "credential" failed`}},
		"a busy API":                   {api: map[string]string{"tenant": "API_ERROR"}, want: []string{"fail  prefect api: ", "      mend: check --api", "skip  "}},
		"another tenant": {flags: map[string][]string{"tenant-id": {config1}}, want: []string{
			"fail  credential: the server has no tenant " + config1 + "; it has " + tenant, "      mend: name one of them with --tenant-id, or none",
			`skip  prefect server: not checked, since "credential" failed`, `skip  agent config: not checked, since "credential" failed`, `skip  queue: not checked, since "credential" failed`,
		}},
		"a server of 0.11": {api: map[string]string{"__type": schema("tenant_id")}, want: []string{"ok    prefect server: a server as inside Prefect 0.11; with", "ok    credential: accepted"}},
		"a schema that is not shown": {flags: map[string][]string{"tenant-id": {tenant}}, api: map[string]string{"__type": "this"}, want: []string{
			"ok    prefect server: a Prefect Server of 2020 or later, as far as can be told, since it does not show its schema; with histories",
		}},
		"no histories": {api: map[string]string{"__type": schema("states")}, want: []string{
			"warn  prefect server: a Prefect Server of 2020 or later; without histories of states, so a run is read before its start and claimed, but of agents in two namespaces both may start it",
			"      mend: let agents of one namespace only take flow runs with these labels",
		}},
		"exclusive labels": {flags: map[string][]string{"exclusive-labels": {"true"}}, want: []string{"ok    prefect server: a Prefect Server of 2020 or later; with histories of states: one flow run, one Job; a claim is read back at once, since"}},
		"an agent config": {
			flags: map[string][]string{"agent-config-id": {config1}, "label": nil}, api: map[string]string{"agent_config": `{"agent_config": [{"settings": {"labels": ["b"], "env_vars": {"A": "1"}}}]}`},
			want: []string{"ok    agent config: " + config1 + ": 1 labels, 1 variables", `ok    queue: due flow runs for the labels ["b"]: 0`},
		},
		"an agent config that is not there": {
			flags: map[string][]string{"agent-config-id": {config1}}, api: map[string]string{"agent_config": `{"agent_config": []}`},
			want: []string{`warn  agent config: not applied in full: there is none with the id "` + config1 + `"`, "      mend: correct it at the backend, or check --agent-config-id"},
		},
		"runs that cannot be started": {runs: map[string]string{"r1": "Scheduled", "r2": "Paused", "r3": "Running"}, want: []string{
			"warn  queue: 1 of the 25 places are taken by flow runs that cannot be started: r2 (Paused)", "      mend: cancel them, or set them to Scheduled",
		}},
		"a run that cannot be read": {runs: map[string]string{"r1": ""}, want: []string{"warn  queue: 1 of the 25 places are taken by flow runs that cannot be started: r1 (unreadable)", "      mend: cancel them"}},
		"a full queue": {runs: paused, want: []string{
			"warn  queue: 25 of the 25 places are taken by flow runs that cannot be started, all that there are, so that the queue returns no other run: ", "      mend: cancel them, or set them to Scheduled",
		}},
		"Cloud": {env: []string{"PREFECT__BACKEND=cloud"}, api: map[string]string{"auth_info": `{"auth_info": {"tenant_id": "` + tenant + `"}}`}, want: []string{
			"ok    credential: accepted; tenant " + tenant, "ok    prefect server: Prefect Cloud; with histories of states: one flow run, one Job; it locks versions",
		}},
		"another tenant of Cloud": {env: []string{"PREFECT__BACKEND=cloud"}, flags: map[string][]string{"tenant-id": {config1}}, api: map[string]string{"auth_info": `{"auth_info": {"tenant_id": "` + tenant + `"}}`}, want: []string{
			"ok    credential: accepted; tenant " + config1,
		}},
		"a token of another scope": {flags: map[string][]string{"token": {"hush"}}, env: []string{"PREFECT__BACKEND=cloud"}, api: map[string]string{"auth_info": `{"auth_info": {"api_token_scope": "USER"}}`}, want: []string{
			`fail  credential: the token has the scope "USER": `, "      mend: check the API key or token, and the tenant",
			`skip  prefect server: not checked, since "credential" failed`, `skip  agent config: not checked, since "credential" failed`, `skip  queue: not checked, since "credential" failed`,
		}},
		"an agent of 0.11.0": {job: "image:localhost/doctor:doctor", flags: map[string][]string{"verbose": {"true"}}, api: map[string]string{"__type": schema("tenant_id")}, want: []string{"ok    configuration: agent of 0.11.0 for server; read: no file; credential: none", "ok    job: can be built", "ok    credential: none, and none is asked for"}},
		"a template that is away": {flags: map[string][]string{"job-template": {"http://127.0.0.1:1/job.yaml"}}, want: []string{
			"fail  job template: ", "      mend: check --job-template and what is needed to read it", `skip  job: not checked, since "job template" failed`,
		}},
		"a template with a slip": {flags: map[string][]string{"job-template": {"testdata/slip.yaml"}}, want: []string{
			"warn  job: ", "      mend: did you mean tolerations?", "ok    job template: testdata/slip.yaml",
		}},
		"a template with a slip, and a quota": {flags: map[string][]string{"job-template": {"testdata/slip.yaml"}}, denied: []*override{deny("POST", "/jobs$", 422, "spec: too much")}, want: []string{
			"warn  job: ", "      mend: did you mean tolerations?", `fail  job: create jobs "prefect-job-`, "      mend: check the job template, and what",
		}},
		"an address that Pods do not reach": {flags: map[string][]string{"api": {"http://localhost:4200"}}, want: []string{
			"warn  job: PREFECT__CLOUD__API is a loopback address, which in a Pod is the Pod itself", "      mend: give an address that Pods reach\n",
		}},
		"a refusal of our own change": {denied: []*override{deny("POST", "/jobs$", 422, "spec.template.spec.securityContext.seccompProfile: not allowed")}, want: []string{
			`fail  job: create jobs "prefect-job-`, "      mend: seccompProfile is a change that this agent makes",
		}},
		"a template with a signature": {flags: map[string][]string{"job-template": {signed}}, want: []string{"ok    job template: " + strings.TrimSuffix(signed, "?X-Amz-Signature=hush") + "\n", "ok    job: "}},
		"pod security": {via: way(func(*http.Request) {}, `299 - "would violate PodSecurity \"restricted:latest\": hush-hush"`, `299 - "deprecated"`), want: []string{
			`warn  job: the API server warns: would violate PodSecurity "restricted:latest": [redacted]`, "warn  job: the API server warns: deprecated\n", "      mend: correct the template; what violates PodSecurity gets no Pod where namespace default enforces that level\n",
		}},
		"a Secret without a look at its key": {
			flags:  map[string][]string{"credential-secret": {"key/api"}},
			denied: []*override{{Method: "GET", Path: "/secrets/key$", Answers: []answer{{JSON: json.RawMessage(`{"metadata": {"name": "key"}}`)}}}},
			want:   []string{"ok    secrets: key exists; not checked whether it has the key api\n"},
		},
		"a password in the address": {flags: map[string][]string{"api": {"http://u:hush-too@prefect.test:4200"}}, api: map[string]string{"tenant": "hush-too"}, want: []string{
			"ok    prefect api: http://prefect.test:4200 answers", "fail  credential: ", "      mend: check the API key", "skip  ",
			"warn  configuration: the user name and the password in the address of the API are sent in the place of the credential", "      mend: ",
			"warn  configuration: Jobs get the address of the Prefect API without its user name and password",
		}},
		"a warning": {env: []string{"PREFECT__USER_CONFIG_PATH=/no/such"}, want: []string{`warn  configuration: PREFECT__USER_CONFIG_PATH: no file "/no/such"`, "      mend: correct it, or leave it out"}},
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	for name, c := range illnesses(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := c.examine(t, "text")
			failures := strings.Count("\n"+text, "\nfail")
			unhealthy, _ := errors.AsType[*app.UnhealthyError](err)
			if (failures > 0) != (unhealthy != nil) || unhealthy != nil && unhealthy.Failed != failures || unhealthy == nil && err != nil {
				t.Errorf("got %v for %d failures", err, failures)
			}
			if strings.Contains(text, "hush") {
				t.Errorf("the credential is in\n%s", text)
			}
			compare(t, text, append(c.want, c.exposed(text)...))
		})
	}
}

// exposed is what the configuration of most cases lets others read.
func (c illness) exposed(report string) (lines []string) {
	if strings.Contains(report, "credential: none\n") {
		return nil
	}
	if strings.Contains(report, "credential: --") {
		lines = append(lines, "warn  configuration: the credential is an argument of this command: whoever may list", "      mend: give it by a variable or a file instead")
	}
	if c.flags["credential-secret"] == nil {
		lines = append(lines, "warn  configuration: each Job holds the credential in clear text: whoever may read Jobs or Pods of namespace default can read it",
			"      mend: put it in a Secret there and name that with --credential-secret NAME/KEY")
	}
	if api, given := c.flags["api"]; !given || api != nil && !strings.Contains(api[0], "localhost") {
		lines = append(lines, "warn  configuration: the credential travels to "+apiHost+" without TLS: whoever sees the packets can read it",
			"      mend: use an https:// address for --api or PREFECT__CLOUD__API")
	}
	return lines
}

// compare looks for each beginning of a line, and for lines without one that are not ok.
func compare(t *testing.T, text string, want []string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains("\n"+text, "\n"+w) {
			t.Errorf("no line that begins with %q in\n%s", w, text)
		}
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "ok ") && !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(line, w) }) {
			t.Errorf("one line too many: %q", line)
		}
	}
}

// examine makes doctor look at it. Nothing may be written anywhere.
func (c illness) examine(t *testing.T, output string) (text string, err error) {
	t.Helper()
	flags := map[string][]string{"output": {output}, "label": {"a"}, "api": {apiURL}}
	maps.Copy(flags, c.flags)
	maps.DeleteFunc(flags, func(_ string, values []string) bool { return values == nil })
	cfg, err := config.ResolveDoctor(config.Sources{HomeDir: t.TempDir(), Flags: flags, Env: append([]string{"PREFECT__BACKEND=server", "PREFECT__CLOUD__API_KEY=hush-hush"}, c.env...)})
	if err != nil {
		t.Fatal(err)
	}
	if c.host == "" {
		c.host = "http://u:hush@cluster.test"
	}
	var out bytes.Buffer
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		r := &recorder{}
		cluster := newCluster(r, clusterState{Jobs: c.jobs, Overrides: c.denied})
		cluster.missing = c.missing
		var kubernetes http.RoundTripper = cluster
		if c.via != nil {
			kubernetes = c.via(cluster)
		}
		err = app.DoctorOver(t.Context(), cfg, &out, c.dated("prefect", c.backend(r)), c.dated("kubernetes", kubernetes), c.host)
		if passed := time.Since(now); passed > time.Minute {
			t.Errorf("the report took %v", passed)
		}
		time.Sleep(time.Hour) // until nothing of it runs
		if got := len(cluster.names("jobs")); got != len(c.jobs) {
			t.Errorf("%d jobs are in the cluster", got)
		}
		for _, e := range r.exchanges {
			query := fmt.Sprint(e.Request.Query)
			if e.API == "kubernetes" && (strings.Contains(fmt.Sprint(e.Request.Body), "hush-hush") || e.Request.Body != nil && !strings.Contains(fmt.Sprint(e.Request.Body), c.job)) {
				t.Errorf("the credential is in, or %q is not in %v", c.job, e.Request.Body)
			}
			if e.API == "prefect" && strings.HasPrefix(query, "mutation") && !strings.Contains(query, "get_runs_in_queue(") {
				t.Errorf("sent %s", query)
			}
		}
	})
	return out.String(), err
}

// unreachable is a cluster that is not there.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("offline")
}

// way leads to the cluster after a delay, and back with warnings.
func way(delay func(*http.Request), warnings ...string) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if delay(req); req.Context().Err() != nil {
				return nil, req.Context().Err()
			}
			resp, err := next.RoundTrip(req)
			if err == nil {
				resp.Header["Warning"] = warnings
			}
			return resp, err
		})
	}
}

// dated writes the time into answers, cut to seconds as servers do.
func (c illness) dated(name string, next http.RoundTripper) http.RoundTripper {
	ahead, ok := c.date[name]
	if !ok {
		return next
	}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			resp.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		}
		return resp, err
	})
}

func (c illness) backend(r *recorder) http.RoundTripper {
	api := map[string]string{"__type": schema("nothing"), "tenant": `{"tenant": [{"id": "` + tenant + `"}]}`, "hello": `{"hello": "hi"}`}
	b := &backend{recorder: r, script: map[string][]answer{}, runs: map[string]map[string]any{}}
	ids := []string{}
	for id, state := range c.runs {
		ids = append(ids, id)
		var shown any = map[string]any{"type": state}
		if state == "" {
			shown = []any{}
		}
		b.runs[id] = map[string]any{"id": id, "version": 2.0, "serialized_state": shown, "states": []any{row(1, map[string]any{"type": "Scheduled"}), map[string]any{"version": 2.0, "serialized_state": shown}}}
	}
	queue, _ := json.Marshal(map[string]any{"get_runs_in_queue": map[string]any{"flow_run_ids": ids}})
	api["get_runs_in_queue"] = string(queue)
	maps.Copy(api, c.api)
	for root, data := range api {
		a := answer{Data: json.RawMessage(data)}
		if !strings.HasPrefix(data, "{") { // refused, with what was sent
			text, _ := json.Marshal(map[string]any{"errors": []any{map[string]any{"message": "not with " + data}}})
			a = answer{Status: http.StatusUnauthorized, JSON: text}
		}
		b.script[root] = []answer{a}
	}
	if _, away := api[""]; away {
		return unreachable{}
	}
	return b
}

// The report for programs says the same.
func TestDoctorInJSON(t *testing.T) {
	t.Parallel()
	c := illness{missing: []string{"create jobs", "list events"}}
	text, err := c.examine(t, "json")
	var report struct {
		Findings []app.Finding
		Failed   int
	}
	if failed := json.Unmarshal([]byte(text), &report); failed != nil || err == nil {
		t.Fatal(failed, err, text)
	}
	count := map[app.Verdict]int{}
	checks := map[string]bool{}
	for _, f := range report.Findings {
		count[f.Verdict]++
		checks[f.Check] = true
		if (f.Mend == "") != (f.Verdict == app.Healthy || f.Verdict == app.Skipped) {
			t.Errorf("the mend of %+v", f)
		}
	}
	all := len(app.Checks())
	want := map[app.Verdict]int{app.Broken: 1, app.Doubtful: 3, app.Skipped: 1, app.Healthy: all - 2}
	if diff := cmp.Diff(want, count); diff != "" || len(checks) != all || report.Failed != 1 {
		t.Errorf("%d failed in %d checks (-want +got)\n%s", report.Failed, len(checks), diff)
	}
}

// Every check that another one needs comes before it.
func TestChecksAreInOrder(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, c := range app.Checks() {
		for _, need := range c.Needs {
			if !known[need] {
				t.Errorf("%q needs %q, which is not before it", c.Name, need)
			}
		}
		if known[c.Name] || c.About == "" {
			t.Errorf("%q is there twice, or says nothing", c.Name)
		}
		known[c.Name] = true
	}
}

// What start refuses is no matter of health.
func TestDoctorRefusesWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for _, c := range []illness{
		{flags: map[string][]string{"namespace": {"A_B"}}},
		{flags: map[string][]string{"keep": {"x"}}},
		{env: []string{"PREFECT__BACKEND=cloud", "PREFECT__CLOUD__API_KEY="}},
		{env: []string{"PREFECT__CLOUD__API_KEY=", "PREFECT__CLOUD__API_KEY_FILE=/no/such"}},
	} {
		text, err := c.examine(t, "text")
		if _, ok := errors.AsType[*config.Error](err); !ok || text != "" {
			t.Errorf("got %v and %q", err, text)
		}
	}
}
