package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

const renderedCase = "../../conformance/http/1.4.1/deploy-kubernetes-run.json"

// offline fails the test when a connection is opened.
type offline struct{ t *testing.T }

func (o offline) RoundTrip(r *http.Request) (*http.Response, error) {
	o.t.Errorf("a request to %s", r.URL)
	return nil, errors.New("offline")
}

// reader answers queries that contain a text, and refuses everything else.
type reader map[string]string

func (r reader) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	for text, data := range r {
		if strings.Contains(string(body), text) && !strings.Contains(string(body), "mutation") {
			return answer{Data: json.RawMessage(data)}.response(req)
		}
	}
	return refusal("not to be asked").response(req)
}

// What render shows is what start creates, whichever way it learns of the run.
func TestRenderIsWhatStartCreates(t *testing.T) {
	t.Parallel()
	v := readVector(t, renderedCase)
	created := createdJob(t, v.run(t))
	var read struct {
		Runs []json.RawMessage `json:"flow_run"`
	}
	if err := json.Unmarshal(v.Input.Backend["flow_run"][0].Data, &read); err != nil {
		t.Fatal(err)
	}
	run := read.Runs[0]
	var named struct{ ID string }
	if err := json.Unmarshal(run, &named); err != nil {
		t.Fatal(err)
	}
	core, src := v.sources(t)
	api := reader{"flow_run(": string(v.Input.Backend["flow_run"][0].Data), "tenant": `{"tenant": [{"id": "t"}]}`}
	for name, c := range map[string]struct {
		source  string
		prefect http.RoundTripper
	}{
		"by id":          {named.ID, api},
		"a bare run":     {fileOf(t, string(run)), offline{t}},
		"a case's input": {fileOf(t, `{"flow_run": `+string(run)+`}`), offline{t}},
		"a whole case":   {fileOf(t, `{"input": {"flow_run": `+string(run)+`}}`), offline{t}},
	} {
		cfg, err := config.ResolveRender(config.Sources{HomeDir: src.HomeDir, Env: src.Env, Flags: with(src.Flags, "output", "json")})
		if err != nil || core != config.Core1 {
			t.Fatal(core, err)
		}
		var out, notes bytes.Buffer
		if err := app.RenderOver(t.Context(), cfg, c.source, &out, &notes, c.prefect, offline{t}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out.String())
		}
		if diff := cmp.Diff(created, got); diff != "" || notes.Len() > 0 {
			t.Errorf("%s (-created +rendered):\n%s%s", name, diff, notes.String())
		}
	}
}

func createdJob(t *testing.T, o outcome) map[string]any {
	t.Helper()
	for _, e := range o.exchanges {
		if e.API == "kubernetes" && e.Request.Method == http.MethodPost {
			job, _ := e.Request.Body.(map[string]any)
			delete(job, "status")
			return job
		}
	}
	t.Fatalf("no job was created:\n%s", o.log)
	return nil
}

func with(flags map[string][]string, name, value string) map[string][]string {
	out := map[string][]string{name: {value}}
	maps.Copy(out, flags)
	delete(out, "max-polls")
	return out
}

func fileOf(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "run.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A reference is printed as it was, but for the credential, which is never shown.
func TestRenderReference(t *testing.T) {
	t.Parallel()
	for reference, want := range map[string]string{
		"0.11.0": `"prefect execute cloud-flow"`, "1.2.4": `"prefect.io/identifier"`, "1.4.1": `"prefect.io/identifier"`, "": `"backoffLimit": 0`,
	} {
		flags := map[string][]string{"output": {"json"}}
		if reference != "" {
			flags["reference"] = []string{reference}
		}
		secret := map[bool]string{true: "PREFECT__CLOUD__AGENT__AUTH_TOKEN=hush", false: "PREFECT__CLOUD__API_KEY=hush"}[reference == "0.11.0"]
		cfg, err := config.ResolveRender(config.Sources{Env: []string{"PREFECT__BACKEND=server", secret}, Flags: flags})
		if err != nil {
			t.Fatal(err)
		}
		run := `{"id": "11111111-1111-4111-8111-111111111111", "name": "n", "flow": {"id": "f", "storage": {"type": "Docker", "registry_url": "r", "image_name": "i", "image_tag": "t"}}}`
		var out, notes bytes.Buffer
		err = app.RenderOver(t.Context(), cfg, fileOf(t, run), &out, &notes, offline{t}, offline{t})
		if text := out.String(); err != nil || !strings.Contains(text, want) || strings.Contains(text, "hush") || !strings.Contains(text, "(hidden)") {
			t.Errorf("%s: %v, want %s and a hidden credential in\n%s", reference, err, want, text)
		}
	}
}

func TestRenderRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ source, want string }{
		"no file":       {"no-such-run", "neither the id of a flow run nor a file"},
		"a folder":      {t.TempDir(), "is a directory"},
		"not JSON":      {fileOf(t, "<html>"), "invalid character"},
		"a list":        {fileOf(t, "[]"), "cannot unmarshal array"},
		"null":          {fileOf(t, "null"), "no flow run in it"},
		"null inside":   {fileOf(t, `{"input": null}`), "input: no flow run in it"},
		"no id":         {fileOf(t, `{"name": "x"}`), "no id in it"},
		"broken input":  {fileOf(t, `{"input": 5}`), "input: "},
		"broken state":  {fileOf(t, `{"id": "x", "serialized_state": []}`), "state"},
		"a storage":     {fileOf(t, `{"id": "x", "flow": {"storage": {"type": "Docker"}}}`), "image"},
		"unknown by id": {"11111111-1111-4111-8111-111111111111", "does not exist"},
	} {
		cfg, err := config.ResolveRender(config.Sources{Env: []string{"PREFECT__BACKEND=server"}})
		if err != nil {
			t.Fatal(err)
		}
		api := reader{"flow_run(": `{"flow_run": []}`, "tenant": `{"tenant": [{"id": "t"}]}`}
		var out, notes bytes.Buffer
		err = app.RenderOver(t.Context(), cfg, c.source, &out, &notes, api, offline{t})
		if err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
			t.Errorf("%s: %v, want %q; printed %q", name, err, c.want, out.String())
		}
	}
}

