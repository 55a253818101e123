package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// TestContainersOfEveryRelease: what a release's install printed starts what it started
// there, with the settings of its variables.
func TestContainersOfEveryRelease(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "..", "conformance", "releases", "*", "install", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, file := range files {
		release := filepath.Base(filepath.Dir(filepath.Dir(file)))
		t.Run(release+"/"+strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			for _, c := range containersOf(t, file) {
				c.start(t)
			}
		})
	}
}

// printedContainer is a container of a recorded Deployment.
type printedContainer struct {
	Name          string
	Command, Args []string
	Env           []struct{ Name, Value string }
}

// containersOf are those of a case; one that is an error has none.
func containersOf(t *testing.T, file string) []printedContainer {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Expected struct {
			Documents []struct {
				Spec struct {
					Template struct {
						Spec struct{ Containers []printedContainer }
					}
				}
			}
			Error *struct{ Message string }
		}
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if v.Expected.Error != nil {
		return nil
	}
	return v.Expected.Documents[0].Spec.Template.Spec.Containers
}

func (c printedContainer) start(t *testing.T) {
	t.Helper()
	variables, env := map[string]string{}, []string{"PREFECT__CLOUD__AUTH_TOKEN=x"}
	for _, e := range c.Env {
		variables[e.Name] = e.Value
		env = append(env, e.Name+"="+e.Value)
	}
	var started string
	record := commands{
		start: func(_ context.Context, a config.Agent, _ *slog.Logger) error {
			started = "agent"
			if a.Namespace != variables["NAMESPACE"] || a.API != variables["PREFECT__CLOUD__API"] || a.Backend != variables["PREFECT__BACKEND"] || a.JobMemLimit != variables["JOB_MEM_LIMIT"] {
				t.Errorf("the agent has %s, %s, %s, %s of %v", a.Namespace, a.API, a.Backend, a.JobMemLimit, variables)
			}
			return nil
		},
		resourceManager: func(_ context.Context, m config.ResourceManager, _ *slog.Logger) error {
			started = "resource-manager"
			if m.Namespace != variables["NAMESPACE"] {
				t.Errorf("the resource manager is in %s, want %s", m.Namespace, variables["NAMESPACE"])
			}
			return nil
		},
	}
	var output bytes.Buffer
	code := runContainer(t.Context(), append(c.Command, c.Args...), env, streams{out: io.Discard, err: &output}, record)
	if code != exitClean || started != c.Name {
		t.Errorf("container %s: exit code %d, started %q: %s", c.Name, code, started, output.String())
	}
}
