package config_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// listSetting is a setting that is a list, by variable, flag and key.
type listSetting struct {
	variable, flag, table, key string
	of                         func(config.Agent) []string
}

func lists() []listSetting {
	return []listSetting{
		{"PREFECT__CLOUD__AGENT__LABELS", "", "cloud.agent", "labels", func(a config.Agent) []string { return a.Labels }},
		{"IMAGE_PULL_SECRETS", "image-pull-secrets", "", "", func(a config.Agent) []string { return a.ImagePullSecrets }},
		{"PREFECT_KUBE_KEEP", "keep", "kube", "keep", func(a config.Agent) []string { return a.Keep }},
	}
}

// sources are all places where the text of a list may stand.
func (l listSetting) sources(t *testing.T, text string) map[string]config.Sources {
	t.Helper()
	found := map[string]config.Sources{l.variable: withServer(config.Sources{Env: []string{l.variable + "=" + text}})}
	if l.flag != "" {
		found["--"+l.flag] = withServer(config.Sources{Flags: map[string][]string{l.flag: {text}}})
	}
	if l.table != "" {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		found[l.key] = withServer(config.Sources{HomeDir: home(t, map[string]string{".prefect/config.toml": fmt.Sprintf("[%s]\n%s = %s\n", l.table, l.key, quoted)})})
	}
	return found
}

// Every list takes every spelling, wherever it stands, in both forms of the command.
func TestEverySpellingOfAList(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"": nil, "[]": nil, "()": nil, "{}": nil, "null": nil, "None": nil, " [ ] ": nil, `""`: nil, "''": nil, ",": nil, " , ,": nil, "[,]": nil, "[": nil, "[[]]": nil, `"[]"`: nil,
		"s": {"s"}, `["s"]`: {"s"}, "['s']": {"s"}, `"s"`: {"s"}, "'s'": {"s"}, "('s',)": {"s"}, "[s]": {"s"}, `[ "s" , ]`: {"s"}, `'["s"]'`: {"s"}, `"['s']"`: {"s"},
		"[\"s\"\n]": {"s"}, "s,": {"s"}, ",s": {"s"}, "\ts\n": {"s"}, `["s"`: {"s"}, "[['s']]": {"s"}, `[{"name": "s"}]`: {"s"}, `[{'name': 's'},]`: {"s"}, `["s"]]`: {"s"},
		"a,b": {"a", "b"}, "a, b": {"a", "b"}, "a , b,": {"a", "b"}, `["a","b"]`: {"a", "b"}, `"a","b"`: {"a", "b"}, `"a,b"`: {"a", "b"}, "a\nb\n": {"a", "b"}, "[a, b]": {"a", "b"},
	} {
		for _, l := range lists() {
			for place, src := range l.sources(t, text) {
				zero, errZero := config.ResolveAgent(config.Core0, src)
				one, err := config.ResolveAgent(config.Core1, src)
				if errZero != nil || err != nil || !slices.Equal(l.of(zero), want) || !slices.Equal(l.of(one), want) {
					t.Errorf("%s=%s: got %q, %v and %q, %v, want %q", place, text, l.of(zero), errZero, l.of(one), err, want)
				}
			}
		}
	}
}

func withServer(src config.Sources) config.Sources {
	src.Env = append(slices.Clone(src.Env), "PREFECT__BACKEND=server")
	return src
}

