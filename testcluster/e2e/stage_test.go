package e2e_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
)

// generation is one of the two kinds of server and client that the agent serves.
type generation struct {
	// version of the real Prefect in the image and on the host; server is the value of dev's --generation.
	version, server string
	// agent is the command line of that version's agent.
	agent []string
	// path is where the version's clients send GraphQL.
	path string
	// pulls says that the version's Jobs always pull their image, so it has to come from a registry.
	pulls bool
	// newer says that the server has projects, and refuses a second Submitted within 30 seconds.
	newer bool
}

func generations() map[string]generation {
	return map[string]generation{
		"0.11.0": {"0.11.0", "0.11", []string{"agent", "start", "kubernetes"}, "/graphql/alpha", true, false},
		"1.4.1":  {"1.4.1", "1.x", []string{"agent", "kubernetes", "start"}, "/graphql", false, true},
	}
}

// label is what agents take flow runs for and flow runs carry, unless a test says otherwise.
const label = "e2e"

// stage is one test's own corner: a namespace, a backend and a folder.
type stage struct {
	t          *testing.T
	generation generation
	namespace  string
	// url is the backend's address, the same from here and from Pods.
	url string
	dir string
	kit kit
}

// newStage makes a stage on which the stored flows of Prefect's version can run. Everything it starts ends with the test.
func newStage(t *testing.T, g generation) *stage {
	t.Helper()
	s := &stage{t: t, generation: g, kit: needKit(t, g), namespace: newNamespace(t), dir: t.TempDir()}
	s.startBackend(shared.binary)
	return s
}

// newStageWithoutPods makes a stage on which Jobs are made but no Pod ever comes of them. The backend is dev of a binary.
func newStageWithoutPods(t *testing.T, g generation, backend string) *stage {
	t.Helper()
	needCluster(t)
	s := &stage{t: t, generation: g, namespace: newNamespace(t), dir: t.TempDir()}
	forbidPods(t, s.namespace)
	s.startBackend(backend)
	return s
}

// needKit skips when there is no image of this version, which happens on the reader's own cluster only.
func needKit(t *testing.T, g generation) kit {
	t.Helper()
	needCluster(t)
	if image := shared.target.Image(g.version); image != "" && !strings.HasSuffix(image, ":"+g.version) {
		t.Skipf("FLOW_IMAGE %s is not tagged %s", image, g.version)
	}
	k, err := shared.kits[g.version]()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// needCluster skips or fails when no cluster can be had.
func needCluster(t *testing.T) {
	t.Helper()
	if shared.reason == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(shared.reason)
	}
	t.Skip(shared.reason)
}

func random(t *testing.T) string {
	t.Helper()
	b := make([]byte, 4)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func newNamespace(t *testing.T) string {
	t.Helper()
	name := "e2e-" + random(t)
	if err := shared.target.CreateNamespace(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if t.Failed() {
			dump(ctx, t, name)
		}
		if err := shared.target.DeleteNamespace(ctx, name); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return name
}

// dump prints what the namespace holds, for the reader of a failed test.
func dump(ctx context.Context, t *testing.T, namespace string) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "jobs,pods", "--output=wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"describe", "pods"},
		{"logs", "--selector=batch.kubernetes.io/job-name", "--all-containers", "--prefix", "--tail=100"},
	} {
		output, err := shared.target.Run(ctx, "", append(args, "--namespace="+namespace)...)
		t.Logf("kubectl %v: %v\n%s", args, err, output[max(0, len(output)-16<<10):])
	}
}

func forbidPods(t *testing.T, namespace string) {
	t.Helper()
	_, err := shared.target.Run(t.Context(), "", "create", "quota", "none", "--hard=pods=0", "--namespace="+namespace)
	if err != nil {
		t.Fatal(err)
	}
}

