// Command prefect-kube starts Prefect flow runs as Kubernetes Jobs. This package
// knows the command line, signals and exit codes; what the commands do is in
// package app.
//
// Exit codes: 0 after a clean stop, 1 after a failure at run time or a second
// signal, 2 for wrong usage or configuration.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"golang.org/x/sync/errgroup"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/logging"
)

const (
	exitClean   = 0
	exitFailure = 1
	exitUsage   = 2
)

// streams are where a command reads and writes. Out is only for what a pipe may want.
type streams struct {
	in       io.Reader
	out, err io.Writer
	// log is where services log. It never waits for whoever reads; nil means err.
	log *logging.Buffer
	// terminal is set when err is one.
	terminal bool
}

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	commands := commands{
		start: heard(app.StartAgent), resourceManager: heard(app.ResourceManager), dev: app.Dev, install: app.Install,
		render: app.Render, setenv: os.Setenv,
		doctor: func(ctx context.Context, cfg config.Doctor, out io.Writer, log *slog.Logger) error {
			app.Chatter(log)
			return app.Doctor(ctx, cfg, out, log)
		},
		checks: checks{agent: app.Usable, manager: app.UsableManager, install: app.UsableInstall},
	}
	io := streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, log: logging.NewBuffer(os.Stderr), terminal: isatty.IsTerminal(os.Stderr.Fd())}
	code := supervise(signals, func(ctx context.Context) int {
		return runContainer(ctx, os.Args, os.Environ(), io, commands)
	})
	io.log.Flush(flushTimeout)
	os.Exit(code)
}

// flushTimeout bounds how long the last lines of the log wait for a reader.
const flushTimeout = time.Second

// heard sends what the Kubernetes client logs for the whole process to the command's
// log. Only a process that is ours alone may do so.
func heard[C any](command func(context.Context, C, *slog.Logger) error) func(context.Context, C, *slog.Logger) error {
	return func(ctx context.Context, cfg C, log *slog.Logger) error {
		app.Chatter(log)
		return command(ctx, cfg, log)
	}
}

// signalError is the cause with which the first signal cancels the context.
type signalError struct {
	signal os.Signal
}

func (e *signalError) Error() string { return fmt.Sprintf("got signal %q", e.signal) }

// supervise runs a command. The first signal cancels its context, so that it
// drains; the second one does not wait for it any longer. A terminal that is closed
// sends SIGHUP more than once, so that one counts as the first only.
func supervise(signals <-chan os.Signal, command func(context.Context) int) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan int, 1)
	// Nobody waits for the group after a second signal: the process ends.
	var group errgroup.Group
	group.Go(func() error {
		done <- command(ctx)
		return nil
	})
	select {
	case code := <-done:
		return code
	case s := <-signals:
		cancel(&signalError{signal: s})
	}
	for {
		select {
		case code := <-done:
			return code
		case s := <-signals:
			if s != syscall.SIGHUP {
				return exitFailure
			}
		}
	}
}
