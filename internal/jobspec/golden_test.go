package jobspec_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got any) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".json")
	raw, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	raw = append(raw, '\n')
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, raw, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(raw)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestJobGolden(t *testing.T) {
	t.Parallel()
	docker := configRun(`{"type":"KubernetesRun","env":{"A":"1"},"image":"ignored:1","cpu_limit":"2","memory_request":"1Gi","labels":["gpu"],
		"service_account_name":"runner","image_pull_secrets":["regcred"],"image_pull_policy":"Always"}`)
	docker.Storage = json.RawMessage(dockerStorage)
	withAgent := agent()
	withAgent.AgentTemplate = jobspec.Tree{
		"metadata": jobspec.Tree{"name": "agents", "labels": jobspec.Tree{"team": "data"}},
		"spec": jobspec.Tree{"template": jobspec.Tree{"spec": jobspec.Tree{
			"containers": []any{jobspec.Tree{"image": "agent:1", "env": []any{jobspec.Tree{"name": "T", "value": "1"}}}},
		}}},
	}
	full := agent()
	full.Credential, full.TenantID, full.Backend = "KEY", "99999999-9999-4999-8999-999999999999", "cloud"
	full.CredentialFrom = &jobspec.SecretKey{Secret: "prefect-agent", Key: "api-key"}
	full.EnvVars = []jobspec.EnvVar{{Name: "TEAM", Value: "data"}}
	full.ImagePullSecrets, full.ImagePullPolicy, full.ServiceAccountName = []string{"regcred"}, "IfNotPresent", new("agent")
	full.JobMemRequest, full.JobMemLimit, full.JobCPURequest = "256Mi", "1Gi", "500m"
	kept := agent()
	kept.Keep = []string{"pod-security", "safe-to-evict", "cpu-limit", "no-restart"}
	for name, c := range map[string]struct {
		run      jobspec.FlowRun
		settings jobspec.Settings
	}{
		"environment":            {environmentRun(), agent()},
		"environment-full":       {since("0.13.9"), full},
		"environment-kept":       {environmentRun(), kept},
		"null-run-config":        {configRun(""), agent()},
		"null-run-config-full":   {configRun(""), full},
		"universal-run":          {configRun(`{"type":"UniversalRun","env":{"A":"1"}}`), agent()},
		"kubernetes-run-docker":  {docker, agent()},
		"kubernetes-run-kept":    {docker, kept},
		"agent-template":         {configRun(""), withAgent},
		"inline-template":        {templated(`{"metadata":{"name":"etl"},"spec":{"backoffLimit":1,"ttlSecondsAfterFinished":10,"template":{"spec":{"volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"flow","volumeMounts":[{"name":"v","mountPath":"/v"}],"env":[{"name":"S","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]},{"name":"sidecar","image":"s:1"}]}}}}`), agent()},
		"inline-yaml":            {templated(`"spec:\n  template:\n    spec:\n      nodeSelector: {disk: y}\n      containers: [{image: 'tpl:1'}]\n"`), full},
		"privileged-and-windows": {podTemplate(`{"os":{"name":"windows"},"containers":[{"securityContext":{"privileged":true}}]}`), agent()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job, _, err := jobspec.Job(c.run, c.settings, attempt)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, job)
		})
	}
}
