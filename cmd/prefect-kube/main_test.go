package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden parts of the scripts")

// checked looks for goroutines that outlive the tests.
type checked struct{ m *testing.M }

func (c checked) Run() int {
	code := c.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(checked{m}, map[string]func(){"prefect-kube": main, "prefect": main, "stub": stub})
}

// stub is the program with commands that only say what they were given.
func stub() {
	show := func(format string, args ...any) error {
		_, err := fmt.Printf(format+"\n", args...)
		return err
	}
	c := commands{
		start: func(ctx context.Context, cfg config.Agent, log *slog.Logger) error {
			log.DebugContext(ctx, "stub")
			for _, w := range cfg.Warnings {
				log.WarnContext(ctx, "configuration", slog.String("reason", w))
			}
			if cfg.Name == "fail" {
				return errors.New("as asked")
			}
			if cfg.Name == "misconfigured" {
				return fmt.Errorf("start: %w", &config.Error{Place: "--kubeconfig", Problem: "no cluster"})
			}
			return show("start %s name=%s labels=%q env=%q credential=%v", cfg.CoreVersion, cfg.Name, cfg.Labels, cfg.EnvVars, cfg.Credential)
		},
		dev: func(_ context.Context, cfg config.Dev, _ *slog.Logger) error {
			return show("dev listen=%s db=%s generation=%s", cfg.Listen, cfg.DB, cfg.Generation)
		},
	}
	os.Exit(run(context.Background(), os.Args, os.Environ(), streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, c))
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true, Setup: func(e *testscript.Env) error {
		e.Setenv("HOME", e.WorkDir)
		return nil
	}})
}

func TestSignals(t *testing.T) {
	t.Parallel()
	signals := make(chan os.Signal, 2)
	began, release := make(chan error, 1), make(chan struct{})
	drains := func(ctx context.Context) int {
		<-ctx.Done()
		began <- context.Cause(ctx)
		<-release
		return exitClean
	}
	code := make(chan int, 1)
	go func() { code <- supervise(signals, drains) }()
	signals <- syscall.SIGHUP
	signals <- syscall.SIGHUP // a terminal that is closed sends more than one
	if cause := <-began; cause == nil || cause.Error() != `got signal "hangup"` {
		t.Errorf("got cause %v", cause)
	}
	close(release)
	if got := <-code; got != exitClean {
		t.Errorf("got exit code %d after one signal, want %d", got, exitClean)
	}

	release = make(chan struct{})
	defer close(release)
	go func() { code <- supervise(signals, drains) }()
	signals <- syscall.SIGINT
	if cause := <-began; cause == nil {
		t.Error("got no cause")
	}
	signals <- syscall.SIGINT
	if got := <-code; got != exitFailure {
		t.Errorf("got exit code %d after two signals, want %d", got, exitFailure)
	}
	if got := supervise(signals, func(context.Context) int { return exitUsage }); got != exitUsage {
		t.Errorf("got exit code %d without a signal, want %d", got, exitUsage)
	}
}

func TestStopIsLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	ctx, cancel := context.WithCancelCause(t.Context())
	logged := make(chan struct{})
	handler := notify{slog.NewTextHandler(&log, nil), logged}
	err := attempt(ctx, slog.New(handler), func(ctx context.Context) error {
		cancel(&signalError{signal: syscall.SIGTERM})
		<-logged
		return ctx.Err()
	})
	if f, ok := errors.AsType[*failure](err); !ok || !errors.Is(f, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(log.String(), `msg=stopping reason="got signal \"terminated\""`) || !strings.Contains(log.String(), "msg=stopped") {
		t.Errorf("got %s", log.String())
	}
}

// notify closes a channel after the first record.
type notify struct {
	slog.Handler
	done chan struct{}
}

func (n notify) Handle(ctx context.Context, r slog.Record) error {
	err := n.Handler.Handle(ctx, r)
	if r.Message == "stopping" {
		close(n.done)
	}
	return err
}

