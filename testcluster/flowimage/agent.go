package flowimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Agent is the real Python KubernetesAgent of a version on the host: its client, and the packages that only the agent
// needs beside it.
type Agent struct {
	Client
	packages string
}

// Agent returns the agent of a version, installing what the cache lacks.
func (b Builder) Agent(ctx context.Context, version string) (Agent, error) {
	client, err := b.Client(ctx, version)
	if err != nil {
		return Agent{}, err
	}
	unlock, err := b.lock()
	if err != nil {
		return Agent{}, err
	}
	defer unlock()
	lock, err := python.ReadFile("python/agent-lock." + version)
	if err != nil {
		return Agent{}, err
	}
	sum := sha256.Sum256(append([]byte(recipe+" "), lock...))
	folder := filepath.Join(b.images(), "agent-"+version+"-"+hex.EncodeToString(sum[:])[:16])
	if exists(folder) {
		return Agent{client, folder}, nil
	}
	interpreter, err := b.interpreter(ctx)
	if err != nil {
		return Agent{}, err
	}
	work, err := os.MkdirTemp(b.images(), "new-")
	if err != nil {
		return Agent{}, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // gone after the rename
	b.say("installing the agent of prefect %s ...", version)
	if err := install(ctx, interpreter, "agent-lock."+version, work); err != nil {
		return Agent{}, fmt.Errorf("install the agent of prefect %s: %w", version, err)
	}
	return Agent{client, folder}, errors.Join(os.Chmod(work, 0o755), os.Rename(work, folder))
}

// Start is the command line that starts the agent against a server and the cluster of a kubeconfig; home holds
// Prefect's own files.
func (a Agent) Start(ctx context.Context, server, kubeconfig, home, namespace string, labels ...string) *exec.Cmd {
	args := []string{"agent", "kubernetes", "start", "--api", server}
	if a.Version == "0.11.0" {
		args = []string{"agent", "start", "kubernetes"}
	}
	args = append(args, "--namespace", namespace)
	for _, label := range labels {
		args = append(args, "--label", label)
	}
	command := exec.CommandContext(ctx, a.Prefect, args...)
	command.Env = append(environment(home, a.packages),
		"PREFECT__BACKEND=server", "PREFECT__SERVER__ENDPOINT="+server, "KUBECONFIG="+kubeconfig, "NAMESPACE="+namespace)
	return command
}
