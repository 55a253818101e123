package jobspec_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// TestAllFaultsAreNamedAtOnce has faults in several places and of several kinds.
func TestAllFaultsAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	stores := func(run jobspec.FlowRun, storage string) jobspec.FlowRun {
		run.Storage = json.RawMessage(storage)
		return run
	}
	badTenant := agent()
	badTenant.Credential, badTenant.TenantID = "KEY", "nobody"
	for name, c := range map[string]struct {
		run      jobspec.FlowRun
		settings jobspec.Settings
		want     []string
	}{
		"run config": {
			configRun(`{"type":"KubernetesRun","image":5,"cpu_limit":2,"memory_request":["1Gi"],"labels":[1],"env":["A"],"image_pull_secrets":"s","image_pull_policy":"Sometimes"}`), agent(),
			[]string{
				"run_config.labels", "run_config.image 5 is not a valid string; write it as text", "run_config.cpu_limit", "run_config.memory_request",
				"run_config.env is not an object", "run_config.image_pull_secrets", `run_config.image_pull_policy "Sometimes" is an invalid image_pull_policy; use`,
			},
		},
		"run config, storage and settings": {
			stores(configRun(`{"type":"KubernetesRun","image":5}`), `{"type":"Docker","image_name":5,"registry_url":"https://r"}`), badTenant,
			[]string{"tenant_id", "run_config.image", "storage.image_name 5 is not a valid string", "storage.image_tag is empty", "storage.registry_url"},
		},
		"run config and its template": {
			configRun(`{"type":"KubernetesRun","cpu_limit":2,"job_template":{"metadata":{"labels":[],"name":5},"spec":{"parallelism":2,"template":{"spec":{"volumes":{},"containers":[{"env":[{"value":"x"},5],"resources":1}]}}}}}`), agent(),
			[]string{
				"run_config.cpu_limit", "metadata.labels is a list", "metadata.name is a number", "spec.parallelism", "containers[0].env[0].name is missing",
				"containers[0].env[1] is a number", "containers[0].resources is a number", "spec.template.spec.volumes is an object, not a list",
			},
		},
		"several types and keys": {
			templated(`{"spec":{"backoffLimit":"none","x":1,"template":{"spec":{"containers":[{"command":"run","ports":[{"containerPort":"web"}],"resources":{"limits":{"cpu":"lots"}}}]}}}}`), agent(),
			[]string{"spec.backoffLimit", "command is a string, not a list", "containerPort", `limits.cpu "lots" is not a valid Quantity; write it like`},
		},
		"environment and storage": {
			func() jobspec.FlowRun {
				run := stores(environmentRun(), `{"type":"Docker"}`)
				run.Environment = json.RawMessage(`{"metadata":{"image":7}}`)
				return run
			}(), agent(),
			[]string{"environment.metadata.image 7", "storage.image_name is empty", "storage.image_tag is empty"},
		},
		"foreign run config and storage": {stores(configRun(`{"type":"ECSRun"}`), `null`), agent(), []string{"only `KubernetesRun` is supported; give the flow", "storage is null; register"}},
		"versions": {func() jobspec.FlowRun {
			r := configRun(`{"type":"KubernetesRun","image":5}`)
			r.CoreVersion = "master"
			return r
		}(), agent(), []string{"run_config.image", "flow.core_version"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := jobspec.Job(c.run, c.settings, attempt)
			if err == nil {
				t.Fatal("Job is built")
			}
			for _, text := range c.want {
				if strings.Count(err.Error(), text) != 1 {
					t.Errorf("%q is not there once: %v", text, err)
				}
			}
		})
	}
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	run := podTemplate(`{"containers":[{"env":[` + strings.Repeat(`{"value":"`+strings.Repeat("x", 200)+`"},`, 4000) + `1]}]}`)
	_, _, err := jobspec.Job(run, agent(), attempt)
	faults, ok := errors.AsType[*jobspec.FaultsError](err)
	if !ok || len(err.Error()) > 8<<10 || !strings.HasSuffix(err.Error(), " more") {
		t.Fatalf("%d bytes: %.300v", len(err.Error()), err)
	}
	if _, ok := errors.AsType[*jobspec.TemplateError](faults); !ok {
		t.Error("the faults are not found by their type")
	}
}
