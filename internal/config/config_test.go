package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// home makes a home directory with files by path below it.
func home(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func agentDefaults(core string) config.Agent {
	return config.Agent{
		Common: config.Common{LogLevel: "INFO"}, CoreVersion: core, Backend: "cloud", API: "https://api.prefect.io",
		Name: "agent", MaxPolls: -1, SendLogs: true, Namespace: "default", DeleteFinishedJobs: true, FlowLogLevel: "INFO",
		RequestTimeout: 15 * time.Second, MaxPollInterval: time.Second, Grace: 2 * time.Minute,
	}
}

type agentCase struct {
	core  string // both if empty
	env   []string
	files map[string]string
	flags map[string][]string
	want  func(*config.Agent)
}

func (c agentCase) check(t *testing.T, core string) {
	t.Helper()
	got, err := config.ResolveAgent(core, config.Sources{Env: c.env, HomeDir: home(t, c.files), Flags: c.flags})
	if err != nil {
		t.Fatal(err)
	}
	want := agentDefaults(core)
	c.want(&want)
	want.Defaulted = got.Defaulted // see TestWhatNobodySet
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func checkAgents(t *testing.T, cases map[string]agentCase) {
	t.Helper()
	for name, c := range cases {
		for _, core := range []string{config.Core0, config.Core1} {
			if c.core == "" || c.core == core {
				t.Run(name+"/"+core, func(t *testing.T) {
					t.Parallel()
					c.check(t, core)
				})
			}
		}
	}
}

func TestWhatNobodySet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src        config.Sources
		api, level bool
	}{
		"nothing":  {config.Sources{Env: []string{"PREFECT__CLOUD__API=", "PREFECT__LOGGING__LEVEL="}}, true, true},
		"flag":     {config.Sources{Flags: map[string][]string{"api": {"http://x"}}}, false, true},
		"variable": {config.Sources{Env: []string{"PREFECT__BACKEND=server", "PREFECT__SERVER__HOST=http://x", "PREFECT__LOGGING__LEVEL=INFO"}}, false, false},
		"file":     {config.Sources{HomeDir: home(t, map[string]string{".prefect/config.toml": "logging.level = 'INFO'\n"})}, true, false},
	} {
		a, err := config.ResolveAgent(config.Core1, c.src)
		if err != nil || a.Defaulted.API != c.api || a.Defaulted.FlowLogLevel != c.level {
			t.Errorf("%s: got %+v, %v", name, a.Defaulted, err)
		}
	}
}

func TestOrderOfSources(t *testing.T) {
	t.Parallel()
	toml := map[string]string{".prefect/config.toml": "[cloud.agent]\nname = \"file\"\n[kube]\ngrace = \"3m\"\nmax_poll_interval = 2\n"}
	checkAgents(t, map[string]agentCase{
		"nothing": {want: func(*config.Agent) {}},
		"file": {files: toml, want: func(a *config.Agent) {
			a.Name, a.Grace, a.MaxPollInterval = "file", 3*time.Minute, 2*time.Second
		}},
		"variable beats file": {files: toml, env: []string{"PREFECT__CLOUD__AGENT__NAME=env", "PREFECT_KUBE_GRACE=4m"}, want: func(a *config.Agent) {
			a.Name, a.Grace, a.MaxPollInterval = "env", 4*time.Minute, 2*time.Second
		}},
		"flag beats all": {
			files: toml, env: []string{"PREFECT__CLOUD__AGENT__NAME=env", "PREFECT_KUBE_GRACE=4m"},
			flags: map[string][]string{"name": {"a", "flag"}, "grace": {"5m"}},
			want:  func(a *config.Agent) { a.Name, a.Grace, a.MaxPollInterval = "flag", 5*time.Minute, 2*time.Second },
		},
		"empty flag is none, empty variable is the default": {
			files: toml, env: []string{"PREFECT__CLOUD__AGENT__NAME="}, flags: map[string][]string{"grace": {""}},
			want: func(a *config.Agent) { a.Grace, a.MaxPollInterval = 3*time.Minute, 2*time.Second },
		},
		"other file": {
			files: map[string]string{"etc/c.toml": "[cloud.agent]\nname = \"other\"\n", ".prefect/config.toml": "[cloud.agent]\nname = \"file\"\n"},
			env:   []string{"PREFECT__USER_CONFIG_PATH=~/$DIR/c.toml", "DIR=etc"}, want: func(a *config.Agent) { a.Name = "other" },
		},
		"backend file": {files: map[string]string{".prefect/backend.toml": "backend = \"server\"\n", ".prefect/config.toml": "backend = \"cloud\"\n"}, want: func(a *config.Agent) {
			a.Backend, a.API = "server", "http://localhost:4200"
		}},
		"lower-case variable": {env: []string{"PREFECT__cloud__Agent__NAME=x", "prefect__cloud__agent__name=no"}, want: func(a *config.Agent) { a.Name = "x" }},
		"last of a name":      {env: []string{"PREFECT__CLOUD__AGENT__NAME=x", "PREFECT__CLOUD__AGENT__NAME=y"}, want: func(a *config.Agent) { a.Name = "y" }},
	})
}

