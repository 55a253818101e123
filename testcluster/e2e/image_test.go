package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/testcluster/agentimage"
	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
	"github.com/prefect-kube/prefect-kube/testcluster/registry"
)

// recorded names what the real agents of each release printed as their manifests with
// rights, and with their resource manager where they have one.
func recorded() []struct{ version, file string } {
	const manager, plain = "resource-manager-with-rbac.json", "rbac.json"
	return []struct{ version, file string }{
		{"0.11.0", manager},
		{"0.12.6", manager},
		{"0.13.19", manager},
		{"0.14.22", plain},
		{"0.15.13", plain},
		{"1.0.0", plain},
		{"1.2.4", plain},
		{"1.4.1", plain},
	}
}

// TestImage: the Deployments that the Python agents printed run flows with nothing changed but the image.
func TestImage(t *testing.T) {
	t.Parallel()
	needCluster(t)
	if shared.own == nil {
		t.Skip("the image cannot be brought into this cluster")
	}
	image := agentImage(t)
	for _, r := range recorded() {
		t.Run(r.version, func(t *testing.T) {
			t.Parallel()
			g := generations()["1.4.1"]
			if r.version == "0.11.0" || r.version == "0.12.6" { // their server is part of Prefect
				g = generations()["0.11.0"]
			}
			runRecorded(newStage(t, g), filepath.Join("..", "..", "conformance", "releases", r.version, "install", r.file), image)
		})
	}
	t.Run("no shell", func(t *testing.T) {
		t.Parallel()
		refusesShell(t, image)
	})
	t.Run("any user", func(t *testing.T) {
		t.Parallel()
		runsAsAnyUser(t, image)
	})
}

// agentImage makes the image of the program under test, and returns its name in the registry.
func agentImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	made, err := agentimage.New(shared.binary, runtime.GOARCH, "test", dir)
	if err != nil {
		t.Fatal(err)
	}
	tar := filepath.Join(dir, "image.tar")
	if err := agentimage.WriteTar(made, "prefect-kube:test", tar); err != nil {
		t.Fatal(err)
	}
	name, err := registry.Push(t.Context(), shared.registry, tar, "prefect-kube:test")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func runRecorded(s *stage, file, image string) {
	s.t.Helper()
	poll := &firstPoll{at: make(chan time.Time, 1)}
	d := s.deploy(file, image, proxy(s.t, s.url, poll.serve))
	// Before the poll is awaited: the agent may not be older than what is measured.
	polled := receive(s.t, "the agent polls", poll.at)
	if started, err := processStart(s.namespace); err != nil {
		s.t.Error(err)
	} else {
		s.t.Logf("container start to first poll: %v, with 100m of a CPU", polled.Sub(started).Round(10*time.Millisecond))
	}
	s.awaitState(s.register(flowimage.Registration{Flow: "two-tasks"}), "Success")
	// The agent's image is none to run flows in. Its Job tells so, and needs what the Role does not grant to be explained.
	broken := s.register(flowimage.Registration{Flow: "fail", Image: image})
	if got := s.awaitState(broken, "Failed"); !strings.Contains(got.Message, "exit code 2") {
		s.t.Errorf("the message of a run in the wrong image is %q", got.Message)
	}
	d.check()
	// The agent is the first process of its container, which the kernel lets ignore signals. One that does is killed after 30 s.
	asked := time.Now()
	s.kubectl(s.t.Context(), "delete", "deployment", "prefect-agent", "--cascade=foreground", "--wait")
	if took := time.Since(asked); took > 25*time.Second {
		s.t.Errorf("the agent took %v to leave", took)
	}
}

// deployment is an agent in the cluster.
type deployment struct {
	*stage
	containers []string
}

