package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// role is a Role as far as this test changes it.
type role struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Rules      []rule         `json:"rules"`
}

type rule struct {
	APIGroups     []string `json:"apiGroups"`
	Resources     []string `json:"resources"`
	ResourceNames []string `json:"resourceNames,omitempty"`
	Verbs         []string `json:"verbs"`
}

// TestEveryRightIsNeeded: an agent with exactly the Role that install prints does all of its work and is refused
// nothing; without any single verb it says which one it lacks.
func TestEveryRightIsNeeded(t *testing.T) {
	t.Parallel()
	needCluster(t)
	all := printedRole(t)
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		w := newWorker(t, "", "")
		w.awaitLine("finished job deleted")
		w.awaitLine(`"job stopped"`)
		if strings.Contains(w.output(), "orbidden") {
			t.Error("the agent is refused something")
		}
		if logs := w.stage.logs(t.Context(), w.run); !strings.Contains(logs, "Submitted for execution") {
			t.Errorf("the run's log is\n%s", logs)
		}
	})
	for _, r := range all.Rules {
		for _, verb := range r.Verbs {
			t.Run("no "+verb+" "+r.Resources[0], func(t *testing.T) {
				t.Parallel()
				withoutRight(t, r.Resources[0], verb)
			})
		}
	}
}

// withoutRight expects that the agent names what it lacks, and what follows from it.
func withoutRight(t *testing.T, resource, verb string) {
	t.Helper()
	w := newWorker(t, resource, verb)
	w.awaitLine(fmt.Sprintf(`cannot %s resource \"%s\"`, verb, resource))
	switch verb + " " + resource {
	case "create jobs":
		if got := w.stage.awaitState(w.run, "Failed"); !strings.Contains(got.Message, "forbidden") {
			t.Errorf("the state's message is %q", got.Message)
		}
	case "patch jobs":
		w.awaitLine("patch jobs: jobs that shall not go on are deleted once they are five minutes old")
		w.awaitLine("job that shall not go on deleted")
	case "get namespaces", "get pods/log", "list events":
		w.awaitLine("finished job deleted") // it works all the same
	}
}

// printedRole is the Role of install.
func printedRole(t *testing.T) role {
	t.Helper()
	namespace := newNamespace(t)
	grant(t, namespace, "", "")
	return readRole(t, namespace)
}

func readRole(t *testing.T, namespace string) role {
	t.Helper()
	output, err := shared.target.Run(t.Context(), "", "get", "role", "prefect-agent-rbac", "--namespace="+namespace, "--output=json")
	if err != nil {
		t.Fatal(err)
	}
	var r role
	if err := json.Unmarshal(output, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// grant applies what install prints for the rights of the agent, without one verb on one resource.
func grant(t *testing.T, namespace, resource, verb string) {
	t.Helper()
	text, complaint, err := install(t.Context(), []string{"HOME=" + t.TempDir()},
		[]string{"agent", "kubernetes", "install", "--rbac", "--backend=server", "--namespace=" + namespace})
	if err != nil {
		t.Fatal(err, complaint)
	}
	var rights []string
	for document := range strings.SplitSeq(text, "---\n") {
		if !strings.Contains(document, "kind: Deployment\n") {
			rights = append(rights, document)
		}
	}
	if _, err := shared.target.Run(t.Context(), strings.Join(rights, "---\n"), "create", "--filename=-"); err != nil {
		t.Fatal(err)
	}
	if verb == "" {
		return
	}
	r := readRole(t, namespace)
	for i := range r.Rules {
		if slices.Contains(r.Rules[i].Resources, resource) {
			r.Rules[i].Verbs = slices.DeleteFunc(r.Rules[i].Verbs, func(v string) bool { return v == verb })
		}
	}
	r.Rules = slices.DeleteFunc(r.Rules, func(r rule) bool { return len(r.Verbs) == 0 })
	replacement, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.target.Run(t.Context(), string(replacement), "replace", "--filename=-"); err != nil {
		t.Fatal(err)
	}
}

// worker is an agent with the rights of the Role, and a run that makes it use all of them.
type worker struct {
	agent
	stage *stage
	run   string
}

// newWorker starts the agent without one right, and makes it meet a Job whose create was answered too late, a Pod that
// cannot be scheduled, one that fails, a Job that is old enough to be deleted, and one whose run is cancelled.
func newWorker(t *testing.T, resource, verb string) worker {
	t.Helper()
	s := &stage{t: t, generation: generations()["1.4.1"], namespace: newNamespace(t), dir: t.TempDir()}
	grant(t, s.namespace, resource, verb)
	s.startBackend(shared.binary)
	w := worker{stage: s}
	w.agent = s.launch(agentOptions{args: []string{"--kubeconfig", s.ownKubeconfig(), "--max-poll-interval", "100ms", "--grace", "1h"}})
	flow := s.createFlow()
	template := map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"nodeSelector": map[string]any{"prefect-kube.test/node": "none"}, "containers": []any{map[string]any{"name": "flow"}},
	}}}}
	config := map[string]any{"type": "KubernetesRun", "image": "localhost/flow:none", "job_template": template, "labels": []string{label}}
	create := func() string {
		return mutate[created](s, "create_flow_run", "id", map[string]any{"flow_id": flow, "run_config": config}).ID
	}
	w.run = create()
	go w.failPod(t.Context())
	go w.cancel(t.Context(), create())
	return w
}

