package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// vector is one recorded call of the reference's command line.
type vector struct {
	core  string // the form of the command, Core0 or Core1
	Input struct {
		Command     []string
		Capture     string
		Environment environment
		Files       map[string]string
		HomeFiles   map[string]string `json:"home_files"`
	}
	Expected struct {
		Arguments map[string]any
		Config    map[string]any
		ExitCode  int `json:"exit_code"`
		Params    []param
		Stderr    string
		Exception *struct{ Class, Message string }
	}
	Deviates []deviation
	Versions []string
	Feature  string
}

// deviation is a defect that the case itself lists. Without a path the whole case is meant.
type deviation struct{ ID, Path string }

// facts are what is compared, by name; all values are text.
type facts map[string]string

// difference is a fact that is not as recorded.
type difference struct{ fact, want, got string }

func differences(want, got facts) []difference {
	names := map[string]bool{}
	for _, f := range []facts{want, got} {
		for name := range f {
			names[name] = true
		}
	}
	var found []difference
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if want[name] != got[name] {
			found = append(found, difference{name, want[name], got[name]})
		}
	}
	return found
}

// tally counts the cases of one folder.
type tally struct {
	sync.Mutex
	cases, equal, named, failed int
	rows                        map[int]int // how often a row of named differences matched
}

func (c *tally) add(t *testing.T, v vector, found []difference) {
	t.Helper()
	c.Lock()
	defer c.Unlock()
	c.cases++
	for _, d := range found {
		i := namedBy(v, d)
		c.rows[i]++
		if i == unnamed {
			t.Errorf("%s: got %s, want %s", d.fact, d.got, d.want)
		}
	}
	switch {
	case t.Failed():
		c.failed++
	case len(found) > 0:
		c.named++
	default:
		c.equal++
	}
}

// TestConformanceCLI compares arguments and exit codes with the reference.
// CONFORMANCE_DIR names another root of the corpus, as an absolute path.
func TestConformanceCLI(t *testing.T) {
	root, other := os.Getenv("CONFORMANCE_DIR"), true
	if root == "" {
		root, other = filepath.Join("..", "..", "conformance"), false
	}
	rows := map[int]int{}
	for _, pattern := range []string{filepath.Join("cli", "*"), filepath.Join("releases", "*", "cli")} {
		folders, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range folders {
			name, err := filepath.Rel(root, folder)
			if err != nil {
				t.Fatal(err)
			}
			row := conformFolder(t, folder, filepath.ToSlash(name), rows)
			t.Log(row)
			if !other {
				checkPage(t, row)
			}
		}
	}
	if !other { // another part of the corpus need not have every difference
		checkRows(t, rows)
	}
}

// conformFolder runs all cases of a folder and gives the row that counts them.
func conformFolder(t *testing.T, folder, name string, rows map[int]int) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	counts := &tally{rows: rows}
	t.Run(name, func(t *testing.T) {
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
				t.Parallel()
				v := readVector(t, file)
				counts.add(t, v, conform(t, v))
			})
		}
	})
	return fmt.Sprintf("| %s | %d | %d | %d | 0 | %d |", name, counts.cases, counts.equal, counts.named, counts.failed)
}

func checkPage(t *testing.T, row string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "conformance.md"))
	if err != nil || !slices.Contains(strings.Split(string(page), "\n"), row) {
		t.Errorf("docs/conformance.md has no line %s (%v)", row, err)
	}
}

// checkRows runs the imagined cases too; then every row must have matched.
func checkRows(t *testing.T, rows map[int]int) {
	t.Helper()
	t.Run("imagined", func(t *testing.T) {
		counts := &tally{rows: rows}
		for _, v := range imagined() {
			counts.add(t, v, conform(t, v))
		}
	})
	for i, row := range namedDifferences() {
		if rows[i] == 0 {
			t.Errorf("row %s %s (%s) matches nothing", row.defect, row.fact, row.reason)
		}
	}
}

func readVector(t *testing.T, file string) vector {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	v.core = v.form()
	return v
}

// form is that of the command of a case: 1.x has the kind of agent before the verb.
func (v vector) form() string {
	if len(v.Input.Command) > 1 && v.Input.Command[1] == "kubernetes" {
		return config.Core1
	}
	return config.Core0
}

// conform runs one case. A panic is a failure of this case and hides no other.
func conform(t *testing.T, v vector) []difference {
	t.Helper()
	defer func() {
		if broken := recover(); broken != nil {
			t.Errorf("panic: %v\n%s", broken, debug.Stack())
		}
	}()
	if v.Expected.Params != nil {
		return compareOptions(t, v)
	}
	places, env := v.prepare(t)
	if v.Feature == "real-start" {
		return differences(facts{"exit": strconv.Itoa(v.Expected.ExitCode)}, startForReal(t, v, env))
	}
	return compareCall(t, v, places, env)
}