// deploy applies a recorded manifest with another image, for the stage's namespace and an address of its backend.
func (s *stage) deploy(file, image, api string) deployment {
	s.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	var v struct {
		Expected struct{ Documents []map[string]any }
	}
	if err := json.Unmarshal(data, &v); err != nil || len(v.Expected.Documents) != 3 {
		s.t.Fatalf("%s: %v, %d documents, want 3", file, err, len(v.Expected.Documents))
	}
	d := deployment{stage: s}
	for _, document := range v.Expected.Documents {
		if document["kind"] == "Deployment" {
			d.containers = s.adapt(document, image, api)
		} else {
			document["apiVersion"] = "rbac.authorization.k8s.io/v1"
			at[map[string]any](s.t, document, "metadata")["namespace"] = s.namespace
		}
	}
	list, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": v.Expected.Documents})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := shared.target.Run(s.t.Context(), string(list), "create", "--validate=strict", "--filename=-", "--namespace="+s.namespace); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			for _, c := range d.containers {
				s.t.Logf("log of container %s:\n%s", c, d.logsOf(context.Background(), c))
			}
		}
	})
	return d
}

// adapt sets in a Deployment what other arguments would have set, and the image. It returns the containers' names.
func (s *stage) adapt(document map[string]any, image, api string) []string {
	s.t.Helper()
	arguments := map[string]string{
		"PREFECT__CLOUD__API": api, "NAMESPACE": s.namespace, "PREFECT__BACKEND": "server", "PREFECT__CLOUD__AGENT__LABELS": "['" + label + "']",
	}
	var names []string
	for _, c := range at[[]any](s.t, document, "spec", "template", "spec", "containers") {
		container, _ := c.(map[string]any)
		container["image"] = image
		// Later versions gave no limits; the agent keeps to those of 0.11.0.
		container["resources"] = map[string]any{"limits": map[string]string{"cpu": "100m", "memory": "128Mi"}}
		for _, e := range at[[]any](s.t, container, "env") {
			variable, _ := e.(map[string]any)
			if value, ok := arguments[at[string](s.t, variable, "name")]; ok {
				variable["value"] = value
			}
		}
		names = append(names, at[string](s.t, container, "name"))
	}
	return names
}

// at returns what lies in a tree below the keys.
func at[T any](t *testing.T, tree any, keys ...string) T {
	t.Helper()
	for _, key := range keys {
		m, _ := tree.(map[string]any)
		tree = m[key]
	}
	value, ok := tree.(T)
	if !ok {
		t.Fatalf("%v is a %T", keys, tree)
	}
	return value
}

func (d deployment) logsOf(ctx context.Context, container string) string {
	output, err := shared.target.Run(ctx, "", "logs", "deployment/prefect-agent", "--container="+container, "--namespace="+d.namespace)
	return string(output) + fmt.Sprint(err)
}

// check looks at what the containers became: alive, never restarted, and each missing right told once.
func (d deployment) check() {
	d.t.Helper()
	const fields = `{range .items[*].status.containerStatuses[*]}{.name} {.restartCount} {.ready} {end}{.items[*].status.podIP}`
	status := strings.Fields(d.kubectl(d.t.Context(), "get", "pods", "--selector=app=prefect-agent", "--output=jsonpath="+fields))
	if len(status) != 3*len(d.containers)+1 {
		d.t.Fatalf("containers are %q, want %q", status, d.containers)
	}
	for i, c := range d.containers {
		if got := strings.Join(status[3*i:3*i+3], " "); got != c+" 0 true" {
			d.t.Errorf("container is %q, want %s ready and never restarted", got, c)
		}
		log := d.logsOf(d.t.Context(), c)
		missing := map[string]int{}
		for text := range strings.Lines(log) {
			if _, right, ok := strings.Cut(text, "cannot "); ok {
				right, _, _ = strings.Cut(right, " in ")
				missing[right]++
			}
		}
		d.t.Logf("container %s misses %v", c, missing)
		if c == "agent" && missing[`get resource \"pods/log\"`] == 0 {
			d.t.Errorf("the agent does not say that it may not read logs:\n%s", log)
		}
		for right, count := range missing {
			if count > 1 {
				d.t.Errorf("container %s says %d times that it cannot %s:\n%s", c, count, right, log)
			}
		}
	}
	// Its probe.
	if err := healthy(d.t.Context(), "http://"+status[len(status)-1]+":8080/api/health"); err != nil {
		d.t.Error(err)
	}
}

// firstPoll tells when the queue was asked for the first time.
type firstPoll struct{ at chan time.Time }

