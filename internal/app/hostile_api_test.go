package app_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

// startOn runs an agent for some time on a Prefect API that misbehaves, inside a bubble.
func startOn(t *testing.T, core string, handler http.Handler, patience time.Duration, env ...string) (server *badserver.Server, log, exit string) {
	t.Helper()
	var text bytes.Buffer
	server = badserver.New(t, handler)
	src := config.Sources{HomeDir: t.TempDir(), Env: env}
	exit = runAgent(t.Context(), core, src, server.Transport(t), newCluster(&recorder{}, clusterState{}),
		slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})), patience)
	return server, text.String(), exit
}

// No request goes to where the API leads, not even without the credential, and start and
// doctor name the address that it led to.
func TestNoRedirectOfTheAPIIsFollowed(t *testing.T) {
	t.Parallel()
	for _, core := range []string{config.Core0, config.Core1} {
		for _, to := range []string{"http://p.test:4200/graphql/alpha", "https://p.test/graphql/alpha", "https://q.test:4200/graphql/alpha?k=hush", "//u:hush@p.test:4201/graphql/alpha"} {
			for _, code := range []int{301, 302, 303, 307, 308} {
				t.Run(core+" "+strconv.Itoa(code), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { checkRedirect(t, core, code, to) })
				})
			}
		}
	}
}

func checkRedirect(t *testing.T, core string, code int, to string) {
	t.Helper()
	env := []string{"PREFECT__CLOUD__API=https://p.test:4200", "PREFECT__CLOUD__API_KEY=canary-55", "PREFECT__CLOUD__AGENT__AUTH_TOKEN=canary-55"}
	server, log, exit := startOn(t, core, badserver.Redirect(code, to), time.Minute, env...)
	cfg, err := config.ResolveDoctor(config.Sources{Env: env, HomeDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var report bytes.Buffer
	_ = app.DoctorOver(t.Context(), cfg, &report, server.Transport(t), newCluster(&recorder{}, clusterState{}), "http://c.test")
	host := strings.TrimPrefix(to, "//u:hush@")
	host, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://"), "/")
	for name, text := range map[string]string{"log": log, "report": report.String()} {
		if !strings.Contains(text, "://"+host) || !strings.Contains(text, "PREFECT__CLOUD__") || strings.Contains(text, "hush") || strings.Contains(text, "canary") {
			t.Errorf("the %s says\n%s\nwant the address on %s and a setting, and no secret", name, text, host)
		}
	}
	if exit != "waiting" || len(server.Requests()) < 2 {
		t.Errorf("got %s after %d requests, want that it waits for a mend", exit, len(server.Requests()))
	}
	for _, r := range server.Requests() {
		if r.Scheme+"://"+r.Host != "https://p.test:4200" || r.Method != http.MethodPost {
			t.Errorf("got %s %s://%s with %q", r.Method, r.Scheme, r.Host, r.Header["Authorization"])
		}
	}
}

// The first answer of one kind comes a byte a second: its loop goes on after a minute at
// most, says so after half of it, and a stop waits for nothing.
func TestADripStopsNoLoop(t *testing.T) {
	t.Parallel()
	for root, loop := range map[string]string{
		"get_runs_in_queue(": "poll", "{ tenant {": "poll", "register_agent(": "poll", "{ hello": "poll", "queue: __type(": "poll",
		`state: { _eq: \"Submitted\" }`: "sweep", "scheduled: flow_run(": "sweep",
	} {
		t.Run(root, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				drip := badserver.Sequence(badserver.Drip("{"), badserver.Page(http.StatusBadRequest))
				var mu sync.Mutex
				asked := map[bool]int{}
				server, log, exit := startOn(t, config.Core1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					hit := strings.Contains(string(body), root)
					mu.Lock()
					asked[hit]++
					first := hit && asked[true] == 1
					mu.Unlock()
					if first {
						drip(w, r)
						return
					}
					answerWell(w, r, string(body))
				}), 3*time.Minute, "PREFECT__BACKEND=server", "PREFECT__CLOUD__API=http://p.test")
				mu.Lock()
				defer mu.Unlock()
				if asked[true] < 2 || exit != "waiting" || len(server.Requests()) < 20 {
					t.Errorf("got %d requests like it of %d, and %s; log:\n%s", asked[true], len(server.Requests()), exit, log)
				}
				if want := `msg="a loop makes no progress" loop=` + loop; !strings.Contains(log, want) {
					t.Errorf("got\n%s\nwant %s", log, want)
				}
			})
		})
	}
}

// answerWell is a server without flow runs.
func answerWell(w http.ResponseWriter, r *http.Request, body string) {
	for root, text := range map[string]string{
		"get_runs_in_queue(": `{"get_runs_in_queue":{"flow_run_ids":[]}}`, "{ tenant {": `{"tenant":[{"id":"` + tenant + `"}]}`,
		"register_agent(": `{"register_agent":{"id":"a"}}`, "{ hello": `{"hello":"hi"}`, "flow_run(where": `{"flow_run":[]}`,
		"queue: __type(": `{"queue":{"inputFields":[{"name":"tenant_id"}]},"run":{"fields":[{"name":"labels"},{"name":"tenant_id"},{"name":"states"}]},"flow":{"fields":[]}}`,
	} {
		if strings.Contains(body, root) {
			badserver.Answer(`{"data":`+text+`}`)(w, r)
			return
		}
	}
}
