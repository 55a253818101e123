package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

func TestContainerCommands(t *testing.T) {
	t.Parallel()
	start := []string{"prefect", "agent", "kubernetes", "start"}
	manager := []string{"prefect-kube", "resource-manager"}
	const pythonManager = "from prefect.agent.kubernetes import ResourceManager; ResourceManager().start()"
	for name, test := range map[string]struct {
		args, want []string
		// variables are what is added to the environment.
		variables []string
	}{
		"0.11.0":                    {[]string{"/bin/bash", "-c", "prefect agent start kubernetes"}, []string{"prefect", "agent", "start", "kubernetes"}, nil},
		"1.4.1":                     {[]string{"/bin/bash", "-c", "prefect agent kubernetes start --agent-config-id AC"}, append(slices.Clone(start), "--agent-config-id", "AC"), nil},
		"resource manager":          {[]string{"/bin/bash", "-c", "python -c '" + pythonManager + "'"}, manager, nil},
		"resource manager, plainly": {[]string{"/usr/bin/python3.7", "-u", "-c", strings.ReplaceAll(pythonManager, "; ", "\n  ")}, manager, nil},
		"ours":                      {[]string{"/usr/local/bin/prefect-kube", "agent", "kubernetes", "start"}, []string{"/usr/local/bin/prefect-kube", "agent", "kubernetes", "start"}, nil},
		"ours alone":                {[]string{"prefect-kube"}, []string{"prefect-kube"}, nil},
		"nothing":                   {nil, nil, nil},
		"prefect":                   {append([]string{"/usr/local/bin/prefect"}, start[1:]...), append([]string{"/usr/local/bin/prefect"}, start[1:]...), nil},
		"arguments for entry point": {append([]string{"prefect-kube"}, start...), start, nil},
		"shell for entry point":     {[]string{"prefect-kube", "bash", "-c", "prefect agent kubernetes start"}, start, nil},
		"ours in a shell":           {[]string{"sh", "-c", "prefect-kube resource-manager"}, manager, nil},
		"module":                    {append([]string{"python", "-m"}, start...), start, nil},
		"tini":                      {append([]string{"tini", "-g", "--"}, start...), start, nil},
		"tini with values":          {append([]string{"/usr/bin/tini", "-p", "SIGTERM", "-vv"}, start...), start, nil},
		"entry point of 1.x":        {append([]string{"tini", "-g", "--", "entrypoint.sh"}, start...), start, nil},
		"tini, shell, exec":         {[]string{"tini", "--", "/bin/sh", "-ec", "exec prefect agent kubernetes start"}, start, nil},
		"shell options":             {[]string{"bash", "--login", "-euxo", "pipefail", "-c", "--", "prefect agent kubernetes start", "bash"}, start, nil},
		"lines and redirection":     {[]string{"sh", "-c", "prefect \\\n  agent kubernetes \\\n  start 2>&1;\n# done\n"}, start, nil},
		"quotes": {
			[]string{"sh", "-c", `prefect agent kubernetes start -l 'a b' -l "c d" -l e\ f -l "" -l $'g\th' -l '*'`},
			append(slices.Clone(start), "-l", "a b", "-l", "c d", "-l", "e f", "-l", "", "-l", "g\th", "-l", "*"), nil,
		},
		"variables": {
			[]string{"sh", "-c", `prefect agent kubernetes start --namespace $NS --name "$TWO" -l $TWO -l=${NS}x $UNSET -l '$NS' \$NS`},
			append(slices.Clone(start), "--namespace", "lab", "--name", "x  y", "-l", "x", "y", "-l=labx", "-l", "$NS", "$NS"), nil,
		},
		"settings": {
			[]string{"sh", "-c", `NAMESPACE=other LABELS="['$NS']" EMPTY= prefect agent kubernetes start --name $NAMESPACE`},
			append(slices.Clone(start), "--name", "default"),
			[]string{"NAMESPACE=other", "LABELS=['lab']", "EMPTY="},
		},
		"home": {[]string{"sh", "-c", "prefect agent kubernetes start --job-template ~/t.yaml"}, append(slices.Clone(start), "--job-template", "/home/agent/t.yaml"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := []string{"NS=lab", "TWO=x  y", "NAMESPACE=default", "HOME=/home/agent"}
			got, variables, err := translate(test.args, env)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append(env, test.variables...), variables); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestContainerRefusesTheRest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a shell":               {[]string{"/bin/bash"}, "bash without -c and a command"},
		"a script":              {[]string{"bash", "run.sh"}, "bash without -c and a command"},
		"no text":               {[]string{"bash", "-c"}, "bash without -c and a command"},
		"blank":                 {[]string{"bash", "-c", "  # nothing"}, "bash -c with 0 commands"},
		"nothing to run":        {[]string{"bash", "-c", "A=b"}, "bash -c without a command"},
		"only exec":             {[]string{"bash", "-c", "exec"}, "bash -c without a command"},
		"empty name":            {[]string{"bash", "-c", "''"}, "cannot run another program"},
		"unknown option":        {[]string{"bash", "-i", "-c", "prefect"}, "bash with an option other than -c"},
		"unknown long option":   {[]string{"bash", "--rcfile", "x", "-c", "prefect"}, "bash with an option other than -c"},
		"another program":       {[]string{"sh", "-c", "pip install s3fs"}, `cannot run "pip"`},
		"another by exec":       {[]string{"sh", "-c", "exec sleep 1"}, `cannot run "sleep"`},
		"a long name":           {[]string{"sh", "-c", strings.Repeat("é", 60)}, "cannot run another program: "},
		"a token":               {[]string{"bash", "-c", "'/run/secret'"}, "cannot run another program: "},
		"another by its path":   {[]string{"tini", "--", "/opt/secret/cat"}, `cannot run "cat"`},
		"the backend":           {[]string{"sh", "-c", "prefect backend server && prefect agent kubernetes start"}, "set the variable PREFECT__BACKEND=server"},
		"the backend, lines":    {[]string{"sh", "-c", "prefect backend cloud\nprefect agent kubernetes start"}, "set the variable PREFECT__BACKEND=cloud"},
		"a chain":               {[]string{"sh", "-c", "prefect backend server && prefect agent start --token secret"}, "sh -c with more than one plain command"},
		"an injection":          {[]string{"sh", "-c", "prefect agent kubernetes start --agent-config-id a b; rm -rf /"}, "sh -c with 2 commands instead of one"},
		"a pipe":                {[]string{"sh", "-c", "prefect agent start | tee log"}, "more than one plain command"},
		"the background":        {[]string{"sh", "-c", "prefect agent start &"}, "more than one plain command"},
		"a file":                {[]string{"sh", "-c", "prefect agent start > log"}, "more than one plain command"},
		"a substitution":        {[]string{"sh", "-c", "prefect agent start --token $(cat /secret)"}, "what only a shell can do"},
		"a quoted substitution": {[]string{"sh", "-c", "prefect agent start --token \"`cat /secret`\""}, "what only a shell can do"},
		"arguments":             {[]string{"sh", "-c", `exec "$@"`, "--", "prefect"}, "what only a shell can do"},
		"an operator":           {[]string{"sh", "-c", "prefect ${A:=b}"}, "what only a shell can do"},
		"an indirection":        {[]string{"sh", "-c", "prefect ${!A}"}, "what only a shell can do"},
		"braces":                {[]string{"sh", "-c", "prefect {1..1000000000}"}, "what only a shell can do"},
		"an array":              {[]string{"bash", "-c", "A=(1 2) prefect"}, "what is no command of a shell"},
		"an appending":          {[]string{"bash", "-c", "A+=b prefect"}, "what only a shell can do"},
		"arithmetic":            {[]string{"sh", "-c", "prefect $((1/0))"}, "what only a shell can do"},
		"somebody's home":       {[]string{"sh", "-c", "prefect ~root"}, "what only a shell can do"},
		"no grammar":            {[]string{"sh", "-c", "prefect 'agent"}, "what is no command of a shell"},
		"many variables":        {[]string{"sh", "-c", "prefect " + strings.Repeat("$A", 65)}, "more than 64 variables"},
		"a long text":           {[]string{"sh", "-c", "prefect " + strings.Repeat("a", 16<<10)}, "more than 16384 bytes"},
		"python":                {[]string{"python"}, "cannot run Python"},
		"a program":             {[]string{"python", "-c", "import os; os.system('id')"}, "cannot run Python"},
		"more than the manager": {[]string{"python", "-c", "from prefect.agent.kubernetes import ResourceManager; ResourceManager().start(); x()"}, "cannot run Python"},
		"another module":        {[]string{"python3", "-m", "http.server"}, "cannot run Python"},
		"tini alone":            {[]string{"tini", "-g", "-e"}, "tini without a command"},
		"tini with a program":   {[]string{"tini", "--", "sleep", "1"}, `cannot run "sleep"`},
		"a nest":                {append(slices.Repeat([]string{"tini", "--"}, 9), "prefect"), "too many calls in one another"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, complaint bytes.Buffer
			code := runContainer(t.Context(), test.args, nil, streams{out: &out, err: &complaint}, commands{})
			got := complaint.String()
			if code != exitUsage || out.Len() > 0 || strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "Error: ") {
				t.Errorf("exit code %d, output %q, complaint %q", code, out.String(), got)
			}
			if !strings.Contains(got, test.want) || !strings.Contains(got, `use the command ["prefect", "agent"`) || strings.Contains(got, "secret") {
				t.Errorf("complaint is %q, want %q and the mend in it, and nothing of the command", got, test.want)
			}
		})
	}
}