func TestAddressOfTheAPI(t *testing.T) {
	t.Parallel()
	want := func(backend, api string) func(*config.Agent) {
		return func(a *config.Agent) { a.Backend, a.API = backend, api }
	}
	checkAgents(t, map[string]agentCase{
		"server":              {env: []string{"PREFECT__BACKEND=server"}, want: want("server", "http://localhost:4200")},
		"server host, port":   {env: []string{"PREFECT__BACKEND=server", "PREFECT__SERVER__HOST=http://srv", "PREFECT__SERVER__PORT=4300"}, want: want("server", "http://srv:4300")},
		"port in file":        {env: []string{"PREFECT__BACKEND=server"}, files: map[string]string{".prefect/config.toml": "[server]\nport = 4300\n"}, want: want("server", "http://localhost:4300")},
		"server endpoint":     {env: []string{"PREFECT__BACKEND=server", "PREFECT__SERVER__ENDPOINT=http://s:1"}, want: want("server", "http://s:1")},
		"cloud endpoint":      {env: []string{"PREFECT__CLOUD__ENDPOINT=https://c"}, want: want("cloud", "https://c")},
		"api beats endpoint":  {env: []string{"PREFECT__CLOUD__ENDPOINT=https://c", "PREFECT__CLOUD__API=http://a:1/graphql"}, want: want("cloud", "http://a:1/graphql")},
		"reference in api":    {env: []string{"PREFECT__CLOUD__API=${cloud.endpoint}/z"}, want: want("cloud", "https://api.prefect.io/z")},
		"reference to theirs": {env: []string{"PREFECT__CLOUD__API=http://${my.host}", "PREFECT__MY__HOST=h"}, want: want("cloud", "http://h")},
		"variable in api":     {env: []string{"PREFECT__CLOUD__API=http://$H:1", "H=h"}, want: want("cloud", "http://h:1")},
		"flag is literal":     {env: []string{"H=h"}, flags: map[string][]string{"api": {"http://x/$H"}}, want: want("cloud", "http://x/$H")},
	})
}

// The rows of the observed conversions that concern an agent: where the
// reference makes numbers, switches and lists, a text stays a text.
func TestTextsStayTexts(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"true", "FALSE", "1", "-5", "0x10", "1_000", "1.5", "1e3", "None", "[1, 'a']", "(1,2)", "{'a': True}", `{"a": true}`,
		"'q' q", `"00123`, "00123", "10.0.0.1", "1-2", "true ", `a\nb`, `C:\temp`, "héé", "$UNSET/x", "a$b", "日本",
	} {
		got, err := config.ResolveAgent(config.Core0, config.Sources{Env: []string{
			"PREFECT__CLOUD__AGENT__NAME=" + text, "PREFECT__CLOUD__AGENT__AUTH_TOKEN=" + text, "PREFECT__CLOUD__AGENT__ENV_VARS__X=" + text,
		}})
		if err != nil {
			t.Fatal(err)
		}
		want := agentDefaults(config.Core0)
		want.Defaulted = got.Defaulted
		want.Name, want.Credential, want.EnvVars = text, secret.New(text), []config.Pair{{Name: "X", Value: text}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", text, diff)
		}
	}
}

