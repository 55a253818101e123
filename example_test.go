package prefectkube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	prefectkube "github.com/prefect-kube/prefect-kube"
)

// The examples show defaults, so nothing of this machine's configuration may be read.
func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "PREFECT") || name == "NAMESPACE" {
			_ = os.Unsetenv(name)
		}
	}
	_ = os.Setenv("HOME", "/nonexistent")
	os.Exit(m.Run())
}

// A program that is an agent until it is interrupted.
func ExampleKubernetesAgent_Start() {
	agent, err := prefectkube.New(prefectkube.Options{
		Namespace: "dev",
		Labels:    []string{"gpu"},
		EnvVars:   []prefectkube.EnvVar{{Name: "TEAM", Value: "data"}},
		API:       "http://apollo.prefect:4200",
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := agent.Start(ctx); err != nil {
		log.Print(err)
	}
}

func ExampleKubernetesAgent_DeployFlow() {
	agent, err := prefectkube.New(prefectkube.Options{Namespace: "dev"})
	if err != nil {
		log.Fatal(err)
	}
	flowRun := []byte(`{"id": "6a7e3a52-1111-4222-8333-444455556666", "name": "brave-fox", "flow": {"id": "f", "name": "etl", "storage": {"type": "S3"}, "environment": {"type": "LocalEnvironment"}}}`)
	_, err = agent.DeployFlow(context.Background(), flowRun)
	if unsupported, ok := errors.AsType[*prefectkube.UnsupportedStorageError](err); ok {
		fmt.Println("storage:", unsupported.Type)
	}
	// Output: storage: S3
}

func ExampleKubernetesAgent_ReplaceJobSpecYAML() {
	agent, err := prefectkube.New(prefectkube.Options{
		Namespace:    "dev",
		Volumes:      []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		VolumeMounts: []corev1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	job, err := agent.ReplaceJobSpecYAML(context.Background(), []byte(`{
	  "id": "6a7e3a52-1111-4222-8333-444455556666",
	  "name": "brave-fox",
	  "run_config": {"type": "KubernetesRun", "image": "team/etl:v2"},
	  "flow": {"id": "0d9b0c1e-7777-4888-9999-000011112222", "name": "etl", "core_version": "1.4.1", "storage": {"type": "Local"}}
	}`))
	if err != nil {
		log.Fatal(err)
	}
	metadata := job["metadata"].(map[string]any)
	fmt.Println(job["kind"], metadata["name"], "in", metadata["namespace"])
	text, err := json.Marshal(job)
	fmt.Println(strings.Contains(string(text), `"volumeMounts":[{"mountPath":"/scratch","name":"scratch"}]`), err)
	// Output:
	// Job prefect-job-circ2plgam34hmwp in dev
	// true <nil>
}

func ExampleGenerateDeploymentYAML() {
	manifest, err := prefectkube.GenerateDeploymentYAML(prefectkube.InstallOptions{
		Namespace: "flows",
		API:       "http://apollo.prefect:4200",
		Backend:   "server",
		RBAC:      true,
		MemLimit:  "1Gi",
	})
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(manifest) {
		if strings.HasPrefix(line, "kind:") {
			fmt.Print(line)
		}
	}
	// Output:
	// kind: ServiceAccount
	// kind: Role
	// kind: RoleBinding
	// kind: Deployment
}

// A wrong argument is named, and with it the mend.
func ExampleNew() {
	_, err := prefectkube.New(prefectkube.Options{API: "apollo.prefect"})
	fmt.Println(err)
	// Output: api: is not an address; set --api or PREFECT__CLOUD__API to one such as http://localhost:4200, with http:// or https:// in front; write % in a password as %25, / as %2F, @ as %40
}
