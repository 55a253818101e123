package app_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Without logs to the backend no line is written at all, by the loop that starts
// runs and by the one that reports Jobs, and Jobs are told the same; the cause of a
// failure stays in the state.
func TestNoCloudLogs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"0.11.0/deploy-null-parameters", "1.4.1/deploy-null-parameters", "0.11.0/create-job-403", "1.4.1/create-job-403", "1.4.1/manage-job-failed-run-submitted"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := readVector(t, filepath.Join("..", "..", "conformance", "http", name+".json"))
			v.Input.Command = append(v.Input.Command, "--no-cloud-logs")
			v.Input.Agent = map[string]any{"no_cloud_logs": true}
			out := v.run(t)
			var roots []string
			for _, e := range out.exchanges {
				roots = append(roots, rootOf(e))
			}
			if slices.Contains(roots, "write_run_logs") || !slices.Contains(roots, "set_flow_run_states") {
				t.Errorf("got requests %q, want states and no lines", roots)
			}
			quiet, loud, causes := told(out.facts(&v))
			if strings.Contains(name, "manage") == (quiet > 0) || loud > 0 || strings.Contains(name, "deploy") == (causes > 0) {
				t.Errorf("got %d variables that say so, %d that do not, and %d causes", quiet, loud, causes)
			}
		})
	}
}

// told counts the variables of Jobs about logs, and the states that hold a cause.
func told(f facts) (quiet, loud, causes int) {
	for fact, value := range f {
		about := strings.Contains(fact, "LOG_TO_CLOUD]") || strings.Contains(fact, "SEND_FLOW_RUN_LOGS]")
		switch {
		case about && value == `"false"`:
			quiet++
		case about:
			loud++
		case strings.Contains(value, "kubernetes: 403"), value == "Kubernetes Error: and a cause":
			causes++
		}
	}
	return quiet, loud, causes
}
