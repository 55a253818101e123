package jobspec_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// BenchmarkJob guards the cost of a Job: ten thousand starts a minute are 167 a
// second, of which building may take a few per cent of one core.
func BenchmarkJob(b *testing.B) {
	for _, size := range []int{0, 200} {
		b.Run(fmt.Sprintf("env=%d", size), func(b *testing.B) {
			env := map[string]string{}
			for i := range size {
				env[fmt.Sprintf("VARIABLE_%03d", i)] = "some value of a usual length"
			}
			raw, err := json.Marshal(map[string]any{"type": "KubernetesRun", "env": env, "image": "team/etl:1"})
			if err != nil {
				b.Fatal(err)
			}
			benchmarkJob(b, configRun(string(raw)), agent())
		})
	}
	b.Run("template", func(b *testing.B) {
		s := agent()
		s.AgentTemplatePath = "job.yaml"
		s.Template = func(string) ([]byte, error) { return []byte(usual), nil }
		benchmarkJob(b, configRun(""), s)
	})
}

func benchmarkJob(b *testing.B, run jobspec.FlowRun, s jobspec.Settings) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := jobspec.Job(run, s, attempt); err != nil {
			b.Fatal(err)
		}
	}
}

// usual is a template as teams have them.
const usual = `apiVersion: batch/v1
kind: Job
metadata:
  labels: {team: data}
spec:
  template:
    spec:
      nodeSelector: {disk: ssd}
      tolerations:
      - {key: gpu, operator: Exists, effect: NoSchedule}
      containers:
      - name: flow
        env:
        - name: TOKEN
          valueFrom: {secretKeyRef: {name: s, key: k}}
        - {name: MODE, value: "fast"}
        volumeMounts:
        - {name: v, mountPath: /v}
        resources: {requests: {cpu: 500m, memory: 1Gi}}
      volumes:
      - name: v
        emptyDir: {}
`
