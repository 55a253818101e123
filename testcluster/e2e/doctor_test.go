package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDoctor: an agent with the Role that install prints is healthy; what is missing is said with its mend, by doctor and
// by readiness.
func TestDoctor(t *testing.T) {
	t.Parallel()
	needCluster(t)
	s := &stage{t: t, generation: generations()["1.4.1"], namespace: newNamespace(t), dir: t.TempDir()}
	s.startBackend(shared.binary)
	before := s.written()
	for name, c := range map[string]struct {
		resource, verb string // the right that is missing
		flags          []string
		admin          bool // in the place of the agent's own credential
		code           int
		want           []string // beginnings of all lines that are not ok
	}{
		"the Role":            {},
		"the Role for 0.11.0": {flags: []string{"--verbose"}},
		"no pods/log": {resource: "pods/log", verb: "get", want: []string{
			"warn  rights: get pods/log is missing: failed flow runs are reported without the end", "      mend: grant it in namespace ",
		}},
		"no create": {resource: "jobs", verb: "create", code: 1, want: []string{
			"fail  rights: create jobs is missing: ", "      mend: grant it in namespace ", `skip  job: not checked, since "rights" failed`,
		}},
		"another namespace": {flags: []string{"--namespace", "e2e-nowhere"}, code: 1, want: []string{
			"fail  rights: create jobs is missing: ", "warn  rights: ", "      mend: grant it in namespace e2e-nowhere ", "skip  job: ",
		}},
		"no such namespace": {flags: []string{"--namespace", "e2e-nowhere"}, admin: true, code: 1, want: []string{
			"fail  namespace: e2e-nowhere does not exist", "      mend: create it with kubectl create namespace e2e-nowhere, or name another one with --namespace", "skip  ",
		}},
		"names of nothing": {flags: []string{"--service-account-name", "nobody", "--image-pull-secrets", "none"}, admin: true, code: 1, want: []string{
			"fail  service account: nobody does not exist", "      mend: kubectl create serviceaccount nobody", "warn  secrets: image pull secret none", "      mend: kubectl create secret docker-registry none",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := *s
			own.t, own.namespace, own.dir = t, newNamespace(t), t.TempDir()
			grant(t, own.namespace, c.resource, c.verb)
			if !c.admin {
				c.flags = append(c.flags, "--kubeconfig", own.accountKubeconfig())
			}
			text, code := own.doctor(c.flags...)
			t.Log("\n" + text)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			compareReport(t, text, c.want)
			if found := jobs(t.Context(), t, own.namespace); len(found) > 0 {
				t.Errorf("jobs are there: %v", found)
			}
		})
	}
	t.Cleanup(func() {
		if after := s.written(); after != before {
			t.Errorf("the backend held %s, now %s", before, after)
		}
	})
}

// compareReport looks for each text, and for lines that neither begin with one nor are ok.
func compareReport(t *testing.T, text string, want []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "ok ") && !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(line, w) }) {
			t.Errorf("one line too many: %s", line)
		}
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q", w)
		}
	}
}

// written is what the backend holds that doctor could have written.
func (s *stage) written() string {
	s.t.Helper()
	data, err := s.query(context.Background(), "query{agent{id} flow_run{id}}", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// doctor returns the report and the exit code.
func (s *stage) doctor(flags ...string) (text string, code int) {
	s.t.Helper()
	args := slices.Concat([]string{"doctor", "--api", s.url, "--label", label, "--namespace", s.namespace}, flags)
	command := exec.CommandContext(s.t.Context(), shared.binary, args...)
	command.Env = environment(s.dir)
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	err := command.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), exit.ExitCode()
	}
	if err != nil {
		s.t.Fatal(err, complaint.String())
	}
	return out.String(), 0
}

// accountKubeconfig is a file that leads to the cluster as the agent's service account.
func (s *stage) accountKubeconfig() string {
	s.t.Helper()
	output, err := shared.target.Run(s.t.Context(), "", "config", "view", "--raw", "--minify", "--flatten", "--output=json")
	if err != nil {
		s.t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(output, &config); err != nil {
		s.t.Fatal(err)
	}
	token := strings.TrimSpace(s.kubectl(s.t.Context(), "create", "token", "prefect-agent"))
	for _, user := range config["users"].([]any) { //nolint:forcetypeassert // what a kubeconfig has
		user.(map[string]any)["user"] = map[string]any{"token": token}
	}
	data, err := json.Marshal(config)
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.dir, "account.kubeconfig")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// TestMissingRightsInReadiness: nothing stops without pods/log; without create on Jobs no flow run can start.
func TestMissingRightsInReadiness(t *testing.T) {
	t.Parallel()
	needCluster(t)
	for right, want := range map[string]string{
		"get pods/log": "200 ok\nwarning: right missing: get pods/log: ",
		"create jobs":  "503 right missing: create jobs: ",
	} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			s := &stage{t: t, generation: generations()["1.4.1"], namespace: newNamespace(t), dir: t.TempDir()}
			verb, resource, _ := strings.Cut(right, " ")
			grant(t, s.namespace, resource, verb)
			s.startBackend(shared.binary)
			a := s.launch(agentOptions{args: []string{"--kubeconfig", s.accountKubeconfig()}})
			a.await("readiness says it", func(ctx context.Context) error {
				text, err := readiness(ctx, a.url+"/readyz")
				if err == nil && !strings.HasPrefix(text, want) {
					err = fmt.Errorf("it is %q", text)
				}
				return err
			})
		})
	}
}

// readiness is the status and the text of an answer.
func readiness(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, text), err
}