func TestExpansion(t *testing.T) {
	t.Parallel()
	env := []string{"HOME=/h", "A=$B", "B=b", "LOOP=x$LOOP"}
	for text, want := range map[string]string{
		"$HOME/x": "/h/x", "${HOME}": "/h", "~/y": "/h/y", "~": "/h", "~other/y": "~other/y", "$A": "b",
		"${UNSET}": "agent", // empty, so the default
		"$UNSET":   "$UNSET", "${backend}": "cloud", "${${backend}.endpoint}": "https://api.prefect.io", "${": "${", "$": "$",
	} {
		got, err := config.ResolveAgent(config.Core1, config.Sources{Env: append(env, "PREFECT__CLOUD__AGENT__NAME="+text), HomeDir: "/h"})
		if err != nil || got.Name != want {
			t.Errorf("%q: got %q, %v, want %q", text, got.Name, err, want)
		}
	}
	// Expansion that never ends must end.
	got, err := config.ResolveAgent(config.Core1, config.Sources{Env: append(env, "PREFECT__CLOUD__AGENT__NAME=$LOOP", "PREFECT__LOGGING__LEVEL=${logging.level}")})
	if err != nil || !strings.HasPrefix(got.Name, "xxx") || got.FlowLogLevel != "${logging.level}" {
		t.Errorf("got %q, %q, %v", got.Name, got.FlowLogLevel, err)
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"": nil, "[]": nil, "()": nil, " [ ] ": nil, "['a', 'b']": {"a", "b"}, `["a","b",]`: {"a", "b"}, "('b','a','b')": {"b", "a", "b"},
		"dev": {"dev"}, "dev,gpu": {"dev", "gpu"}, " dev , ,gpu,": {"dev", "gpu"}, "'dev'": {"dev"}, `"a b",c`: {"a b", "c"},
		"[1, 'a', true]": {"1", "a", "true"}, `["h\u00e9", "\ud83d\ude00", 'it\'s', "\d"]`: {"hé", "😀", "it's", `\d`}, "123": {"123"}, "a]": {"a]"}, "it's": {"it's"},
	} {
		got, err := config.ResolveAgent(config.Core1, config.Sources{Env: []string{"PREFECT__CLOUD__AGENT__LABELS=" + text}})
		if err != nil || !cmp.Equal(append([]string{}, want...), append([]string{}, got.Labels...)) {
			t.Errorf("%q: got %q, %v, want %q", text, got.Labels, err, want)
		}
	}
	labels := func(labels ...string) func(*config.Agent) {
		return func(a *config.Agent) { a.Labels = labels }
	}
	byFlag := func(given ...string) func(*config.Agent) {
		return func(a *config.Agent) { a.Labels, a.LabelsByFlag = given, true }
	}
	flags := map[string][]string{"label": {"b", "a,b", "b"}}
	checkAgents(t, map[string]agentCase{
		"list in file":  {files: map[string]string{".prefect/config.toml": "[cloud.agent]\nlabels = ['b', 'a', 1]\n"}, want: labels("b", "a", "1")},
		"text in file":  {files: map[string]string{".prefect/config.toml": "[cloud.agent]\nlabels = \"['b', 'a']\"\n"}, want: labels("b", "a")},
		"flags, 0.11.0": {core: config.Core0, env: []string{"PREFECT__CLOUD__AGENT__LABELS=x"}, flags: flags, want: byFlag("b", "a,b", "b")},
		"flags, 1.4.1":  {core: config.Core1, env: []string{"PREFECT__CLOUD__AGENT__LABELS=x"}, flags: flags, want: byFlag("a,b", "b")},
	})
}

