package jobspec_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// storages has each storage type with what its class needs.
var storages = map[string]string{
	"Azure": `"container":"c"`, "Bitbucket": `"project":"p","repo":"r"`, "CodeCommit": `"repo":"r"`, "GCS": `"bucket":"b"`,
	"Git": `"flow_path":"f","repo":"r","clone_depth":1`, "GitHub": `"repo":"r","path":"p"`, "GitLab": `"repo":"r"`, "Local": `"directory":"/d"`, "Module": `"module":"m"`,
	"S3":      `"bucket":"b","client_options":{"a":1}`,
	"Webhook": `"build_request_kwargs":{},"build_request_http_method":"POST","get_flow_request_kwargs":{},"get_flow_request_http_method":"GET"`,
}

// TestEveryStorage: with a run config every storage works; without one Docker
// does, and the others as far as an image is known (D-34).
func TestEveryStorage(t *testing.T) {
	t.Parallel()
	for kind, keys := range storages {
		raw := `{"type":"` + kind + `",` + keys + `,"flows":{"ETL":"x"},"secrets":["s"]}`
		run := configRun("")
		run.Storage = json.RawMessage(raw)
		tree, err := jobspec.Build(run, agent(), identifier)
		if image := dig(tree, container("image")...); err != nil || image != "prefecthq/prefect:1.4.1" {
			t.Errorf("%s: image %v, %v; want Prefect's own", kind, image, err)
		}
		legacy, s := stored(raw), agent()
		_, built := jobspec.Build(legacy, s, identifier)
		_, _, refused := jobspec.Job(legacy, s, attempt)
		s.DefaultJobImage = "x:1"
		job, _, err := jobspec.Job(legacy, s, attempt)
		if err != nil || job.Spec.Template.Spec.Containers[0].Image != "x:1" {
			t.Errorf("%s: %v with a default image, want a Job with it", kind, err)
		}
		for _, err := range []error{built, refused} {
			if e, ok := errors.AsType[*jobspec.UnsupportedStorageError](err); !ok || e.Type != kind || !strings.Contains(err.Error(), "give the agent a default job image") {
				t.Errorf("%s: %v, want an UnsupportedStorageError with the mend", kind, err)
			}
		}
	}
}

func TestKeepStorage(t *testing.T) {
	t.Parallel()
	unknown := configRun("")
	unknown.Storage = json.RawMessage(`{"type":"Floppy"}`)
	metadata := stored(localStorage)
	metadata.Environment, metadata.CoreVersion = json.RawMessage(`{"type":"LocalEnvironment","metadata":{"image":"m:1"}}`), "0.12.0"
	for name, c := range map[string]struct {
		run  jobspec.FlowRun
		want string
	}{
		"local":    {stored(localStorage), "Unsupported Storage type"},
		"metadata": {metadata, "Unsupported Storage type"},
		"docker":   {environmentRun(), ""},
		"unknown":  {unknown, "{'type': ['Unsupported value: Floppy']}"},
		"1.x":      {configRun(""), ""},
	} {
		s := agent()
		s.DefaultJobImage = "x:1"
		if _, _, err := jobspec.Job(c.run, s, attempt); err != nil {
			t.Errorf("%s: %v, want a Job", name, err)
		}
		s.Keep = []string{"storage"}
		_, _, err := jobspec.Job(c.run, s, attempt)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s kept: %v, want %q", name, err, c.want)
		}
	}
}

func TestKeepNames(t *testing.T) {
	t.Parallel()
	names := jobspec.KeepNames()
	for _, change := range jobspec.Changes() {
		if slices.Contains(names, change.Name) == change.Fixed {
			t.Errorf("change %s, fixed %v, in names %v", change.Name, change.Fixed, names)
		}
	}
	if keeps := jobspec.Keeps(); len(keeps) != len(names) || keeps[0].Name != "storage" || keeps[0].Defect != "D-34" || slices.ContainsFunc(keeps, func(k jobspec.Keep) bool { return k.Does == "" }) {
		t.Errorf("keeps %v, want storage first and what each does", keeps)
	}
}

