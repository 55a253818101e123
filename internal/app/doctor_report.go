package app

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// report writes findings: for people as they come, for programs all at the end.
type report struct {
	out     io.Writer
	json    bool
	secrets *secret.Set

	findings []Finding
	failed   int
}

// maxFinding bounds each text of a report, in bytes.
const maxFinding = 4096

func newReport(cfg config.Doctor, out io.Writer, secrets *secret.Set) *report {
	return &report{out: out, json: cfg.Output == config.OutputJSON, secrets: secrets, findings: []Finding{}}
}

func (r *report) add(f Finding) error {
	f.Detail, f.Mend = r.secrets.Line(f.Detail, maxFinding), r.secrets.Line(f.Mend, maxFinding)
	if f.Verdict == Broken {
		r.failed++
	}
	if r.json {
		r.findings = append(r.findings, f)
		return nil
	}
	if _, err := fmt.Fprintf(r.out, "%-4s  %s: %s\n", f.Verdict, f.Check, f.Detail); err != nil || f.Mend == "" {
		return err
	}
	_, err := fmt.Fprintf(r.out, "      mend: %s\n", f.Mend)
	return err
}

func (r *report) finish() error {
	if r.json {
		encoder := json.NewEncoder(r.out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(map[string]any{"findings": r.findings, "failed": r.failed}); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if r.failed > 0 {
		return &UnhealthyError{Failed: r.failed}
	}
	return nil
}
