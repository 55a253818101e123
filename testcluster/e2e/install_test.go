package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// installVector is a recorded call of the reference's generate_deployment_yaml.
type installVector struct {
	Input struct {
		Arguments   map[string]any
		Environment map[string]string
	}
	Expected struct{ Error any }
}

// TestInstallDryRun: what install prints for the arguments of every recorded case is what this API server takes, without
// a field that it does not know.
func TestInstallDryRun(t *testing.T) {
	t.Parallel()
	needCluster(t)
	root := os.Getenv("CONFORMANCE_DIR")
	if root == "" {
		root = filepath.Join("..", "..", "conformance")
	}
	files, err := filepath.Glob(filepath.Join(root, "install", "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases below %s: %v", root, err)
	}
	var manifest strings.Builder
	documents, refused := 0, 0
	for _, file := range files {
		text := installed(t, file)
		if text == "" {
			refused++
		}
		documents += strings.Count("\n"+text, "\n---\n")
		manifest.WriteString(text)
	}
	for _, namespace := range namespacesIn(manifest.String()) {
		lend(t, namespace)
	}
	// A dry run of what exists already would be refused, so nothing is compared with what is there.
	output, err := shared.target.Run(t.Context(), manifest.String(), "create", "--dry-run=server", "--validate=strict", "--filename=-")
	if err != nil {
		t.Error(err)
	}
	if got := bytes.Count(output, []byte("\n")); got != documents {
		t.Errorf("%d of %d documents pass", got, documents)
	}
	t.Logf("%d cases, %d with refused arguments; %d documents, 0 failures", len(files), refused, documents)
}

// installed is what install prints for a case, empty if it refuses an argument by its flag.
func installed(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v installVector
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	args := []string{"agent", "kubernetes", "install"}
	if filepath.Base(filepath.Dir(file)) == "0.11.0" {
		args = []string{"agent", "install", "kubernetes"}
	}
	env := []string{"HOME=" + t.TempDir()}
	for name, value := range v.Input.Environment {
		env = append(env, name+"="+value)
	}
	text, complaint, err := install(t.Context(), env, append(args, installFlags(v.Input.Arguments)...))
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 2 {
		if !strings.HasPrefix(complaint, "Error: --") && !strings.HasPrefix(complaint, "Error: no such option: --") || text != "" {
			t.Errorf("%s: exit code 2 with %q", file, complaint)
		}
		return ""
	}
	if err != nil {
		t.Errorf("%s: %v: %s", file, err, complaint)
	}
	return text
}

// install runs the program and returns what it writes to standard output and standard error.
func install(ctx context.Context, env, args []string) (text, complaint string, err error) {
	command := exec.CommandContext(ctx, shared.binary, args...)
	var stdout, stderr bytes.Buffer
	command.Env, command.Stdout, command.Stderr = env, &stdout, &stderr
	err = command.Run()
	return stdout.String(), stderr.String(), err
}

// installFlags are keyword arguments as flags.
func installFlags(arguments map[string]any) []string {
	names := map[string]string{"resource_manager_enabled": "resource-manager", "labels": "label", "env_vars": "env"}
	var flags []string
	for _, argument := range slices.Sorted(maps.Keys(arguments)) {
		name := strings.ReplaceAll(argument, "_", "-")
		if special, ok := names[argument]; ok {
			name = special
		}
		switch value := arguments[argument].(type) {
		case nil:
		case bool:
			if value {
				flags = append(flags, "--"+name)
			}
		case []any:
			for _, item := range value {
				if pair, ok := item.([]any); ok && len(pair) == 2 {
					item = fmt.Sprintf("%v=%v", pair[0], pair[1])
				}
				flags = append(flags, fmt.Sprintf("--%s=%v", name, item))
			}
		default:
			flags = append(flags, fmt.Sprintf("--%s=%v", name, value))
		}
	}
	return flags
}

// namespacesIn lists the namespaces that a manifest names.
func namespacesIn(manifest string) []string {
	found := map[string]bool{}
	for line := range strings.Lines(manifest) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "namespace: "); ok {
			found[strings.Trim(name, `"'`)] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// lend makes a namespace for the time of the test unless it is there.
func lend(t *testing.T, name string) {
	t.Helper()
	if _, err := shared.target.Run(t.Context(), "", "get", "namespace", name); err == nil {
		return
	}
	if err := shared.target.CreateNamespace(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.target.DeleteNamespace(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
}

// A real API server takes the admission policy of docs/security.md, expressions included.
func TestSecurityPolicy(t *testing.T) {
	t.Parallel()
	needCluster(t)
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "```yaml\n")
	policy, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("no block of YAML")
	}
	policy = strings.ReplaceAll("\n"+policy, "\n   ", "\n")
	if _, err := shared.target.Run(t.Context(), policy, "create", "--dry-run=server", "--validate=strict", "--filename=-"); err != nil {
		t.Error(err)
	}
}
