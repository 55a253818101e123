package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

// The exit code tells what is broken from what cannot be used. Only the report is on
// standard output.
func TestDoctorExitCodes(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]int{
		"-l dev -o json":           exitClean,
		"--namespace broken":       exitFailure,
		"--namespace unusable":     exitUsage,
		"-o yaml":                  exitUsage,
		"extra":                    exitUsage,
		"--reference 0.11.0":       exitUsage, // of render
		"--token x --key y":        exitClean,
		"--token x --grace 1h":     exitClean,
		"--grace soon":             exitUsage,
		"--no-such --namespace x":  exitUsage,
		"--api https://prefect.io": exitClean,
	} {
		var got config.Doctor
		c := commands{doctor: func(_ context.Context, cfg config.Doctor, out io.Writer, _ *slog.Logger) error {
			got = cfg
			_, _ = io.WriteString(out, "report\n")
			switch cfg.Namespace {
			case "broken":
				return &app.UnhealthyError{Failed: 2}
			case "unusable":
				return &config.Error{Place: "--namespace", Problem: "x"}
			}
			return nil
		}}
		var out, err bytes.Buffer
		code := run(t.Context(), append([]string{"prefect-kube", "doctor"}, strings.Fields(line)...), []string{"PREFECT__BACKEND=server"}, streams{out: &out, err: &err}, c)
		if code != want || code == exitClean && out.String() != "report\n" {
			t.Errorf("%q: got exit code %d, want %d: %s%s", line, code, want, out.String(), err.String())
		}
		if line == "-l dev -o json" && (got.Output != config.OutputJSON || len(got.Labels) != 1 || got.CoreVersion != config.Core1) {
			t.Errorf("%q: got %+v", line, got)
		}
	}
}