// TestReferenceLoadsStorage lists what marshmallow and the classes of Prefect
// 1.4.1 said, which Job overlooks: it needs Docker's keys alone.
func TestReferenceLoadsStorage(t *testing.T) {
	t.Parallel()
	with := func(kind, more string) string {
		return `{"type":"` + kind + `",` + storages[kind] + `,` + more + `}`
	}
	for raw, want := range map[string]string{
		`{"type":"S3"}`:                                                 "storage.bucket is missing",
		`{"type":"Storage"}`:                                            "storage.type is that of an abstract class",
		with("S3", `"bucket":null`):                                     "storage.bucket may not be null",
		with("S3", `"client_options":[]`):                               "storage.client_options is not a valid mapping",
		with("Local", `"flows":null`):                                   "storage.flows may not be null",
		with("Local", `"flows":{"a":1}`):                                "storage.flows.a is not a valid string",
		with("Local", `"secrets":"a"`):                                  "storage.secrets is not a valid list",
		with("GCS", `"secrets":["a",1]`):                                "storage.secrets[1] is not a valid string",
		with("GCS", `"stored_as_script":"x"`):                           "storage.stored_as_script is not a valid boolean",
		with("GCS", `"stored_as_script":2`):                             "storage.stored_as_script is not a valid boolean",
		with("Git", `"clone_depth":"x"`):                                "storage.clone_depth is not a valid integer",
		with("Git", `"clone_depth":true`):                               "storage.clone_depth is not a valid integer",
		with("Git", `"clone_depth":" 010 "`):                            "",
		with("Git", `"use_ssh":"yes"`):                                  "",
		with("Git", `"use_ssh":[]`):                                     "storage.use_ssh is not a valid boolean",
		with("Git", `"branch_name":"b","tag":"t"`):                      "`branch_name`, `tag` and `commit`",
		`{"type":"Git","flow_path":"f"}`:                                "storage.repo is missing",
		with("Bitbucket", `"workspace":"w","access_token_secret":"s"`):  "storage.workspace is set together with `access_token_secret`",
		with("Webhook", `"build_request_http_method":"BREW"`):           `storage.build_request_http_method "BREW" is no HTTP method`,
		`{"type":"Docker","image_name":"i","image_tag":"t","flows":{}}`: "",
	} {
		run := configRun("")
		run.Storage = json.RawMessage(raw)
		_, err := jobspec.Build(run, agent(), identifier)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: Build: %v, want %q", raw, err, want)
		}
		if _, _, err := jobspec.Job(run, agent(), attempt); err != nil {
			t.Errorf("%s: Job: %v", raw, err)
		}
	}
}

func TestForeignRunConfigs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"type":"DockerRun","ports":[80,"81"]}`:          "only `KubernetesRun` is supported",
		`{"type":"DockerRun","ports":["x"]}`:              "run_config.ports[0] is not a valid integer",
		`{"type":"DockerRun","host_config":[]}`:           "run_config.host_config is not a valid mapping",
		`{"type":"ECSRun","cpu":1}`:                       "run_config.cpu is not a valid string",
		`{"type":"LocalRun","labels":null}`:               "run_config.labels may not be null",
		`{"type":"VertexRun","worker_pool_specs":[1]}`:    "run_config.worker_pool_specs[0] is not a valid mapping",
		`{"type":"VertexRun","worker_pool_specs":[null]}`: "only `KubernetesRun` is supported",
		`{"type":"KubernetesRun ","labels":5}`:            `run_config.type "KubernetesRun " is an unsupported value`,
	} {
		if _, err := jobspec.Build(configRun(raw), agent(), identifier); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Build: %v, want %q", raw, err, want)
		}
		if _, _, err := jobspec.Job(configRun(raw), agent(), attempt); err == nil || !strings.Contains(err.Error(), "KubernetesRun") {
			t.Errorf("%s: Job: %v, want a refusal with the mend", raw, err)
		}
	}
}

func TestEveryEnvironment(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{
		"Environment", "LocalEnvironment", "KubernetesJobEnvironment", "FargateTaskEnvironment", "RemoteEnvironment",
		"RemoteDaskEnvironment", "DaskKubernetesEnvironment", "CustomEnvironment", "SomethingElse",
	} {
		run := environmentRun()
		want, err := jobspec.Build(run, agent(), identifier)
		if err != nil {
			t.Fatal(err)
		}
		run.Environment = json.RawMessage(`{"type":"` + kind + `","labels":["gpu"],"executor":"x","address":"tcp://y","docker_secret":"z"}`)
		got, err := jobspec.Build(run, agent(), identifier)
		if err != nil || dig(got, container("image")...) != dig(want, container("image")...) || len(got) != len(want) {
			t.Errorf("%s: %v, %v; want the Job of any other environment", kind, got, err)
		}
	}
}

func TestTenant(t *testing.T) {
	t.Parallel()
	s := agent()
	for tenant, valid := range map[string]bool{
		"": true, "99999999-9999-4999-8999-999999999999": true, "{99999999999949998999999999999999}": true,
		"urn:uuid:99999999-9999-4999-8999-999999999999": true, "ten": false, "99999999-9999": false, "gggggggg-9999-4999-8999-999999999999": false,
	} {
		s.Credential, s.TenantID = "KEY", tenant
		_, _, err := jobspec.Job(configRun(""), s, attempt)
		if e, ok := errors.AsType[*jobspec.FieldError](err); valid != (err == nil) || !valid && (!ok || e.Field != "tenant_id") {
			t.Errorf("tenant %q: %v, want valid %v", tenant, err, valid)
		}
		s.Credential = ""
		if _, _, err := jobspec.Job(configRun(""), s, attempt); err != nil {
			t.Errorf("tenant %q without a credential: %v", tenant, err)
		}
	}
}