func TestEnvVars(t *testing.T) {
	t.Parallel()
	const name = "PREFECT__CLOUD__AGENT__ENV_VARS"
	toml := map[string]string{".prefect/config.toml": "[cloud.agent.env_vars]\nMY_VAR = \"x\"\nNUM = 5\nFLAG = true\nRATIO = 2.0\n"}
	pairs := func(texts ...string) func(*config.Agent) {
		return func(a *config.Agent) {
			for i := 0; i < len(texts); i += 2 {
				a.EnvVars = append(a.EnvVars, config.Pair{Name: texts[i], Value: texts[i+1]})
			}
		}
	}
	checkAgents(t, map[string]agentCase{
		"old form keeps name and text": {
			env:  []string{name + "__My_Var=true", name + "__A__B=x", name + "__PORT=8080", name + "__W=C:\\temp", name + "__H=$HOME", name + "__E="},
			want: pairs("My_Var", "true", "A__B", "x", "PORT", "8080", "W", `C:\temp`, "H", "$HOME", "E", ""),
		},
		"json":   {env: []string{name + `={"Zed": "1", "TEAM": "da=ta", "T": true, "N": 1.50, "Z": null, "H": "$HOME/\u00e9\n"}`}, want: pairs("Zed", "1", "TEAM", "da=ta", "T", "true", "N", "1.50", "Z", "", "H", "$HOME/é\n")},
		"python": {env: []string{name + `={'b': 'x', "a": 'it\'s', 'b': "y",}`}, want: pairs("b", "y", "a", "it's")},
		"empty":  {env: []string{name + "={}"}, want: pairs()},
		"file":   {files: toml, want: pairs("MY_VAR", "x", "NUM", "5", "FLAG", "true", "RATIO", "2.0")},
		"order of the file": {
			files: map[string]string{".prefect/config.toml": "cloud.agent.env_vars = {Z = 1, \"B.B\" = 2, A = 3} # in line\n[kube]\ngrace = 120\n", ".prefect/backend.toml": "[cloud.agent.env_vars]\nC = 4\nA = 5\n"},
			want:  pairs("Z", "1", "B.B", "2", "A", "5", "C", "4"),
		},
		"old form adds":  {files: toml, env: []string{name + "__NUM=6", name + "__Z=z"}, want: pairs("MY_VAR", "x", "NUM", "6", "FLAG", "true", "RATIO", "2.0", "Z", "z")},
		"json replaces":  {files: toml, env: []string{name + `={"A":"1"}`}, want: pairs("A", "1")},
		"json, old form": {files: toml, env: []string{name + `={"C":"1","A":"1"}`, name + "__A=2", name + "__B=3"}, want: pairs("C", "1", "A", "2", "B", "3")},
		"flags": {
			files: toml, env: []string{name + "__X=1"}, flags: map[string][]string{"env": {"B=b=c", "A=", "B=2", "C=two words"}},
			want: pairs("B", "2", "A", "", "C", "two words"),
		},
	})
}

