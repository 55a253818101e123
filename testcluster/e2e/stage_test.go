package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
	"github.com/prefect-kube/prefect-kube/testcluster/registry"
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
}

func generations() map[string]generation {
	return map[string]generation{
		"0.11.0": {"0.11.0", "0.11", []string{"agent", "start", "kubernetes"}, "/graphql/alpha", true},
		"1.4.1":  {"1.4.1", "1.x", []string{"agent", "kubernetes", "start"}, "/graphql", false},
	}
}

// stage is one test's own corner: a namespace, a backend, a folder, and the real client.
type stage struct {
	t          *testing.T
	generation generation
	namespace  string
	// url is the backend's address, the same from here and from Pods.
	url    string
	image  string
	client flowimage.Client
	dir    string
}

// newStage skips or fails when no cluster can be had. Everything it starts ends with the test.
func newStage(t *testing.T, g generation) *stage {
	t.Helper()
	if shared.reason != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(shared.reason)
		}
		t.Skip(shared.reason)
	}
	s := &stage{t: t, generation: g, namespace: "e2e-" + random(t), dir: t.TempDir(), image: ownImage(t, g)}
	var err error
	if s.client, err = shared.builder.Client(t.Context(), g.version); err != nil {
		t.Fatal(err)
	}
	if s.image == "" {
		s.provideImage()
	}
	s.createNamespace()
	s.startBackend()
	return s
}

// ownImage is the reader's image when the cluster is the reader's, else empty. VERSION in its name becomes Prefect's; the
// tests of a version for which there is no image are skipped.
func ownImage(t *testing.T, g generation) string {
	t.Helper()
	image := strings.ReplaceAll(shared.target.FlowImage, "VERSION", g.version)
	if image != "" && !strings.HasSuffix(image, ":"+g.version) {
		t.Skipf("FLOW_IMAGE %s is not tagged %s", image, g.version)
	}
	return image
}

func random(t *testing.T) string {
	t.Helper()
	b := make([]byte, 4)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// provideImage makes the version's image available to Pods: in the node itself, or in the registry.
func (s *stage) provideImage() {
	s.t.Helper()
	image, err := shared.builder.Image(s.t.Context(), s.generation.version)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.generation.pulls {
		if s.image, err = registry.Push(s.t.Context(), shared.registry, image.Tar, "flow:"+image.Version); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	if err := shared.own.ImportImage(s.t.Context(), image.Tar); err != nil {
		s.t.Fatal(err)
	}
	s.image = image.Ref
}

func (s *stage) createNamespace() {
	s.t.Helper()
	if err := shared.target.CreateNamespace(s.t.Context(), s.namespace); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if s.t.Failed() {
			s.dump(ctx)
		}
		if err := shared.target.DeleteNamespace(ctx, s.namespace); err != nil {
			s.t.Errorf("clean up: %v", err)
		}
	})
}

// dump prints what the namespace holds, for the reader of a failed test.
func (s *stage) dump(ctx context.Context) {
	for _, args := range [][]string{
		{"get", "jobs,pods", "--output=wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"describe", "pods"},
		{"logs", "--selector=batch.kubernetes.io/job-name", "--all-containers", "--prefix", "--tail=100"},
	} {
		output, err := shared.target.Run(ctx, "", append(args, "--namespace="+s.namespace)...)
		s.t.Logf("kubectl %v: %v\n%s", args, err, output)
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

// startBackend starts the development backend where Pods reach it.
func (s *stage) startBackend() {
	s.t.Helper()
	address := freeAddress(s.t, shared.target.HostAddress)
	s.url = "http://" + address
	backend := start(s.t, s.dir, "backend", shared.binary, "dev", "--listen", address, "--generation", s.generation.server)
	backend.await("the backend answers", func(ctx context.Context) error {
		_, err := s.query(ctx, "query{hello}", nil)
		return err
	})
}

// startAgent starts an agent for the stage's namespace and waits until it is healthy.
func (s *stage) startAgent(labels ...string) *process {
	s.t.Helper()
	address := freeAddress(s.t, "127.0.0.1")
	args := append([]string(nil), s.generation.agent...)
	args = append(args, "--namespace", s.namespace, "--api", s.url, "--agent-address", "http://"+address)
	for _, label := range labels {
		args = append(args, "--label", label)
	}
	agent := start(s.t, s.dir, "agent", shared.binary, args...)
	agent.await("the agent is healthy", func(ctx context.Context) error { return healthy(ctx, "http://"+address+"/api/health") })
	return agent
}

// register registers a stored flow with the real client and creates a run. It returns the flow run's id.
func (s *stage) register(flow string, parameters map[string]any, labels ...string) string {
	s.t.Helper()
	id, err := s.client.Register(s.t.Context(), flowimage.Registration{
		Server:     s.url,
		Home:       s.dir,
		Flow:       flow,
		Image:      s.image,
		Parameters: parameters,
		Labels:     labels,
	})
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
