package e2e_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
)

// TestInstalled: the agent that our own manifest installs runs flows with exactly the rights that are printed with it.
func TestInstalled(t *testing.T) {
	t.Parallel()
	needCluster(t)
	if shared.own == nil {
		t.Skip("the image cannot be brought into this cluster")
	}
	image := agentImage(t)
	commands := map[string]struct{ args, credential []string }{
		"0.11.0": {[]string{"agent", "install", "kubernetes", "--resource-manager"}, []string{"--token", "hush"}},
		"1.4.1":  {[]string{"agent", "kubernetes", "install"}, []string{"--key", "hush"}},
	}
	for version, c := range commands {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, generations()[version])
			manifest, complaint, err := install(t.Context(), environment(s.dir), slices.Concat(c.args, c.credential, []string{
				"--rbac", "--backend", "server", "--api", s.url, "--namespace", s.namespace, "--label", label, "--image", image,
				"--mem-request", "48Mi", "--env", "TEAM=data",
			}))
			if err != nil {
				t.Fatalf("install: %v: %s", err, complaint)
			}
			if _, err := shared.target.Run(t.Context(), manifest, "create", "--validate=strict", "--filename=-"); err != nil {
				t.Fatal(err)
			}
			run := s.register(flowimage.Registration{Flow: "two-tasks"})
			s.awaitState(run, "Success")
			s.checkJob()
			s.kubectl(t.Context(), "rollout", "status", "deployment/prefect-agent", "--timeout=60s")
			log := s.kubectl(t.Context(), "logs", "deployment/prefect-agent", "--all-containers")
			if strings.Contains(log, "orbidden") || strings.Contains(log, "cannot ") || strings.Contains(log, "hush") {
				t.Errorf("a right is missing, or a secret told:\n%s", log)
			}
		})
	}
}

// checkJob looks for what install was told about Jobs, and for what it was told in confidence.
func (s *stage) checkJob() {
	s.t.Helper()
	job := s.kubectl(s.t.Context(), "get", "jobs", "--output=yaml")
	for _, want := range []string{"secretKeyRef", "memory: 48Mi", "name: TEAM"} {
		if !strings.Contains(job, want) {
			s.t.Errorf("no %q in the job\n%s", want, job)
		}
	}
	if strings.Contains(job, "hush") {
		s.t.Errorf("the credential is in the job\n%s", job)
	}
}

// TestComingFromThePythonAgent types what the page says, in its order.
func TestComingFromThePythonAgent(t *testing.T) {
	t.Parallel()
	needCluster(t)
	if shared.own == nil {
		t.Skip("the image cannot be brought into this cluster")
	}
	s := newStage(t, generations()["1.4.1"])
	image := agentImage(t)
	s.deploy(filepath.Join("..", "..", "conformance", "install", "1.4.1", "rbac.json"), image, s.url)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "coming-from-the-python-agent.md"))
	if err != nil {
		t.Fatal(err)
	}
	programs, here := t.TempDir(), t.TempDir()
	kubectl, err := exec.LookPath(shared.target.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	run := `{"id": "11111111-1111-4111-8111-111111111111", "name": "n", "flow": {"id": "f", "name": "etl", "core_version": "1.4.1", "storage": {"type": "Local"}}}`
	err = errors.Join(os.Symlink(shared.binary, filepath.Join(programs, "prefect-kube")), os.Symlink(kubectl, filepath.Join(programs, "kubectl")),
		os.WriteFile(filepath.Join(here, "flow-run.json"), []byte(run), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```sh\n")[1:]
	if len(blocks) < 5 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	for i, block := range blocks {
		commands, _, _ := strings.Cut(block, "```")
		shell := exec.CommandContext(t.Context(), "bash", "-euxo", "pipefail", "-c", commands)
		shell.Dir = here
		shell.Env = append(environment(s.dir), "PATH="+programs+":"+os.Getenv("PATH"), "NAMESPACE="+s.namespace, "IMAGE="+image)
		if output, err := shell.CombinedOutput(); err != nil {
			t.Fatalf("block %d: %v\n%s", i+1, err, output)
		}
		if i == 1 { // changed over
			s.awaitState(s.register(flowimage.Registration{Flow: "two-tasks"}), "Success")
		}
	}
	eventually(t, "the agent is gone after the way back", func(ctx context.Context) error {
		if pods := s.kubectl(ctx, "get", "pods", "--selector=app=prefect-agent", "--output=name"); pods != "" {
			return errors.New(pods)
		}
		return nil
	})
}