// prepare writes the files of a case and puts their folders where it names them.
func (v *vector) prepare(t *testing.T) (places *strings.Replacer, env []string) {
	t.Helper()
	home, dir := t.TempDir(), t.TempDir()
	for folder, files := range map[string]map[string]string{home: v.Input.HomeFiles, dir: v.Input.Files} {
		for name, content := range files {
			path := filepath.Join(folder, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	places = strings.NewReplacer("{{HOME}}", home, "{{DIR}}", dir)
	for i, word := range v.Input.Command {
		v.Input.Command[i] = places.Replace(word)
	}
	env = []string{"HOME=" + home}
	for name, value := range v.Input.Environment {
		v.Input.Environment[name] = places.Replace(value)
		env = append(env, name+"="+v.Input.Environment[name])
	}
	return places, env
}

// environment holds variables. A case may have any JSON for one.
type environment map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (e *environment) UnmarshalJSON(data []byte) error {
	var values map[string]any
	if err := json.Unmarshal(data, &values); err != nil {
		return err
	}
	*e = environment{}
	for name, value := range values {
		(*e)[name] = written(value)
	}
	return nil
}

// compareCall runs one command line with recorders in the place of what it leads to.
func compareCall(t *testing.T, v vector, places *strings.Replacer, env []string) []difference {
	t.Helper()
	// The recorder of the reference stands before the check of the credential.
	if v.Expected.Config["backend"] == config.Cloud {
		env = append([]string{"PREFECT__CLOUD__AGENT__AUTH_TOKEN=x", "PREFECT__CLOUD__API_KEY=x"}, env...)
		for _, key := range []string{"cloud.agent.auth_token", "cloud.api_key"} {
			if value := v.Expected.Config[key]; value == nil || value == "" {
				v.Expected.Config[key] = "x"
			}
		}
	}
	got := facts{}
	record := commands{
		start: func(_ context.Context, cfg config.Agent, _ *slog.Logger) error {
			got = startFacts(t, cfg)
			return nil
		},
		install: recordInstall(t, &got),
	}
	var output bytes.Buffer
	code := run(t.Context(), append([]string{"prefect"}, v.Input.Command...), env, streams{out: &output, err: &output}, record)
	if code != exitClean && !strings.HasPrefix(output.String(), "Error: ") {
		t.Errorf("exit code %d without a message: %q", code, output.String())
	}
	got["exit"] = strconv.Itoa(code)
	want := recorded(v)
	for name, text := range want {
		want[name] = places.Replace(text)
	}
	// The recorder shows no stored login, which the client behind it reads.
	if _, stored := v.Input.HomeFiles[".prefect/auth.toml"]; stored {
		for _, name := range []string{"credential", "tenant"} {
			if want[name] == "" {
				delete(want, name)
				delete(got, name)
			}
		}
	}
	return differences(want, got)
}

// recorded is what the reference does with a case.
func recorded(v vector) facts {
	want := facts{}
	switch {
	case v.Expected.Arguments == nil:
	case v.Input.Capture == "install":
		want = recordedInstall(v)
	default:
		want = recordedStart(v)
	}
	want["exit"] = strconv.Itoa(v.Expected.ExitCode)
	return want
}

// TestImprovements asserts what we do where the corpus shows a defect.
func TestImprovements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		defect string
		args   string
		code   int
		env    []config.Pair
	}{
		{"D-02", "agent start kubernetes -e A=b=c", 0, []config.Pair{{Name: "A", Value: "b=c"}}},
		{"D-02", "agent start kubernetes -e A", exitUsage, nil},
		{"D-02", "agent kubernetes start -e A", exitUsage, nil},
		{"D-08", "agent start kubernetes extra", exitUsage, nil},
		{"D-08", "agent start Kubernetes", exitUsage, nil},
		{"D-08", "agent start docker", exitUsage, nil},
		{"D-08", "agent start kubernetes --no-such-option", exitUsage, nil},
		{"D-08", "agent start kubernetes --no-such-option 1", exitUsage, nil},
		{"D-08", "agent start kubernetes --no-such-option=1", exitUsage, nil},
		{"D-08", "agent start kubernetes -x", exitUsage, nil},
	} {
		var got config.Agent
		var output bytes.Buffer
		record := commands{start: func(_ context.Context, cfg config.Agent, _ *slog.Logger) error { got = cfg; return nil }}
		code := run(t.Context(), strings.Fields("prefect "+c.args), []string{"PREFECT__BACKEND=server"}, streams{out: &output, err: &output}, record)
		if code != c.code || !cmp.Equal(c.env, got.EnvVars) {
			t.Errorf("%s: %s: got exit code %d, variables %v, want %d, %v", c.defect, c.args, code, got.EnvVars, c.code, c.env)
		}
		if c.code != 0 && !strings.HasPrefix(output.String(), "Error: ") {
			t.Errorf("%s: %s: got no message: %q", c.defect, c.args, output.String())
		}
	}
}
