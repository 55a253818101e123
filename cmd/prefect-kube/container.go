package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// The names by which Deployments of the Python agent call what is in its image. In
// our image all of them are links to this program.
const (
	programOurs    = "prefect-kube"
	programPrefect = "prefect"
	commandManager = "resource-manager"
)

// maxCalls is how deep calls may lie in one another, as in tini -- bash -c "...".
const maxCalls = 8

// refusal says what in a container's command only a shell, Python or Prefect could do.
// It never quotes the command, which may hold a token.
type refusal struct {
	what string
}

func (r *refusal) Error() string {
	return r.what + ": this image is prefect-kube alone, without a shell, Python or Prefect; " +
		`use the command ["prefect", "agent", "kubernetes", "start"] (0.11: ["prefect", "agent", "start", "kubernetes"]), ` +
		"set variables under env, and run anything else from an image of its own"
}

func refuse(format string, args ...any) error { return &refusal{what: fmt.Sprintf(format, args...)} }

// runContainer is run for the command of a container, which may call the program by
// a name that the Python agent's image had.
func runContainer(ctx context.Context, args, env []string, s streams, c commands) int {
	args, variables, err := translate(args, env)
	for _, entry := range variables[min(len(env), len(variables)):] {
		if name, value, ok := strings.Cut(entry, "="); ok && c.setenv != nil && err == nil {
			err = c.setenv(name, value)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintf(s.err, "Error: %v\n", err)
		return exitUsage
	}
	return run(ctx, args, variables, s, c)
}

// translate turns a container's command into one of ours, and adds the variables
// that it sets to the environment. A command of ours comes back as it is. An error is
// a *refusal.
func translate(args, env []string) (ours, variables []string, err error) {
	for range maxCalls {
		if len(args) > 1 && program(args[0]) == programOurs && foreign(program(args[1])) {
			args = args[1:] // meant for the entry point of the other image
		}
		if len(args) == 0 || !foreign(program(args[0])) || program(args[0]) == programPrefect {
			return args, env, nil
		}
		if args, env, err = unwrap(args, env); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, refuse("too many calls in one another")
}

// program is the name by which a program is called, without its folder and suffix.
func program(name string) string {
	return strings.TrimSuffix(path.Base(strings.ReplaceAll(name, `\`, "/")), ".exe")
}

func isShell(name string) bool { return slices.Contains([]string{"bash", "sh", "dash"}, name) }

func isWrapper(name string) bool {
	return slices.Contains([]string{"tini", "dumb-init", "entrypoint.sh"}, name)
}

// isPython knows python, python3 and python3.7.
func isPython(name string) bool {
	version, ok := strings.CutPrefix(name, "python")
	return ok && strings.Trim(version, "0123456789.") == ""
}

// foreign reports whether the other image knows a program of that name.
func foreign(name string) bool {
	return name == programPrefect || isShell(name) || isWrapper(name) || isPython(name)
}

// unwrap takes the outermost call away.
func unwrap(args, env []string) (inner, variables []string, err error) {
	name := program(args[0])
	switch {
	case isShell(name):
		text, err := shellText(name, args[1:])
		if err != nil {
			return nil, nil, err
		}
		return shellCommand(name, text, env)
	case isWrapper(name):
		inner, err = wrapped(name, args[1:])
	default:
		inner, err = pythonCommand(name, args[1:])
	}
	if err == nil {
		err = checkProgram(inner[0])
	}
	return inner, env, err
}

// checkProgram refuses what is neither ours nor a name that unwrap knows.
func checkProgram(name string) error {
	if p := program(name); p == programOurs || foreign(p) {
		return nil
	}
	// A word that is no program may be a token.
	if !wellKnown(program(name)) {
		return refuse("cannot run another program")
	}
	return refuse("cannot run %q", program(name))
}

// wellKnown lists programs that commands of containers call beside Prefect.
func wellKnown(name string) bool {
	return slices.Contains(strings.Fields(`apk apt apt-get awk aws az cat cd chmod chown cp conda curl date dask-scheduler dask-worker
		echo env eval export false find gcloud git grep gunicorn head hostname id ipython jq jupyter kubectl ln ls mkdir
		mv nc nohup node nslookup pip pip3 pipenv poetry printenv printf ps pwd rm sed set sleep source su sudo supervisord tail tar
		tee test timeout touch trap true uname uvicorn wait wget which whoami xargs zsh`), name)
}

// wrapped is what a first process such as tini starts.
func wrapped(name string, args []string) ([]string, error) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		flag := args[0]
		args = args[1:]
		if flag == "--" {
			break
		}
		// The options of tini and dumb-init with a value of their own.
		if slices.Contains([]string{"-e", "-p", "-r"}, flag) {
			args = args[min(1, len(args)):]
		}
	}
	if len(args) == 0 {
		return nil, refuse("%s without a command", name)
	}
	return args, nil
}

// pythonCommand knows the resource manager as the manifests of 0.11.0 start it, and
// Prefect's own module.
func pythonCommand(name string, args []string) ([]string, error) {
	for len(args) > 0 && slices.Contains([]string{"-u", "-E", "-s", "-I", "-B", "-O"}, args[0]) {
		args = args[1:]
	}
	switch {
	case len(args) >= 2 && args[0] == "-c" && startsManager(args[1]):
		return []string{programOurs, commandManager}, nil
	case len(args) >= 2 && args[0] == "-m" && args[1] == programPrefect:
		return append([]string{programPrefect}, args[2:]...), nil
	default:
		return nil, refuse("cannot run Python (%s)", name)
	}
}

// startsManager recognises the statements of "agent.py" of 0.11.0,
// generate_deployment_yaml, however they are spaced.
func startsManager(code string) bool {
	var statements []string
	for s := range strings.FieldsFuncSeq(code, func(r rune) bool { return r == ';' || r == '\n' }) {
		if words := strings.Fields(s); len(words) > 0 {
			statements = append(statements, strings.Join(words, " "))
		}
	}
	return len(statements) == 2 &&
		(statements[0] == "from prefect.agent.kubernetes import ResourceManager" ||
			statements[0] == "from prefect.agent.kubernetes.resource_manager import ResourceManager") &&
		statements[1] == "ResourceManager().start()"
}
