package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// commands is what the command line leads to.
type commands struct {
	start func(context.Context, config.Agent, *slog.Logger) error
	dev   func(context.Context, config.Dev, *slog.Logger) error
	// resourceManager runs the loop of endings alone.
	resourceManager func(context.Context, config.ResourceManager, *slog.Logger) error
	// install writes to standard output what kubectl applies.
	install func(context.Context, config.Install, io.Writer, *slog.Logger) error
	// doctor writes its report to standard output.
	doctor func(context.Context, config.Doctor, io.Writer, *slog.Logger) error
	// render writes the Job to out, and what is to be said about it to notes.
	render func(ctx context.Context, cfg config.Render, source string, in io.Reader, out, notes io.Writer, log *slog.Logger) error
}

// cli is one call of the program.
type cli struct {
	env      []string
	streams  streams
	commands commands
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
	root := (&cli{env: env, streams: s, commands: c}).root(programName(args)) //nolint:contextcheck // cobra hands the context to the command
	root.SetArgs(args[min(1, len(args)):])
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitClean
	}
	if f, ok := errors.AsType[*failure](err); ok && !isConfiguration(f) {
		return exitFailure // logged where it happened
	}
	explain(s.err, cmd, err)
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
func explain(w io.Writer, cmd *cobra.Command, err error) {
	for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
		_, _ = fmt.Fprintf(w, "Error: %s\n", plain.Line(line, maxLine))
	}
	if !isConfiguration(err) {
		_, _ = fmt.Fprintf(w, "Try '%s --help'.\n", cmd.CommandPath())
	}
}

// maxLine bounds each line about what is wrong, in bytes.
const maxLine = 4096

// logger writes for people on a terminal and for machines elsewhere.
func (c *cli) logger(level slog.Level) *slog.Logger {
	if c.streams.terminal {
		return slog.New(tint.NewTextHandler(c.streams.err, &tint.Options{
			Level: level, TimeFormat: "15:04:05.000", NoColor: c.variable("NO_COLOR") != "",
		}))
	}
	return slog.New(slog.NewJSONHandler(c.streams.err, &slog.HandlerOptions{Level: level}))
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
		log.ErrorContext(ctx, "stopped", slog.String("error", err.Error()))
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