func TestVersionText(t *testing.T) {
	t.Parallel()
	revision := &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}}}
	for want, got := range map[string]string{
		"1.2.3":              versionText("1.2.3", revision),
		"v1.0.0":             versionText("", &debug.BuildInfo{Main: debug.Module{Version: "v1.0.0"}}),
		"devel-0123456789ab": versionText("", revision),
		"devel":              versionText("", &debug.BuildInfo{}),
		"unknown":            versionText("", nil),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTerminalGetsTint(t *testing.T) {
	t.Parallel()
	for terminal, want := range map[bool]string{true: "INF hello", false: `"msg":"hello"`} {
		var log bytes.Buffer
		c := &cli{env: []string{"NO_COLOR=1"}, streams: streams{terminal: terminal}}
		c.logger(&log, config.Dev{}).InfoContext(t.Context(), "hello")
		c.logger(&log, config.Dev{}).DebugContext(t.Context(), "quiet")
		if !strings.Contains(log.String(), want) || strings.Contains(log.String(), "quiet") {
			t.Errorf("terminal %v: got %s, want %q", terminal, log.String(), want)
		}
	}
}

// Every setting that takes a flag must be reachable by it: the flag changes the
// configuration that the command gets.
func TestEveryFlagChangesSomething(t *testing.T) {
	t.Parallel()
	samples := map[config.Kind]string{
		config.Text: "http://sample:1", config.Secret: "sample", config.Integer: "7", config.Duration: "77s", config.List: "sample", config.Pairs: "SAMPLE=1",
	}
	texts := map[string]string{"log-level": "ERROR", "generation": "0.11", "listen": ":1", "credential-secret": "agent/credential", "api-secret": "agent/api"}
	for name, command := range map[string]struct {
		args     []string
		settings []config.Setting
	}{
		"0.11": {[]string{"agent", "start"}, config.AgentSettings(config.Core0)},
		"1.4":  {[]string{"agent", "kubernetes", "start"}, config.AgentSettings(config.Core1)},
		"dev":  {[]string{"dev"}, config.DevSettings()},
	} {
		plain := effective(t, command.args)
		for _, s := range command.settings {
			for _, f := range s.Flags {
				value := samples[s.Kind]
				if text, ok := texts[f.Name]; ok {
					value = text
				}
				args := append(append([]string{}, command.args...), "--"+f.Name)
				if f.Means == "" {
					args = append(args, value)
				}
				if cmp.Equal(plain, effective(t, args)) {
					t.Errorf("%s: --%s changes nothing", name, f.Name)
				}
			}
		}
	}
}

// effective is what a command line makes of the configuration.
func effective(t *testing.T, args []string) any {
	t.Helper()
	var got any
	var stderr bytes.Buffer
	c := commands{
		start: func(_ context.Context, cfg config.Agent, _ *slog.Logger) error { got = cfg; return nil },
		dev:   func(_ context.Context, cfg config.Dev, _ *slog.Logger) error { got = cfg; return nil },
	}
	code := run(t.Context(), append([]string{"prefect-kube"}, args...), []string{"PREFECT__BACKEND=server"}, streams{out: &stderr, err: &stderr}, c)
	if code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, stderr.String())
	}
	return got
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	c := commands{
		start: func(_ context.Context, cfg config.Agent, _ *slog.Logger) error {
			return map[string]error{"late": fmt.Errorf("x: %w", &config.Error{Place: "--x"}), "fail": errors.New("x")}[cfg.Name]
		},
		dev: func(context.Context, config.Dev, *slog.Logger) error { return nil },
	}
	for line, want := range map[string]int{
		"":                                     exitClean,
		"help agent":                           exitClean,
		"agent start -h":                       exitClean,
		"agent start":                          exitClean,
		"dev":                                  exitClean,
		"version":                              exitClean,
		"agent start --name fail":              exitFailure,
		"agent start --name late":              exitUsage,
		"agent start --grace soon":             exitUsage,
		"agent start --no-such":                exitUsage,
		"agent start --namespace":              exitUsage,
		"agent start -e hunter2":               exitUsage,
		"agent start --max-polls=":             exitUsage,
		"agent start --max-polls=1_000":        exitClean,
		"agent start --verbose=true":           exitUsage, // as click has it
		"agent start --no-pull=1":              exitUsage,
		"agent start --exclusive-labels=false": exitClean, // ours
		"agent kubernetes start --log-level=":  exitUsage,
		"agent kubernetes start -t T":          exitClean, // as 0.13 to 0.15
		"agent start local":                    exitUsage,
		"agent kubernetes start x":             exitUsage,
		"agent kubernetes install extra":       exitUsage,
		"dev --generation 3":                   exitUsage,
		"dev x":                                exitUsage,
		"no-such":                              exitUsage,
	} {
		var out bytes.Buffer
		if got := run(t.Context(), append([]string{"prefect-kube"}, strings.Fields(line)...), []string{"PREFECT__BACKEND=server"}, streams{out: &out, err: &out}, c); got != want {
			t.Errorf("%q: got exit code %d, want %d: %s", line, got, want, out.String())
		}
	}
}
