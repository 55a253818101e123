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
	"os"
	"os/signal"
	"syscall"

	"github.com/mattn/go-isatty"
	"golang.org/x/sync/errgroup"

	"github.com/prefect-kube/prefect-kube/internal/app"
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
	// terminal is set when err is one.
	terminal bool
}

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	commands := commands{start: app.StartAgent, resourceManager: app.ResourceManager, dev: app.Dev, install: app.Install, render: app.Render, doctor: app.Doctor}
	io := streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, terminal: isatty.IsTerminal(os.Stderr.Fd())}
	os.Exit(supervise(signals, func(ctx context.Context) int {
		return runContainer(ctx, os.Args, os.Environ(), io, commands)
	}))
}

// signalError is the cause with which the first signal cancels the context.
type signalError struct {
	signal os.Signal
}

func (e *signalError) Error() string { return fmt.Sprintf("got signal %q", e.signal) }

// supervise runs a command. The first signal cancels its context, so that it
// drains; the second one does not wait for it any longer.
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
	select {
	case code := <-done:
		return code
	case <-signals:
		return exitFailure
	}
}