func TestJobSettings(t *testing.T) {
	t.Parallel()
	checkAgents(t, map[string]agentCase{
		"empty is unset": {env: []string{"NAMESPACE=", "SERVICE_ACCOUNT_NAME=", "IMAGE_PULL_SECRETS=", "DELETE_FINISHED_JOBS=", "JOB_MEM_LIMIT="}, want: func(*config.Agent) {}},
		"variables": {
			env: []string{"NAMESPACE=ns", "SERVICE_ACCOUNT_NAME=sa", "IMAGE_PULL_POLICY=Always", "JOB_MEM_REQUEST=1Gi", "JOB_MEM_LIMIT=2e3", "JOB_CPU_REQUEST=1", "JOB_CPU_LIMIT= 1 ", "DELETE_FINISHED_JOBS=False", "KUBECONFIG=/a:/b"},
			want: func(a *config.Agent) {
				a.Namespace, a.ServiceAccountName, a.ImagePullPolicy = "ns", "sa", "Always"
				a.JobMemRequest, a.JobMemLimit, a.JobCPURequest, a.JobCPULimit = "1Gi", "2e3", "1", "1"
				a.DeleteFinishedJobs, a.Kubeconfig = false, "/a:/b"
			},
		},
		"any true deletes":    {env: []string{"DELETE_FINISHED_JOBS=true"}, want: func(*config.Agent) {}}, // D-62
		"secrets, 0.11.0":     {core: config.Core0, env: []string{"IMAGE_PULL_SECRETS=a,b"}, want: func(a *config.Agent) { a.ImagePullSecrets = []string{"a", "b"} }},
		"secrets, 1.4.1":      {core: config.Core1, env: []string{"IMAGE_PULL_SECRETS=a, b,"}, want: func(a *config.Agent) { a.ImagePullSecrets = []string{"a", "b"} }},
		"logs off":            {env: []string{"PREFECT__CLOUD__SEND_FLOW_RUN_LOGS=false"}, want: func(a *config.Agent) { a.SendLogs = false }},
		"switches":            {flags: map[string][]string{"no-cloud-logs": {"true"}, "disable-job-deletion": {"true"}, "exclusive-labels": {"true"}}, want: func(a *config.Agent) { a.SendLogs, a.DeleteFinishedJobs, a.ExclusiveLabels = false, false, true }},
		"switches turned":     {env: []string{"DELETE_FINISHED_JOBS=no"}, flags: map[string][]string{"disable-job-deletion": {"true", "false"}}, want: func(*config.Agent) {}},
		"verbose":             {core: config.Core0, flags: map[string][]string{"verbose": {"true"}}, want: func(a *config.Agent) { a.LogLevel = "DEBUG" }},
		"level":               {core: config.Core1, flags: map[string][]string{"log-level": {"warning"}}, want: func(a *config.Agent) { a.LogLevel = "WARNING" }},
		"level of python":     {env: []string{"PREFECT__CLOUD__AGENT__LEVEL=warn"}, want: func(a *config.Agent) { a.LogLevel = "WARNING" }},
		"seconds are enough":  {flags: map[string][]string{"grace": {"90"}, "max-polls": {"0"}}, want: func(a *config.Agent) { a.Grace, a.MaxPolls = 90*time.Second, 0 }},
		"theirs are ignored":  {env: []string{"PREFECT__CLOUD__AGENT__NO_SUCH=1", "PREFECT____X=1", "PREFECT__", "PREFECT_KUBE", "PREFECT__X=1", "=x"}, want: func(*config.Agent) {}},
		"service links":       {env: []string{"PREFECT_KUBE_SERVICE_HOST=10.0.0.1", "PREFECT_KUBE_SERVICE_PORT_HTTP=1", "PREFECT_KUBE_PORT=tcp://10.0.0.1:1", "PREFECT_KUBE_PORT_8080_TCP_ADDR=x", "PREFECT_KUBE_DEV_PORT_4200_TCP=x"}, want: func(*config.Agent) {}},
		"missing config file": {env: []string{"PREFECT__USER_CONFIG_PATH=/no/such"}, want: func(a *config.Agent) { a.Warnings = []string{`PREFECT__USER_CONFIG_PATH: no file "/no/such"`} }},
	})
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	auth := map[string]string{".prefect/auth.toml": "[\"api.prefect.io\"]\napi_key = \"DISK\"\ntenant_id = \"T\"\n[localhost-4200]\napi_key = \"LOCAL\"\n", "tok": "FILE\n", ".prefect/config.toml": "[cloud]\napi_key = \"$KEY\"\n[cloud.agent]\nauth_token = \"$KEY\"\n"}
	bare := map[string]string{"tok": "FILE\n"}
	has := func(text string) func(*config.Agent) {
		return func(a *config.Agent) { a.Credential = secret.New(text) }
	}
	checkAgents(t, map[string]agentCase{
		"flag":                {core: config.Core0, env: []string{"PREFECT__CLOUD__AGENT__AUTH_TOKEN=ENV"}, flags: map[string][]string{"token": {"FLAG"}}, want: func(a *config.Agent) { has("FLAG")(a); a.CredentialByFlag = true }},
		"flag beats file":     {core: config.Core1, files: bare, env: []string{"PREFECT__CLOUD__API_KEY_FILE=~/tok"}, flags: map[string][]string{"key": {"FLAG"}}, want: func(a *config.Agent) { has("FLAG")(a); a.CredentialByFlag = true }},
		"file, 0.11.0":        {core: config.Core0, files: bare, env: []string{"PREFECT__CLOUD__AGENT__AUTH_TOKEN_FILE=~/tok"}, want: has("FILE")},
		"file, 1.4.1":         {core: config.Core1, files: bare, env: []string{"PREFECT__CLOUD__API_KEY_FILE=~/tok", "PREFECT__CLOUD__API_KEY="}, want: has("FILE")},
		"variable beats toml": {core: config.Core1, files: auth, env: []string{"PREFECT__CLOUD__API_KEY_FILE=~/tok"}, want: func(a *config.Agent) { a.Credential, a.TenantID = secret.New("FILE"), "T" }},
		"variable in toml":    {core: config.Core0, files: auth, env: []string{"KEY=K"}, want: has("K")},
		"variable is literal": {core: config.Core1, env: []string{"PREFECT__CLOUD__API_KEY=a$KEY${backend}~", "KEY=K"}, want: has("a$KEY${backend}~")},
		"fallback of 0.11.0":  {core: config.Core0, env: []string{"PREFECT__CLOUD__AUTH_TOKEN=T"}, want: has("T")},
		"none for a server":   {core: config.Core0, env: []string{"PREFECT__CLOUD__AUTH_TOKEN=T", "PREFECT__BACKEND=server"}, want: func(a *config.Agent) { a.Backend, a.API = "server", "http://localhost:4200" }},
		"disk":                {core: config.Core1, files: map[string]string{".prefect/auth.toml": auth[".prefect/auth.toml"]}, want: func(a *config.Agent) { a.Credential, a.TenantID = secret.New("DISK"), "T" }},
		"disk of the server": {core: config.Core1, files: map[string]string{".prefect/auth.toml": auth[".prefect/auth.toml"]}, env: []string{"PREFECT__BACKEND=server"}, want: func(a *config.Agent) {
			a.Backend, a.API, a.Credential = "server", "http://localhost:4200", secret.New("LOCAL")
		}},
		"home_dir": {core: config.Core1, files: map[string]string{"p/auth.toml": auth[".prefect/auth.toml"]}, env: []string{"PREFECT__HOME_DIR=~/p", "PREFECT__CLOUD__TENANT_ID=U"}, want: func(a *config.Agent) { a.Credential, a.TenantID = secret.New("DISK"), "U" }},
	})
}

