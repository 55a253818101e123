// Command testcluster starts and removes a small real Kubernetes cluster and makes images with a real Prefect.
//
// It reads flags, prints progress to standard error and results to standard output, and turns an error into an exit
// code. Everything else is in the packages cluster and flowimage.
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

	"github.com/prefect-kube/prefect-kube/testcluster/cluster"
	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
)

const usage = `usage: testcluster COMMAND [flags]

  up       start the cluster, or find it running; the last line is for eval
  down     remove it and every trace of it
  build    build the Kubernetes programs, or find them in the cache
  demo     run a real flow in a pod, from nothing, and show how it goes
  images   make the images with a real Prefect, and the host's clients
  logs     print the logs of the cluster's programs
  dry-run  print the shell that up would execute

testcluster COMMAND -h explains the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := program{out: os.Stdout, progress: os.Stderr}
	if err := p.run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "testcluster:", err)
		os.Exit(1) //nolint:gocritic // the signal handler may be left behind
	}
}

type program struct{ out, progress io.Writer }

// settings are the flags of all commands; each command uses some.
type settings struct {
	cluster.Options
	versions []string
	all      bool
	binary   string
}

func (p program) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		_, err := io.WriteString(p.progress, usage)
		return errors.Join(errors.New("which command?"), err)
	}
	s, err := p.parse(args[0], args[1:])
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return p.up(ctx, s, args)
	case "down":
		return p.down(ctx, s, args)
	case "build":
		return cluster.Build(ctx, s.Options)
	case "demo":
		return p.demo(ctx, s, args)
	case "images":
		return p.images(ctx, s)
	case "logs":
		return cluster.Logs(s.Options, p.out)
	default:
		return p.dryRun(s)
	}
}

func (p program) parse(command string, args []string) (settings, error) {
	s := settings{Options: cluster.Options{Out: p.progress}}
	flags := flag.NewFlagSet("testcluster "+command, flag.ContinueOnError)
	flags.SetOutput(p.progress)
	var nodes, versions string
	name := func() { flags.StringVar(&s.Name, "name", cluster.DefaultName, "the cluster's `name`") }
	node := func() {
		flags.StringVar(&nodes, "nodes", string(cluster.Auto), "`kind` of node: real, simulated, none (and no controllers) or auto")
		flags.BoolVar(&s.Audit, "audit", false, "write every API request to a log")
	}
	image := func(preset string) {
		flags.StringVar(&versions, "image", preset, "make the images of these Prefect `versions`, separated by commas")
	}
	switch command {
	case "up":
		name()
		node()
		image("")
	case "down":
		name()
		flags.BoolVar(&s.all, "all", false, "remove every cluster")
	case "build":
	case "demo":
		name()
		flags.StringVar(&s.binary, "binary", "bin/prefect-kube", "the built prefect-kube `program`")
	case "images":
		image(strings.Join(flowimage.Versions(), ","))
	case "logs":
		name()
	case "dry-run":
		name()
		node()
	default:
		_, err := io.WriteString(p.progress, usage)
		return s, errors.Join(fmt.Errorf("unknown command %q", command), err)
	}
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return s, s.fill(nodes, versions)
}

func (s *settings) fill(nodes, versions string) error {
	if versions != "" {
		s.versions = strings.Split(versions, ",")
	}
	var err error
	if nodes != "" {
		if s.Nodes, err = cluster.ParseNodes(nodes); err != nil {
			return err
		}
	}
	if s.Cache, err = cluster.DefaultCache(); err != nil {
		return err
	}
	return nil
}

func (p program) up(ctx context.Context, s settings, args []string) error {
	if s.Nodes != cluster.Simulated && s.Nodes != cluster.None {
		if handled, err := p.elevate(ctx, s, args); handled || err != nil {
			return err
		}
	}
	c, err := cluster.Up(ctx, s.Options)
	if err != nil {
		return err
	}
	if err := p.importImages(ctx, s, c); err != nil {
		return err
	}
	if err := handOver(c.Kubeconfig()); err != nil {
		return err
	}
	if c.Audit {
		p.say("audit log: %s", c.AuditLog())
	}
	if c.Nodes == cluster.Real {
		p.say("Pods reach this machine at %s", c.HostAddress())
	}
	_, err = fmt.Fprintf(p.out, "export KUBECONFIG=%s\n", c.Kubeconfig())
	return err
}

func (p program) importImages(ctx context.Context, s settings, c *cluster.Cluster) error {
	if len(s.versions) > 0 && c.Nodes != cluster.Real {
		p.say("a simulated node needs no images")
		return nil
	}
	for _, version := range s.versions {
		image, err := p.builder(s).Image(ctx, version)
		if err != nil {
			return err
		}
		if c.Imported(image.Tar) {
			continue
		}
		p.say("importing %s ...", image.Ref)
		if err := c.ImportImage(ctx, image.Tar); err != nil {
			return err
		}
	}
	return nil
}

func (p program) down(ctx context.Context, s settings, args []string) error {
	if handled, err := p.elevateDown(ctx, s, args); handled || err != nil {
		return err
	}
	if s.all {
		return cluster.DownAll(ctx, s.Options)
	}
	return cluster.Down(ctx, s.Options)
}

func (p program) images(ctx context.Context, s settings) error {
	for _, version := range s.versions {
		image, err := p.builder(s).Image(ctx, version)
		if err != nil {
			return err
		}
		client, err := p.builder(s).Client(ctx, version)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.out, "%s\t%s\t%s\n", image.Ref, image.Tar, client.Prefect); err != nil {
			return err
		}
	}
	return nil
}

func (p program) dryRun(s settings) error {
	layout, err := cluster.Preview(s.Options)
	if err != nil {
		return err
	}
	return cluster.DryRun(p.out, layout)
}

func (p program) builder(s settings) flowimage.Builder {
	return flowimage.Builder{
		Cache: s.Cache,
		Out:   p.progress,
		Install: func(ctx context.Context, name, pkg string) error {
			return cluster.InstallPackage(ctx, s.Options, name, pkg)
		},
	}
}

func (p program) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.progress, format+"\n", args...) // progress only
}
