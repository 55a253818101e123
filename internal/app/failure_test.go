package app_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// The table of differences leaves the words of a failure free. Here they are
// fixed: run log and state say the same, and name the cause.
func TestAFailedStartSaysWhy(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"0.11.0/deploy-local-storage": "unsupported Storage type",
		"1.4.1/create-job-403":        "grant the verb",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := readVector(t, filepath.Join("..", "..", "conformance", "http", name+".json"))
			states, lines := messages(v.run(t))
			if len(states) == 0 || len(lines) != len(states) {
				t.Fatalf("got states %q and lines %q, want as many", states, lines)
			}
			for i := range states {
				if !strings.Contains(states[i], want) || lines[i] != states[i] {
					t.Errorf("got state %q and line %q, want both to say %q", states[i], lines[i], want)
				}
			}
		})
	}
}

// messages are those of the Failed states and of the ERROR lines that were written.
func messages(o outcome) (states, lines []string) {
	for _, e := range o.exchanges {
		if e.API != "prefect" {
			continue
		}
		switch rootOf(e) {
		case "set_flow_run_states":
			for _, w := range statesOf(e.Request.Variables) {
				if text(w.State["type"]) == "Failed" {
					states = append(states, text(w.State["message"]))
				}
			}
		case "write_run_logs":
			var in struct {
				Input struct {
					Logs []struct{ Level, Message string }
				}
			}
			convert(e.Request.Variables, &in)
			for _, l := range in.Input.Logs {
				if l.Level == "ERROR" {
					lines = append(lines, l.Message)
				}
			}
		}
	}
	return states, lines
}