func TestCheckCredential(t *testing.T) {
	t.Parallel()
	for core, name := range map[string]string{config.Core0: "--token", config.Core1: "--key"} {
		a := agentDefaults(core)
		err := a.CheckCredential()
		if _, configuration := errors.AsType[*config.Error](err); !configuration || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want a configuration error that names %s", core, err, name)
		}
		a.Backend = config.Server
		if err := a.CheckCredential(); err != nil {
			t.Errorf("%s: a server needs none, got %v", core, err)
		}
		a.Backend, a.Credential = config.Cloud, secret.New("x")
		if err := a.CheckCredential(); err != nil {
			t.Errorf("%s: got %v", core, err)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	const secretText = "hunter2"
	cases := map[string]struct {
		core  string
		env   []string
		files map[string]string
		flags map[string][]string
		want  []string // facts that the text names
	}{
		"unknown variable of ours": {env: []string{"PREFECT_KUBE_GRASE=1"}, want: []string{"PREFECT_KUBE_GRASE: no such setting", "did you mean PREFECT_KUBE_GRACE?"}},
		"unknown key of ours":      {files: map[string]string{".prefect/config.toml": "[kube]\nmax_pol_interval = 1\n"}, want: []string{"config.toml: kube.max_pol_interval: no such setting", "did you mean max_poll_interval?"}},
		"unknown by their form":    {env: []string{"PREFECT__KUBE__NOTHING_LIKE_IT=1"}, want: []string{"PREFECT__KUBE__NOTHING_LIKE_IT: no such setting"}},
		"backend":                  {env: []string{"PREFECT__BACKEND=bogus"}, want: []string{"PREFECT__BACKEND: not a possible value", "use one of cloud, server"}},
		"api":                      {flags: map[string][]string{"api": {"localhost:4200"}}, want: []string{"is not an address", "--api", "http://localhost:4200"}},
		"graphql":                  {env: []string{"PREFECT__CLOUD__GRAPHQL=localhost"}, want: []string{"cloud.graphql, PREFECT__CLOUD__GRAPHQL: ", "is not an address"}},
		"polls":                    {flags: map[string][]string{"max-polls": {"-3"}}, want: []string{"--max-polls: -3 is no number", "-1"}},
		"grace of nothing":         {flags: map[string][]string{"grace": {"0"}}, want: []string{"--grace, PREFECT_KUBE_GRACE: 0s is too short"}},
		"for ever":                 {flags: map[string][]string{"grace": {"9000h"}}, want: []string{"--grace, PREFECT_KUBE_GRACE: 9000h0m0s is too long"}},
		"timeout":                  {env: []string{"PREFECT__CLOUD__REQUEST_TIMEOUT=0"}, want: []string{"PREFECT__CLOUD__REQUEST_TIMEOUT, cloud.request_timeout: 0s is too short"}},
		"port":                     {flags: map[string][]string{"api": {"http://host:70000"}}, want: []string{"api: is not an address"}},
		"pull policy":              {env: []string{"IMAGE_PULL_POLICY=alwys"}, want: []string{`IMAGE_PULL_POLICY: "alwys" is not a possible value; use one of Always, IfNotPresent, Never`}},
		"no number":                {flags: map[string][]string{"max-polls": {""}}, want: []string{`--max-polls: "" is not a valid integer`}},
		"no choice":                {core: config.Core1, flags: map[string][]string{"log-level": {""}}, want: []string{"--log-level: not a possible value"}},
		"duration":                 {env: []string{"PREFECT_KUBE_GRACE=soon"}, want: []string{"PREFECT_KUBE_GRACE: the value is not a duration", "2m"}},
		"negative":                 {flags: map[string][]string{"grace": {"-1s"}}, want: []string{"--grace, PREFECT_KUBE_GRACE: -1s is too short"}},
		"poll interval":            {flags: map[string][]string{"max-poll-interval": {"1ms"}}, want: []string{"--max-poll-interval, PREFECT_KUBE_MAX_POLL_INTERVAL: 1ms is too short"}},
		"integer":                  {flags: map[string][]string{"max-polls": {"many"}}, want: []string{"--max-polls: the value is not a valid integer"}},
		"switch":                   {env: []string{"DELETE_FINISHED_JOBS=maybe"}, want: []string{"DELETE_FINISHED_JOBS: the value is neither true nor false"}},
		"choice":                   {core: config.Core1, flags: map[string][]string{"log-level": {"CRITICAL"}}, want: []string{"--log-level: not a possible value", "DEBUG, INFO, WARNING, ERROR"}},
		"level":                    {env: []string{"PREFECT__CLOUD__AGENT__LEVEL=loud"}, want: []string{"cloud.agent.level: not a possible value", "use one of DEBUG"}},
		"env without sign":         {flags: map[string][]string{"env": {secretText}}, want: []string{"--env: want NAME=value"}},
		"env without name":         {flags: map[string][]string{"env": {"=" + secretText}}, want: []string{"--env: want NAME=value"}},
		"env, broken json":         {env: []string{`PREFECT__CLOUD__AGENT__ENV_VARS={"A": "` + secretText}, want: []string{"PREFECT__CLOUD__AGENT__ENV_VARS: a text does not end"}},
		"env, nested":              {env: []string{`PREFECT__CLOUD__AGENT__ENV_VARS={"A": {"b": "` + secretText + `"}}`}, want: []string{"not possible", "at character 7"}},
		"env, no object":           {env: []string{`PREFECT__CLOUD__AGENT__ENV_VARS=` + secretText}, want: []string{"want an object"}},
		"env, table in file":       {files: map[string]string{".prefect/config.toml": "[cloud.agent.env_vars.A]\nb = \"" + secretText + "\"\n"}, want: []string{`config.toml: cloud.agent.env_vars: value of "A" is a list or table`}},
		"env, both broken":         {env: []string{`PREFECT__CLOUD__AGENT__ENV_VARS={`, "PREFECT__CLOUD__AGENT__ENV_VARS__A=1"}, want: []string{"PREFECT__CLOUD__AGENT__ENV_VARS: "}},
		"text is a table":          {env: []string{"PREFECT__CLOUD__AGENT__NAME__X=1"}, want: []string{"PREFECT__CLOUD__AGENT__NAME__X: want one value"}},
		"table is a text":          {env: []string{"PREFECT__CLOUD=x"}, want: []string{"PREFECT__CLOUD: want a table"}},
		"kube is a text":           {files: map[string]string{".prefect/config.toml": "kube = 1\n"}, want: []string{"config.toml: kube: want a table"}},
		"broken file":              {files: map[string]string{".prefect/config.toml": "a = 1\n" + secretText + "\n"}, want: []string{"config.toml:2:8: not valid TOML"}},
		"broken auth":              {core: config.Core1, files: map[string]string{".prefect/auth.toml": "[\"api.prefect.io\"]\napi_key = [\"" + secretText + "\"]\n"}, want: []string{"auth.toml: api.prefect.io: want texts"}},
		"directory":                {files: map[string]string{".prefect/config.toml/x": ""}, want: []string{"config.toml: is a directory, not a regular file"}},
		"large file":               {files: map[string]string{".prefect/config.toml": strings.Repeat("#\n", 1<<20)}, want: []string{"config.toml: is larger than 1048576 bytes"}},
		"credential twice":         {core: config.Core1, env: []string{"PREFECT__CLOUD__API_KEY=" + secretText, "PREFECT__CLOUD__API_KEY_FILE=/x"}, want: []string{"PREFECT__CLOUD__API_KEY: given twice, also by PREFECT__CLOUD__API_KEY_FILE"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := c.core
			if core == "" {
				core = config.Core0
			}
			_, err := config.ResolveAgent(core, config.Sources{Env: c.env, HomeDir: home(t, c.files), Flags: c.flags})
			if _, ok := errors.AsType[*config.Error](err); !ok {
				t.Fatalf("got %v, want a configuration error", err)
			}
			for _, fact := range c.want {
				if !strings.Contains(err.Error(), fact) {
					t.Errorf("got %q, want %q in it", err, fact)
				}
			}
			if strings.Contains(err.Error(), secretText) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line without values", err)
			}
		})
	}
}