func (s *stage) kubectl(ctx context.Context, args ...string) string {
	s.t.Helper()
	output, err := shared.target.Run(ctx, "", append(args, "--namespace="+s.namespace)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(output)
}

// job is what the tests look at of a Job.
type job struct {
	Metadata struct {
		Name, Namespace, UID string
		CreationTimestamp    time.Time
		Labels, Annotations  map[string]string
	}
	Spec   struct{ Parallelism int }
	Status struct {
		Conditions []struct{ Type, Status string }
	}
}

// finished is the Job's final condition, empty while it has none.
func (j job) finished() string {
	for _, c := range j.Status.Conditions {
		if c.Status == "True" && (c.Type == "Complete" || c.Type == "Failed") {
			return c.Type
		}
	}
	return ""
}

func (j job) run() string     { return j.Metadata.Labels["prefect.io/flow_run_id"] }
func (j job) attempt() string { return j.Metadata.Annotations["prefect-kube.io/attempt"] }

// jobs lists the Jobs of the namespaces, oldest first.
func jobs(ctx context.Context, t *testing.T, namespaces ...string) []job {
	t.Helper()
	var all []job
	for _, namespace := range namespaces {
		output, err := shared.target.Run(ctx, "", "get", "jobs", "--output=json", "--namespace="+namespace)
		if err != nil {
			t.Fatal(err)
		}
		var list struct{ Items []job }
		if err := json.Unmarshal(output, &list); err != nil {
			t.Fatal(err)
		}
		all = append(all, list.Items...)
	}
	slices.SortStableFunc(all, func(a, b job) int { return a.Metadata.CreationTimestamp.Compare(b.Metadata.CreationTimestamp) })
	return all
}

// awaitFinished waits until all Jobs of the stage are finished, and returns them. A flow run has ended some seconds before.
func (s *stage) awaitFinished() []job {
	s.t.Helper()
	var found []job
	eventually(s.t, "the jobs are finished", func(ctx context.Context) error {
		found = jobs(ctx, s.t, s.namespace)
		for _, j := range found {
			if j.finished() == "" {
				return fmt.Errorf("job %s is not", j.Metadata.Name)
			}
		}
		return nil
	})
	return found
}

// startBackend starts the development backend where Pods reach it.
func (s *stage) startBackend(binary string) {
	s.t.Helper()
	address := freeAddress(s.t, shared.target.HostAddress)
	s.url = "http://" + address
	backend := start(s.t, s.dir, "backend", binary, "dev", "--listen", address, "--generation", s.generation.server)
	backend.await("the backend answers", func(ctx context.Context) error {
		_, err := s.query(ctx, "query{hello}", nil)
		return err
	})
}

// agent is a running agent.
type agent struct {
	*process
	// url is its HTTP side.
	url string
}

// agentOptions are what an agent may have for itself. Empty fields are those of the stage.
type agentOptions struct {
	name, binary, namespace, api string
	args                         []string
}

// launch starts an agent and waits for nothing.
func (s *stage) launch(o agentOptions) agent {
	s.t.Helper()
	a := agent{url: "http://" + freeAddress(s.t, "127.0.0.1")}
	args := slices.Concat(s.generation.agent, []string{
		"--namespace", cmp.Or(o.namespace, s.namespace), "--api", cmp.Or(o.api, s.url), "--agent-address", a.url, "--label", label,
	}, o.args)
	a.process = start(s.t, s.dir, cmp.Or(o.name, "agent"), cmp.Or(o.binary, shared.binary), args...)
	return a
}

// startAgent starts an agent and waits until it has polled.
func (s *stage) startAgent(args ...string) {
	s.t.Helper()
	s.launch(agentOptions{args: args}).awaitReady()
}

func (a agent) awaitReady() {
	a.t.Helper()
	a.await("the agent is ready", func(ctx context.Context) error { return healthy(ctx, a.url+"/readyz") })
}

// register registers a stored flow with the real client and creates a run. It returns the flow run's id.
func (s *stage) register(r flowimage.Registration) string {
	s.t.Helper()
	r.Server, r.Home, r.Image = s.url, s.dir, cmp.Or(r.Image, s.kit.image)
	if r.Labels == nil {
		r.Labels = []string{label}
	}
	id, err := s.kit.client.Register(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// freeAddress asks the kernel for a port that is free on the host now.
func freeAddress(t *testing.T, host string) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // only the number is wanted
	return listener.Addr().String()
}

func logFile(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
}