func (f *firstPoll) serve(w http.ResponseWriter, _ *http.Request, body string, forward func(http.ResponseWriter)) {
	if strings.Contains(body, "get_runs_in_queue(") {
		select {
		case f.at <- time.Now():
		default:
		}
	}
	forward(w)
}

// processStart is when the kernel started the agent of a namespace; Pods run on this machine. It is right to 20 ms.
func processStart(namespace string) (time.Time, error) {
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	up, err := strconv.ParseFloat(strings.Fields(string(uptime))[0], 64)
	if err != nil {
		return time.Time{}, err
	}
	booted := time.Now().Add(-time.Duration(up * float64(time.Second)))
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		env, _ := os.ReadFile(file) // processes come and go
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if !bytes.Contains(env, []byte("\x00NAMESPACE="+namespace+"\x00")) || !bytes.HasPrefix(command, []byte("/bin/bash\x00-c\x00prefect agent ")) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(file), "stat"))
		if err != nil {
			return time.Time{}, err
		}
		// After the name in brackets come the fields from the third on; the 22nd is the start in hundredths of a second.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		ticks, err := strconv.Atoi(fields[22-3])
		return booted.Add(time.Duration(ticks) * 10 * time.Millisecond), err
	}
	return time.Time{}, errors.New("no process of the agent to be seen")
}

// pod runs a container of the image, with more in its specification.
func (s *stage) pod(name, image string, more map[string]any) {
	s.t.Helper()
	container := map[string]any{"name": "c", "image": image}
	maps.Copy(container, more)
	pod, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"restartPolicy": "Never", "containers": []any{container}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := shared.target.Run(s.t.Context(), string(pod), "create", "--filename=-", "--namespace="+s.namespace); err != nil {
		s.t.Fatal(err)
	}
}

// refusesShell: whatever needs more than the agent ends at once and says what to use instead.
func refusesShell(t *testing.T, image string) {
	t.Helper()
	s := &stage{t: t, namespace: newNamespace(t), dir: t.TempDir()}
	commands := map[string][]string{
		"chain": {"/bin/bash", "-c", "pip install s3fs && prefect agent kubernetes start"},
		"shell": {"sh"},
		"code":  {"python", "-c", "print(1)"},
	}
	for name, command := range commands {
		s.pod(name, image, map[string]any{"command": command})
	}
	for name := range commands {
		eventually(t, "the container has ended with 2", func(ctx context.Context) error {
			code := s.kubectl(ctx, "get", "pod", name, "--output=jsonpath={.status.containerStatuses[0].state.terminated.exitCode}")
			if code != "2" {
				return fmt.Errorf("its exit code is %q", code)
			}
			return nil
		})
		if log := s.kubectl(t.Context(), "logs", name); strings.Count(log, "\n") != 1 || !strings.Contains(log, `without a shell`) || !strings.Contains(log, `"prefect", "agent"`) {
			t.Errorf("%s: log is %q, want one line with the mend", name, log)
		}
	}
}

// runsAsAnyUser: nothing but the program is needed, not even to tell the time elsewhere.
func runsAsAnyUser(t *testing.T, image string) {
	t.Helper()
	s := &stage{t: t, namespace: newNamespace(t), dir: t.TempDir()}
	s.pod("agent", image, map[string]any{
		"args": []string{"prefect", "agent", "kubernetes", "start", "--api", "http://localhost:1"},
		"env":  []any{map[string]string{"name": "TZ", "value": "Asia/Kolkata"}, map[string]string{"name": "PREFECT__BACKEND", "value": "server"}},
		"securityContext": map[string]any{
			"runAsUser": 12345, "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
			"capabilities": map[string]any{"drop": []string{"ALL"}},
		},
	})
	eventually(t, "the agent says what it found at the time of its zone", func(ctx context.Context) error {
		log, err := shared.target.Run(ctx, "", "logs", "agent", "--namespace="+s.namespace)
		if !bytes.Contains(log, []byte("cluster found")) || !bytes.Contains(log, []byte("+05:30")) {
			return fmt.Errorf("%w: %s", err, log)
		}
		return nil
	})
}