// Libraries read variables of the process: those that a command sets are there too.
func TestVariablesOfACommandReachTheProcess(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	var cfg config.Agent
	c := commands{
		setenv: func(name, value string) error { got[name] = value; return nil },
		start:  func(_ context.Context, a config.Agent, _ *slog.Logger) error { cfg = a; return nil },
	}
	line := []string{"bash", "-c", `HTTPS_PROXY=http://proxy:3128 AWS_PROFILE="$WHO" prefect agent kubernetes start`}
	code := runContainer(t.Context(), line, []string{"WHO=me", "PREFECT__BACKEND=server"}, streams{out: io.Discard, err: io.Discard}, c)
	if want := (map[string]string{"HTTPS_PROXY": "http://proxy:3128", "AWS_PROFILE": "me"}); code != 0 || !maps.Equal(got, want) || !cfg.Proxies.HTTPS.IsSet() {
		t.Errorf("exit code %d, got %q, proxy %t, want %q", code, got, cfg.Proxies.HTTPS.IsSet(), want)
	}
}

func FuzzContainerCommand(f *testing.F) {
	for _, seed := range []string{
		"prefect agent start kubernetes", "python -c 'from prefect.agent.kubernetes import ResourceManager; ResourceManager().start()'",
		`A=b exec prefect "$A" ${A} \ \` + "\n" + `'x' 2>&1`, "tini -- bash -c 'sh -c \"prefect {a,b}\"'", "prefect $((", "((((", "<<A\n$(`", "A[0]+=(b) prefect ~",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		env := []string{"A=1 2", "IFS=" + text[:min(1, len(text))]}
		args, variables, err := translate([]string{"bash", "-c", text}, env)
		if err != nil {
			return
		}
		if p := program(args[0]); p != programOurs && p != programPrefect {
			t.Errorf("%q would run %q", text, args)
		}
		if size := len(strings.Join(args, "")) + len(strings.Join(variables, "")); size > 3*maxCommand {
			t.Errorf("%d bytes become %d", len(text), size)
		}
		again, same, err := translate(args, variables)
		if err != nil || !slices.Equal(again, args) || !slices.Equal(same, variables) {
			t.Errorf("%q is %q, and that is %q, %v", text, args, again, err)
		}
	})
}
