package flowimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Client is a real Prefect client on the host: a virtual environment with the very packages and stored flows that the
// image of its version holds.
type Client struct {
	Version string
	// Python and Prefect are the environment's programs.
	Python, Prefect string
	folder          string
}

// Client returns the client of a version, making its environment when the cache lacks it.
func (b Builder) Client(ctx context.Context, version string) (Client, error) {
	if !slices.Contains(Versions(), version) {
		return Client{}, fmt.Errorf("prefect %q: there are clients of %s", version, strings.Join(Versions(), " and "))
	}
	unlock, err := b.lock()
	if err != nil {
		return Client{}, err
	}
	defer unlock()
	folder, err := b.libraries(ctx, version)
	if err != nil {
		return Client{}, fmt.Errorf("install prefect %s: %w", version, err)
	}
	environment := filepath.Join(folder, "venv")
	client := Client{
		Version: version,
		Python:  filepath.Join(environment, "bin", "python"),
		Prefect: filepath.Join(environment, "bin", "prefect"),
		folder:  folder,
	}
	if exists(client.Prefect) {
		return client, nil
	}
	interpreter, err := b.interpreter(ctx)
	if err != nil {
		return Client{}, err
	}
	if err := run(exec.CommandContext(ctx, interpreter, "-m", "venv", "--clear", "--without-pip", environment)); err != nil {
		return Client{}, fmt.Errorf("create environment: %w", err)
	}
	packages := filepath.Join(environment, "lib", "python"+pythonVersion, "site-packages", "prefect-kube.pth")
	if err := os.WriteFile(packages, []byte(filepath.Join(folder, "lib")+"\n"), 0o644); err != nil {
		return Client{}, fmt.Errorf("fill environment: %w", err)
	}
	if err := os.WriteFile(client.Prefect, []byte(launcher(client.Python)), 0o755); err != nil {
		return Client{}, fmt.Errorf("fill environment: %w", err)
	}
	return client, nil
}

// Registration says which stored flow to register and with what.
type Registration struct {
	// Server is the backend's URL, Home a folder for Prefect's own files.
	Server, Home string
	Flow         string
	Image        string
	Parameters   map[string]any
	Labels       []string
	// RunConfig is more of the run config, a KubernetesRun's keyword arguments. Prefect 0.x has none.
	RunConfig map[string]any
}

// Register registers a stored flow with the real client and creates a run of it. It returns the flow run's id.
func (c Client) Register(ctx context.Context, r Registration) (string, error) {
	parameters, err := object(r.Parameters)
	if err != nil {
		return "", fmt.Errorf("encode parameters of flow %q: %w", r.Flow, err)
	}
	runConfig, err := object(r.RunConfig)
	if err != nil {
		return "", fmt.Errorf("encode run config of flow %q: %w", r.Flow, err)
	}
	args := append([]string{filepath.Join(c.folder, "scripts", "register.py"), r.Flow, parameters}, r.Labels...)
	command := c.Command(ctx, r.Server, r.Home, args...)
	command.Env = append(command.Env, "FLOWS="+filepath.Join(c.folder, "flows"), "RUN_CONFIG="+runConfig)
	if r.Image != "" {
		command.Env = append(command.Env, "IMAGE="+r.Image)
	}
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("register flow %q with prefect %s: %w: %s%s", r.Flow, c.Version, err, output, stderr(err))
	}
	lines := strings.Fields(string(output))
	if len(lines) == 0 {
		return "", fmt.Errorf("register flow %q with prefect %s: it printed no flow run id", r.Flow, c.Version)
	}
	return lines[len(lines)-1], nil
}

// object writes a map as JSON; nil is an empty object.
func object(values map[string]any) (string, error) {
	if values == nil {
		return "{}", nil
	}
	data, err := json.Marshal(values)
	return string(data), err
}

// Command runs Python with the client's packages against a server; home holds Prefect's own files.
func (c Client) Command(ctx context.Context, server, home string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, c.Python, args...)
	command.Env = append(environment(home, ""),
		"PREFECT__BACKEND=server", "PREFECT__SERVER__ENDPOINT="+server, "PREFECT__LOGGING__LEVEL=WARNING")
	return command
}

func stderr(err error) string {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return ""
	}
	return string(exit.Stderr)
}
