package manifests_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/manifests"
)

// vector is one recorded call of generate_deployment_yaml.
type vector struct {
	Input struct {
		Arguments      map[string]json.RawMessage
		Environment    map[string]any
		HomeFiles      map[string]string `json:"home_files"`
		PrefectVersion string            `json:"prefect_version"`
	}
	Expected struct {
		YAML      string
		Documents []any
		Error     *struct{ Class, Message string }
	}
	// backend is the configured one.
	backend string
}

func root() string {
	if dir := os.Getenv("CONFORMANCE_DIR"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "conformance")
}

func vectorsIn(t *testing.T, root, version string) map[string]vector {
	t.Helper()
	return vectorsOf(t, filepath.Join(root, "install", version))
}

// folders are those of a root that hold manifests, with the release of each.
func folders(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, version := range manifests.Versions() {
		for _, folder := range []string{"install/" + version, "releases/" + version + "/install"} {
			if _, err := os.Stat(filepath.Join(root, folder)); err == nil {
				found[folder] = version
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("no cases below %s", root)
	}
	return found
}

func vectorsOf(t *testing.T, folder string) map[string]vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	all := map[string]vector{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		v.backend = v.configured(t)
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = v
	}
	return all
}

// configured is the backend that the variables and the files of a case name.
func (v vector) configured(t *testing.T) string {
	t.Helper()
	src := config.Sources{HomeDir: t.TempDir()}
	for name, text := range v.Input.HomeFiles {
		file := filepath.Join(src.HomeDir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range v.Input.Environment {
		src.Env = append(src.Env, fmt.Sprintf("%s=%v", name, value))
	}
	cfg, _ := config.ResolveAgent(config.Core1, src) // only the backend is looked at
	return cfg.Backend
}

// since gives the first release that has an argument, until the first that has it no
// longer; those that are in all releases are not listed.
var since, until = map[string]string{
	"image_pull_policy": "0.12.6", "service_account_name": "0.12.6",
	"key": "0.15.13", "tenant_id": "0.15.13", "agent_config_id": "0.15.13",
}, map[string]string{"resource_manager_enabled": "0.14.22", "token": "1.0.0"}

// has reports whether a release has an argument.
func has(version, name string) bool {
	at := func(release string) int { return slices.Index(manifests.Versions(), release) }
	end := at(until[name])
	return at(version) >= at(since[name]) && (end < 0 || at(version) < end)
}

// options are the keyword arguments of a case. converted says that one of them is
// no text where a text is wanted: with us all are texts.
func (v vector) options(version string) (o manifests.Options, converted bool, err error) {
	o = manifests.Options{Version: version, PrefectVersion: v.Input.PrefectVersion, Backend: "cloud", Endpoint: "http://configured:4200"}
	if v.backend != "" {
		o.Backend = v.backend
	}
	texts := map[string]*string{
		"token": &o.Credential, "key": &o.Credential, "tenant_id": &o.TenantID, "api": &o.API, "namespace": &o.Namespace,
		"image_pull_secrets": &o.ImagePullSecrets, "mem_request": &o.MemRequest, "mem_limit": &o.MemLimit, "cpu_request": &o.CPURequest, "cpu_limit": &o.CPULimit,
		"image_pull_policy": &o.ImagePullPolicy, "service_account_name": &o.ServiceAccountName, "backend": &o.Backend, "agent_config_id": &o.AgentConfigID,
	}
	switches := map[string]*bool{"resource_manager_enabled": &o.ResourceManager, "rbac": &o.RBAC, "latest": &o.Latest}
	for _, name := range slices.Sorted(maps.Keys(v.Input.Arguments)) {
		value := decoded(v.Input.Arguments[name])
		text, ok := texts[name]
		on, isSwitch := switches[name]
		list := name == "labels" || name == "env_vars"
		if !has(version, name) || !ok && !isSwitch && !list {
			return o, false, fmt.Errorf("unexpected keyword argument '%s'", name)
		}
		switch {
		case isSwitch:
			*on = truth(value)
		case ok && truth(value):
			*text = pythonText(value)
			_, isText := value.(string)
			converted = converted || !isText
			o.Token = o.Token || name == "token" && version != manifests.Version0110
		case list:
			converted = fill(&o, name, value) || converted
		}
	}
	return o, converted, nil
}

// fill sets the labels or the variables.
func fill(o *manifests.Options, name string, value any) (converted bool) {
	text := func(v any) string {
		_, isText := v.(string)
		converted = converted || !isText
		return pythonText(v)
	}
	switch items := value.(type) {
	case []any:
		for _, item := range items {
			if pair, ok := item.([]any); ok && len(pair) == 2 && name == "env_vars" {
				o.EnvVars = append(o.EnvVars, manifests.EnvVar{Name: text(pair[0]), Value: text(pair[1])})
				continue
			}
			o.Labels = append(o.Labels, text(item))
		}
	case map[string]any:
		for key, item := range items {
			o.EnvVars = append(o.EnvVars, manifests.EnvVar{Name: key, Value: text(item)})
		}
	}
	return converted
}

func decoded(raw json.RawMessage) any {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var value any
	_ = d.Decode(&value) // it was part of a JSON file
	return value
}

// truth is Python's bool of a JSON value.
func truth(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		f, err := v.Float64()
		return err != nil || f != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	default:
		return false
	}
}

// pythonText is Python's str of a JSON value.
func pythonText(value any) string {
	switch v := value.(type) {
	case nil:
		return "None"
	case bool:
		return map[bool]string{true: "True", false: "False"}[v]
	default:
		return fmt.Sprint(v)
	}
}

// documents parses YAML into JSON values.
func documents(text string) ([]any, error) {
	var all []any
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var value any
		err := d.Decode(&value)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, jsonValue(value))
	}
}

func jsonValue(value any) any {
	switch v := value.(type) {
	case map[any]any:
		out := map[string]any{}
		for key, item := range v {
			out[fmt.Sprint(key)] = jsonValue(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = jsonValue(item)
		}
		return out
	case int:
		return float64(v)
	default:
		return value
	}
}

// asText makes all leaves texts without quotes, and one of None and null.
func asText(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, item := range v {
			out[key] = asText(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = asText(item)
		}
		return out
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return strings.ToLower(strings.NewReplacer(`"`, "", "'", "", "None", "null").Replace(pythonText(value)))
	}
}

func asJSON(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