// cancel ends another run once it has a Job, and touches the Job so that it is looked at.
func (w worker) cancel(ctx context.Context, run string) {
	for n := 0; ctx.Err() == nil; n++ {
		name, err := shared.target.Run(ctx, "", "get", "jobs", "--namespace="+w.stage.namespace, "--selector=prefect.io/flow_run_id="+run, "--output=name")
		if err == nil && len(name) > 0 && w.stage.trySetState(ctx, run, "Cancelled") == nil {
			_, _ = shared.target.Run(ctx, "", "label", strings.TrimSpace(string(name)), "--namespace="+w.stage.namespace, "--overwrite", fmt.Sprintf("look=%d", n))
		}
		select {
		case <-ctx.Done():
		case <-time.After(3 * time.Second):
		}
	}
}

// failPod ends the Pod of the run, when there is one, as a kubelet would.
func (w worker) failPod(ctx context.Context) {
	status := map[string]any{"status": map[string]any{"phase": "Failed", "containerStatuses": []any{map[string]any{
		"name": "flow", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
		"state": map[string]any{"terminated": map[string]any{"exitCode": 3, "reason": "Error"}},
	}}}}
	patch, _ := json.Marshal(status) //nolint:errchkjson // maps of texts and numbers
	for ctx.Err() == nil {
		name, err := shared.target.Run(ctx, "", "get", "pods", "--namespace="+w.stage.namespace, "--selector=prefect.io/flow_run_id="+w.run, "--output=jsonpath={.items[0].metadata.name}")
		if err == nil && len(name) > 0 {
			_, err = shared.target.Run(ctx, "", "patch", "pod", string(name), "--namespace="+w.stage.namespace, "--subresource=status", "--type=merge", "--patch="+string(patch))
			if err == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// ownKubeconfig is a file that leads to an API server as the agent's service account. Its clock is ten minutes ahead, so
// that Jobs are old, and it loses the answer to the first create.
func (s *stage) ownKubeconfig() string {
	s.t.Helper()
	return s.kubeconfig(func(direct http.RoundTripper) http.RoundTripper { return &lossy{RoundTripper: direct} })
}

// kubeconfig is a file that leads to the API server as the agent's service account, by a way of the test's own.
func (s *stage) kubeconfig(by func(direct http.RoundTripper) http.RoundTripper) string {
	s.t.Helper()
	token := strings.TrimSpace(s.kubectl(s.t.Context(), "create", "token", "prefect-agent"))
	server := wayToCluster(s.t, func(direct http.RoundTripper) http.RoundTripper { return by(bearer{direct, token}) })
	config := map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "own",
		"contexts": []any{map[string]any{"name": "own", "context": map[string]any{"cluster": "own"}}},
		"clusters": []any{map[string]any{"name": "own", "cluster": map[string]any{"server": server}}},
	}
	data, err := json.Marshal(config)
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.dir, "kubeconfig-"+random(s.t))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// bearer shows the token: client-go shows none where there is no TLS.
type bearer struct {
	http.RoundTripper
	token string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.RoundTripper.RoundTrip(r)
}

// lossy loses the answer to the first create, and is ten minutes ahead.
type lossy struct {
	http.RoundTripper
	creates atomic.Int64
}

var errLost = errors.New("answer lost")

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/jobs") && response.StatusCode == http.StatusCreated && l.creates.Add(1) == 1 {
		return nil, errors.Join(errLost, response.Body.Close())
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		response.Header.Set("Date", date.Add(10*time.Minute).UTC().Format(http.TimeFormat))
	}
	return response, nil
}

// wayToCluster is the address of a proxy to the API server, until the test ends.
func wayToCluster(t *testing.T, by func(direct http.RoundTripper) http.RoundTripper) string {
	t.Helper()
	target, roots := apiServer(t)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     by(transport),
		FlushInterval: -1, // a watch is told at once
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// apiServer is the address of the cluster and who signs for it.
func apiServer(t *testing.T) (*url.URL, *x509.CertPool) {
	t.Helper()
	output, err := shared.target.Run(t.Context(), "", "config", "view", "--raw", "--minify", "--flatten", "--output=json")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server string
				CA     string `json:"certificate-authority-data"`
			}
		}
	}
	if err := json.Unmarshal(output, &config); err != nil || len(config.Clusters) != 1 {
		t.Fatalf("kubeconfig: %v", err)
	}
	address, err := url.Parse(config.Clusters[0].Cluster.Server)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := base64.StdEncoding.DecodeString(config.Clusters[0].Cluster.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bytes.TrimSpace(pem)) {
		t.Fatal("no certificate authority in the kubeconfig")
	}
	return address, roots
}
