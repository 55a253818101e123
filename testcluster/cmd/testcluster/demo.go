package main

import (
	"context"
	"os"

	"github.com/prefect-kube/prefect-kube/testcluster/cluster"
	"github.com/prefect-kube/prefect-kube/testcluster/demo"
)

// demo shows a real flow run. On a terminal it stays up until Ctrl-C; with its output piped it ends by itself.
func (p program) demo(ctx context.Context, s settings, args []string) error {
	o := demo.Options{Cluster: s.Options, Builder: p.builder(s), Binary: s.binary, Out: p.out, Stay: terminal(os.Stdout)}
	if os.Getenv("CLUSTER") == "current" {
		target, err := cluster.Current(ctx, os.Getenv)
		if err != nil {
			return err
		}
		o.Current = &target
	} else if handled, err := p.elevate(ctx, s, args); handled || err != nil {
		return err
	}
	return demo.Run(ctx, o)
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
