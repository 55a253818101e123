package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/prefect-kube/prefect-kube/testcluster/cluster"
	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
	"github.com/prefect-kube/prefect-kube/testcluster/registry"
)

// suite is what all tests share. The tests find it here because TestMain cannot hand them anything.
type suite struct {
	// reason says why nothing can run; empty means that it can.
	reason string
	target cluster.Target
	// own is nil on the reader's own cluster.
	own    *cluster.Cluster
	binary string
	// registry is the address of an image registry that the node reaches.
	registry string
	builder  flowimage.Builder
	// kits are made once for each version.
	kits map[string]func() (kit, error)
}

// kit is what runs and registers the stored flows of one version of Prefect.
type kit struct {
	// image is available to Pods: in the node itself, or in the registry.
	image  string
	client flowimage.Client
}

var shared suite

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	if shared.binary, err = program(ctx); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1 // a program that does not build is no reason to skip
	}
	stop, err := shared.prepare(ctx)
	if err != nil {
		shared.reason = err.Error()
		// The summary of all tests looks for this line.
		_, _ = fmt.Fprintln(os.Stdout, "cannot run: end-to-end tests:", shared.reason)
	}
	shared.kits = map[string]func() (kit, error){}
	for version, g := range generations() {
		shared.kits[version] = sync.OnceValues(func() (kit, error) { return shared.makeKit(ctx, g) })
	}
	images := httptest.NewServer(registry.Handler())
	defer images.Close()
	shared.registry = images.Listener.Addr().String()
	code := m.Run()
	if err := stop(ctx); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

// prepare finds a cluster that is running, or starts one. stop removes what prepare started.
func (s *suite) prepare(ctx context.Context) (stop func(context.Context) error, err error) {
	stop = func(context.Context) error { return nil }
	cache, err := cluster.DefaultCache()
	if err != nil {
		return stop, err
	}
	options := cluster.Options{Cache: cache, Out: os.Stderr}
	s.builder = flowimage.Builder{
		Cache: cache,
		Out:   os.Stderr,
		Install: func(ctx context.Context, name, pkg string) error {
			return cluster.InstallPackage(ctx, options, name, pkg)
		},
	}
	if os.Getenv("CLUSTER") == "current" {
		s.target, err = cluster.Current(ctx, os.Getenv)
		return stop, err
	}
	_, before := cluster.Open(options)
	if s.own, err = cluster.Up(ctx, options); err != nil {
		return stop, err
	}
	if before != nil { // not running before, so not somebody's to keep
		stop = func(ctx context.Context) error { return cluster.Down(ctx, options) }
	}
	if s.target = s.own.Target(); !s.target.RunsCode {
		return stop, errors.New("the cluster has a simulated node, which runs no flow code; a real one needs root on Linux")
	}
	return stop, nil
}

func (s *suite) makeKit(ctx context.Context, g generation) (kit, error) {
	client, err := s.builder.Client(ctx, g.version)
	k := kit{image: s.target.Image(g.version), client: client}
	if err != nil || k.image != "" {
		return k, err
	}
	image, err := s.builder.Image(ctx, g.version)
	if err != nil {
		return k, err
	}
	if g.pulls {
		k.image, err = registry.Push(ctx, s.registry, image.Tar, "flow:"+image.Version)
		return k, err
	}
	k.image = image.Ref
	return k, s.own.ImportImage(ctx, image.Tar)
}

// program returns PREFECT_KUBE_BIN, or builds the program of this checkout.
func program(ctx context.Context) (string, error) {
	if path := os.Getenv("PREFECT_KUBE_BIN"); path != "" {
		return filepath.Abs(path)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "prefect-kube")
	return path, build(ctx, root, path, "./cmd/prefect-kube")
}

func build(ctx context.Context, module, path, pkg string, flags ...string) error {
	command := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-trimpath"}, flags, []string{"-o", path, pkg})...)
	command.Dir = module
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, output)
	}
	return nil
}
