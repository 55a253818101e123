package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemo runs the demo as a reader does, with its output in a pipe, on the cluster of all tests.
func TestDemo(t *testing.T) {
	t.Parallel()
	image := needKit(t, generations()["1.4.1"]).image
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "testcluster")
	if err := build(t.Context(), module, program, "./cmd/testcluster"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	demo := exec.CommandContext(ctx, program, "demo", "--binary", shared.binary)
	demo.Env = append(os.Environ(), "CLUSTER=current", "KUBECONFIG="+shared.target.Kubeconfig,
		"FLOW_IMAGE="+image, "HOST_ADDRESS="+shared.target.HostAddress,
		"PATH="+filepath.Dir(shared.target.Kubectl)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	output, err := demo.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	for _, text := range []string{"state  Scheduled", "state  Submitted", "state  Running", "state  Success", "hello from one", "everything is taken down"} {
		if !strings.Contains(string(output), text) {
			t.Errorf("%q is missing in the output:\n%s", text, output)
		}
	}
}