func TestSeveralErrorsAreSeveralLines(t *testing.T) {
	t.Parallel()
	_, err := config.ResolveAgent(config.Core0, config.Sources{
		Env: []string{"PREFECT_KUBE_X=1", "PREFECT_KUBE_EXCLUSIVE_LABELS=what\never"}, Flags: map[string][]string{"env": {"A"}, "max-polls": {"x"}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 4 {
		t.Errorf("got %q, want four lines", lines)
	}
}

func TestDev(t *testing.T) {
	t.Parallel()
	dir := home(t, map[string]string{".prefect/config.toml": "[kube]\ndb = \"~/file\"\ngrace = \"1m\"\n[cloud]\napi = 7\n"})
	got, err := config.ResolveDev(config.Sources{Env: []string{"PREFECT_KUBE_LISTEN=:0", "PREFECT_KUBE_LOG_LEVEL=error"}, HomeDir: dir, Flags: map[string][]string{"generation": {"0.11"}, "allow-host": {"a.local,[2001:db8::1]", "10.1.2.3"}}})
	want := config.Dev{Common: config.Common{LogLevel: "ERROR"}, Listen: ":0", AllowHosts: []string{"a.local", "[2001:db8::1]", "10.1.2.3"}, DB: filepath.Join(dir, "file"), Generation: "0.11"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	_, err = config.ResolveDev(config.Sources{Flags: map[string][]string{"listen": {"4200"}, "generation": {"2"}, "allow-host": {"http://a", "*.b", "c:1"}}})
	for _, fact := range []string{"--allow-host: the 1. ", "--allow-host: the 2. ", "--allow-host: the 3. ", "--listen, PREFECT_KUBE_LISTEN: is not host:port", "--generation: not a possible value"} {
		if err == nil || !strings.Contains(err.Error(), fact) {
			t.Errorf("got %v, want %q in it", err, fact)
		}
	}
}
