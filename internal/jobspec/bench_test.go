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
			run, s := configRun(string(raw)), agent()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jobspec.Job(run, s, attempt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
