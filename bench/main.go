// Command bench measures how fast flow runs that are due become Jobs that the API
// server has accepted, against a bare loop that creates the same Jobs.
//
// It knows the built binary, the HTTP interfaces of Prefect and Kubernetes, and
// /proc of Linux; it refuses to know the packages inside the binary. It judges
// nothing: targets are printed beside the numbers, and the exit code says only
// whether everything could be measured. `make bench` gives it a cluster without
// controllers, so that both sides have the machine for creates alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the signal handler may be left behind
	}
}

// The modes that this program starts itself in, as processes of their own.
const (
	modeDouble = "double"
	modeBare   = "bare"
)

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) > 0 && args[0] == modeDouble {
		return serveDouble(ctx, out)
	}
	if len(args) > 0 && args[0] == modeBare {
		return runBare(ctx, args[1:])
	}
	s := settings{progress: progress}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(progress)
	columns := flags.String("columns", strings.Join(titles(agentColumns()), ","), "which `agents` to measure, by their titles, separated by commas")
	flags.IntVar(&s.runs, "runs", 5000, "`number` of flow runs that are due at once")
	flags.IntVar(&s.rounds, "rounds", 3, "`number` of rounds; the table shows their medians")
	flags.StringVar(&s.binary, "binary", "bin/prefect-kube", "the built prefect-kube `program`")
	flags.StringVar(&s.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "`file` that names the cluster")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if s.runs < pollSize || s.rounds < 1 {
		return fmt.Errorf("%d runs and %d rounds: use at least %d and 1", s.runs, s.rounds, pollSize)
	}
	for _, c := range agentColumns() {
		if strings.Contains(","+*columns+",", ","+c.title+",") {
			s.columns = append(s.columns, c)
		}
	}
	return s.measure(ctx, out)
}