func TestListsOfFiles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"[]": nil, "['a', 'b']": {"a", "b"}, "[{name = 'a'}, 'b']": {"a", "b"}, "[1, true]": {"1", "true"}, "'a'": {"a"}, "7": {"7"}, "true": {"true"},
	} {
		src := withServer(config.Sources{HomeDir: home(t, map[string]string{".prefect/config.toml": "[cloud.agent]\nlabels = " + text + "\n"})})
		if a, err := config.ResolveAgent(config.Core1, src); err != nil || !slices.Equal(a.Labels, want) {
			t.Errorf("%s: got %q, %v, want %q", text, a.Labels, err, want)
		}
	}
	for _, text := range []string{"[{}]", "[{a = 'hunter2'}]", "[['hunter2']]", "{a = 'hunter2'}"} {
		src := withServer(config.Sources{HomeDir: home(t, map[string]string{".prefect/config.toml": "[cloud.agent]\nlabels = " + text + "\n"})})
		if _, err := config.ResolveAgent(config.Core1, src); err == nil || !strings.Contains(err.Error(), filepath.Join(".prefect", "config.toml")) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

// What is odd about a list is said where it stands, without its text.
func TestOddListsAreWarnedOf(t *testing.T) {
	t.Parallel()
	a, err := config.ResolveAgent(config.Core1, withServer(config.Sources{Env: []string{"PREFECT__CLOUD__AGENT__LABELS=['hunter2'", "IMAGE_PULL_SECRETS=Hunter2_"}}))
	if err != nil || len(a.Warnings) != 2 || strings.Contains(strings.ToLower(strings.Join(a.Warnings, "\n")), "hunter2") {
		t.Fatalf("got %q, %v, want two warnings", a.Warnings, err)
	}
	for i, want := range []string{"PREFECT__CLOUD__AGENT__LABELS: want a comma or ] at character 11", "IMAGE_PULL_SECRETS: the 1. is not the name of a Secret"} {
		if !strings.Contains(a.Warnings[i], want) {
			t.Errorf("got %q, want %q in it", a.Warnings[i], want)
		}
	}
}

// FuzzLists: no text of a list keeps an agent from starting, and one of JSON means in
// every place what it says.
func FuzzLists(f *testing.F) {
	for _, seed := range []string{"[]", `["a","b"]`, "'a'", "a,b", "a b", "[[", "['a", `[{"name": "a"}]`, "{}", "null", `"[\"a\"]"`, "(,", "\\", `"\"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\x00") {
			return // no variable can hold it
		}
		for _, l := range lists() {
			a, err := config.ResolveAgent(config.Core1, withServer(config.Sources{Env: []string{l.variable + "=" + text}}))
			if err != nil {
				t.Errorf("%s=%s: %v", l.variable, text, err)
			}
			if l.flag == "" {
				continue
			}
			b, err := config.ResolveAgent(config.Core1, withServer(config.Sources{Flags: map[string][]string{l.flag: {text}}}))
			if err != nil || !slices.Equal(l.of(a), l.of(b)) {
				t.Errorf("--%s %s: got %q, %v, the variable gives %q", l.flag, text, l.of(b), err, l.of(a))
			}
		}
	})
}

// What has a list of possible values takes them in any case.
func TestValuesInAnyCase(t *testing.T) {
	t.Parallel()
	src := config.Sources{
		Env:   []string{"PREFECT__BACKEND=Server", "IMAGE_PULL_POLICY=ALWAYS", "PREFECT__CLOUD__AGENT__LEVEL=debug", "DELETE_FINISHED_JOBS=FALSE", "JOB_MEM_REQUEST=1gi", "JOB_MEM_LIMIT=2G", "JOB_CPU_REQUEST=500m", "JOB_CPU_LIMIT=1K"},
		Flags: map[string][]string{"keep": {"Storage"}, "output": {"JSON"}},
	}
	r, err := config.ResolveRender(src)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{r.Backend, r.API, r.ImagePullPolicy, r.LogLevel, strconv.FormatBool(r.DeleteFinishedJobs), r.JobMemRequest, r.JobMemLimit, r.JobCPURequest, r.JobCPULimit, r.Output, r.Keep[0]}
	want := []string{"server", "http://localhost:4200", "Always", "DEBUG", "false", "1Gi", "2G", "500m", "1k", "json", "storage"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	i, err := config.ResolveInstall(config.Core1, config.Sources{Flags: map[string][]string{"backend": {"SERVER"}, "image-pull-policy": {"ifnotpresent"}, "mem-limit": {"1MI"}, "image-pull-secrets": {`["a", "b"]`}}})
	if err != nil || i.Backend != "server" || i.ImagePullPolicy != "IfNotPresent" || i.MemLimit != "1Mi" || i.ImagePullSecrets != "a,b" {
		t.Errorf("install: got %+v, %v", i, err)
	}
	d, err := config.ResolveDev(config.Sources{Env: []string{"PREFECT_KUBE_GENERATION=1.X"}})
	if err != nil || d.Generation != "1.x" {
		t.Errorf("dev: got %+v, %v", d, err)
	}
}