// What a recorded case has as a call of Python becomes the text that travels.
func TestRenderReadsPythonCalls(t *testing.T) {
	t.Parallel()
	cfg, err := config.ResolveRender(config.Sources{Env: []string{"PREFECT__BACKEND=server"}})
	if err != nil {
		t.Fatal(err)
	}
	call := `{"input": {"flow_run": {"id": "11111111-1111-4111-8111-111111111111", "flow": {"id": "f", "storage": {"type": "Local"}}},
	 "run_config_constructor": {"class": "KubernetesRun", "kwargs": {"cpu_limit": 1.5, "memory_request": 1024}}}}`
	var out, notes bytes.Buffer
	if err := app.RenderOver(t.Context(), cfg, fileOf(t, call), &out, &notes, offline{t}, offline{t}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cpu: 1500m", `memory: "1024"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestRenderTellsWarnings(t *testing.T) {
	t.Parallel()
	cfg, err := config.ResolveRender(config.Sources{Env: []string{"PREFECT__BACKEND=server", "PREFECT__CLOUD__API=http://127.0.0.1:4200"}})
	if err != nil {
		t.Fatal(err)
	}
	run := `{"id": "11111111-1111-4111-8111-111111111111", "flow": {"id": "f", "storage": {"type": "Local"}},
	 "run_config": {"type": "KubernetesRun", "job_template": {"metadata": {"uid": "u"}, "spec": {"restartPolicy": "Never"}}}}`
	var out, notes, told bytes.Buffer
	if err := app.Render(t.Context(), cfg, fileOf(t, run), strings.NewReader(""), &out, &notes, slog.New(slog.NewTextHandler(&told, nil))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"has metadata.uid, which are left out", "spec.restartPolicy is an unknown key", "move it to spec.template.spec", "PREFECT__CLOUD__API is a loopback address"} {
		if strings.Count(told.String(), want) != 1 {
			t.Errorf("%q is not told once:\n%s", want, told.String())
		}
	}
}

// The job spec of YAML_TEMPLATE is what Jobs of flows with an environment start from.
func TestRenderYAMLTemplate(t *testing.T) {
	t.Parallel()
	spec := fileOf(t, "metadata: {labels: {team: data}}\nspec: {template: {spec: {tolerations: [{operator: Exists}], containers: [{name: flow}]}}}")
	cfg, err := config.ResolveRender(config.Sources{Env: []string{"PREFECT__BACKEND=server", "YAML_TEMPLATE=" + spec}, Flags: map[string][]string{"output": {"json"}}})
	if err != nil {
		t.Fatal(err)
	}
	run := `{"id": "11111111-1111-4111-8111-111111111111", "flow": {"id": "f", "core_version": "0.15.13", "environment": {"type": "LocalEnvironment"},
	 "storage": {"type": "Docker", "registry_url": "r", "image_name": "i", "image_tag": "t"}}}`
	var out, notes bytes.Buffer
	if err := app.RenderOver(t.Context(), cfg, fileOf(t, run), &out, &notes, offline{t}, offline{t}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"tolerations"`, `"team": "data"`, `"image": "r/i:t"`, `"execute"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

// Who renders a Job is told what the author of the flow is not.
func TestRenderTellsWhyAnAddressIsNotRead(t *testing.T) {
	t.Parallel()
	const run = `{"id": "00000000-0000-4000-8000-000000000000", "name": "r", "flow": {"id": "f", "name": "f", "core_version": "1.4.1", "storage": {"type": "Local"}},
		"run_config": {"type": "KubernetesRun", "job_template_path": "http://127.0.0.1:1/job.yaml"}}`
	for _, c := range []struct{ sources, want string }{{"http", "(not among --template-sources)"}, {"any", "connection refused"}} {
		cfg, err := config.ResolveRender(config.Sources{
			Env: []string{"PREFECT__BACKEND=server"}, HomeDir: t.TempDir(), Flags: map[string][]string{"template-sources": {c.sources}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var out, notes bytes.Buffer
		if err := app.RenderOver(t.Context(), cfg, fileOf(t, run), &out, &notes, offline{t}, offline{t}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.sources, err, c.want)
		}
	}
}
