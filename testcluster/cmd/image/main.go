// Command image makes the container image of prefect-kube, as an OCI layout with all architectures and as a file for
// docker load of each. This package knows the command line and nothing else.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/prefect-kube/prefect-kube/testcluster/agentimage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	module := flags.String("module", "..", "folder of the Go module")
	version := flags.String("version", "dev", "version of the program")
	reference := flags.String("reference", "", "name and tag of the image; the default is "+agentimage.Repository+" with the version")
	folder := flags.String("out", "../dist", "folder for the image")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *reference == "" {
		// A tag may not have the plus of a version's build metadata.
		*reference = agentimage.Repository + ":" + strings.ReplaceAll(*version, "+", "-")
	}
	source := agentimage.Source{Module: *module, Package: "./cmd/prefect-kube", Version: *version}
	result, err := agentimage.Write(ctx, source, *reference, *folder)
	if err != nil {
		return err
	}
	return describe(out, result)
}

func describe(out io.Writer, r agentimage.Result) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s@%s\n%s\n", r.Reference, r.Digest, r.Layout)
	for _, p := range r.Platforms {
		fmt.Fprintf(&text, "linux/%s  %.1f MB compressed, program %.1f MB  %s  %s\n",
			p.Architecture, float64(p.Compressed)/1e6, float64(p.Program)/1e6, p.Digest, p.Tar)
	}
	_, err := io.WriteString(out, text.String())
	return err
}
