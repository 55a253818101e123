package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/logging"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// commands is what the command line leads to.
type commands struct {
	start func(context.Context, config.Agent, *slog.Logger) error
	dev   func(context.Context, config.Dev, *slog.Logger) error
	// resourceManager runs the loop of endings alone.
	resourceManager func(context.Context, config.ResourceManager, *slog.Logger) error
	// install writes to standard output what kubectl applies.
	install func(context.Context, config.Install, io.Writer, *slog.Logger) error
	// checks are made where the configuration has a fault; otherwise each command makes its own.
	checks checks
	// doctor writes its report to standard output.
	doctor func(context.Context, config.Doctor, io.Writer, *slog.Logger) error
	// setenv sets a variable of the process, for the libraries that read it there; it may be nil.
	setenv func(name, value string) error
	// render writes the Job to out, and what is to be said about it to notes.
	render func(ctx context.Context, cfg config.Render, source string, in io.Reader, out, notes io.Writer, log *slog.Logger) error
}

// checks look for what package config cannot know, so that all faults of a
// configuration are told at once.
type checks struct {
	agent   func(context.Context, config.Agent) error
	manager func(context.Context, config.ResourceManager) error
	install func(config.Install) error
}

// cli is one call of the program.
type cli struct {
	env      []string
	streams  streams
	commands commands
	secrets  *secret.Set
}

// failure is an error from a command that was understood and begun.
type failure struct {
	err error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// run executes one command line and returns the exit code. args[0] is the name
// that the program was called by.
func run(ctx context.Context, args, env []string, s streams, c commands) int {
	call := &cli{env: env, streams: s, commands: c, secrets: secretsOf(args, env)}
	root := call.root(programName(args)) //nolint:contextcheck // cobra hands the context to the command
	root.SetArgs(args[min(1, len(args)):])
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	addExamples(root) // cobra's own commands keep the writer that there is now
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitClean
	}
	if f, ok := errors.AsType[*failure](err); ok && !isConfiguration(f) {
		return exitFailure // logged where it happened
	}
	if s.log != nil {
		s.log.Flush(flushTimeout) // what was logged before the error is read before it
	}
	call.explain(cmd, err)
	return exitUsage
}

// programName lets a link called prefect show that name in its help.
func programName(args []string) string {
	if len(args) > 0 && strings.TrimSuffix(filepath.Base(args[0]), ".exe") == "prefect" {
		return "prefect"
	}
	return "prefect-kube"
}

func isConfiguration(err error) bool {
	_, ok := errors.AsType[*config.Error](err)
	return ok
}

// explain writes what is wrong, one line for each error, and where to look.
func (c *cli) explain(cmd *cobra.Command, err error) {
	for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
		_, _ = fmt.Fprintf(c.streams.err, "Error: %s\n", c.secrets.Line(line, maxLine))
	}
	if !isConfiguration(err) {
		_, _ = fmt.Fprintf(c.streams.err, "Try '%s --help'.\n", cmd.CommandPath())
	}
}

// maxLine bounds each line about what is wrong, in bytes.
const maxLine = 4096

// settings are what a log depends on.
type settings interface {
	SlogLevel() slog.Level
	Secrets() []secret.Value
}

// logger writes for people on a terminal and for machines elsewhere.
func (c *cli) logger(out io.Writer, cfg settings) *slog.Logger {
	c.secrets.Add(cfg.Secrets()...)
	level := cfg.SlogLevel()
	var handler slog.Handler = slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})
	if c.streams.terminal {
		handler = tint.NewTextHandler(out, &tint.Options{
			Level: level, TimeFormat: "15:04:05.000", NoColor: c.variable("NO_COLOR") != "",
		})
	}
	return slog.New(logging.Clean(handler, c.secrets))
}

// service prepares what runs until it is told to stop: its log, and that nobody who
// stops reading it ends or stops the process. Python ignores SIGPIPE too.
func (c *cli) service(cfg settings) *slog.Logger {
	if c.streams.log == nil {
		return c.logger(c.streams.err, cfg)
	}
	signal.Ignore(syscall.SIGPIPE)
	log := c.logger(c.streams.log, cfg)
	c.streams.log.OnDrop(func(lines int) {
		log.Warn("log lines dropped, since nobody read them", slog.Int("lines", lines))
	})
	return log
}

// attempt runs a command, says once why it stops early, and marks its error.
func attempt(ctx context.Context, log *slog.Logger, command func(context.Context) error) error {
	undo := context.AfterFunc(ctx, func() {
		log.InfoContext(ctx, "stopping", slog.String("reason", context.Cause(ctx).Error()))
	})
	defer undo()
	err := command(ctx)
	if err == nil {
		return nil
	}
	if !isConfiguration(err) {
		log.ErrorContext(ctx, "stopped", slog.Any("error", err))
	}
	return &failure{err: err}
}

func (c *cli) variable(name string) string {
	value := ""
	for _, entry := range c.env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
