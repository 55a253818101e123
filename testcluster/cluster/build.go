package cluster

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/prefect-kube/prefect-kube/testcluster/image"
)

// The versions of what is built. etcd's is the one kube/kubernetes.mod names.
const (
	KubernetesVersion = "1.34.4"
	KwokVersion       = "0.7.0"
)

//go:embed kube/*.mod kube/*.sum
var modules embed.FS

// upstream is one program that is built from its Go module.
type upstream struct {
	name string
	// module names the files kube/<module>.mod and .sum; pkg is the main package.
	module, pkg, ldflags string
}

func upstreams() []upstream {
	minor := strings.Split(KubernetesVersion, ".")[1]
	const version = "k8s.io/component-base/version.git"
	ldflags := fmt.Sprintf("-s -w -X %[1]sVersion=v%[2]s -X %[1]sMajor=1 -X %[1]sMinor=%[3]s", version, KubernetesVersion, minor)
	var all []upstream
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"} {
		if name == "kubelet" && runtime.GOOS != "linux" {
			continue // no real node there
		}
		all = append(all, upstream{name, "kubernetes", "k8s.io/kubernetes/cmd/" + name, ldflags})
	}
	return append(all,
		upstream{"etcd", "kubernetes", "go.etcd.io/etcd/server/v3", "-s -w"},
		upstream{"kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "-s -w"})
}

// bin is the folder of the programs, one per set of versions.
func (o Options) bin() string {
	return filepath.Join(o.Cache, "bin", fmt.Sprintf("kubernetes-%s-kwok-%s-%s-%s", KubernetesVersion, KwokVersion, runtime.GOOS, runtime.GOARCH))
}

// Kubectl is the path of the kubectl that Build makes.
func Kubectl(o Options) (string, error) {
	o, err := o.complete()
	return filepath.Join(o.bin(), "kubectl"), err
}

// Build makes the programs that the cache does not have yet. On two cores this takes about seven minutes; a program that
// is complete is never built again.
func Build(ctx context.Context, o Options) error {
	o, err := o.complete()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.bin(), 0o755); err != nil {
		return fmt.Errorf("create folder for programs: %w", err)
	}
	unlock, err := lockFolder(o.bin())
	if err != nil {
		return err
	}
	defer unlock()
	all := upstreams()
	for n, u := range all {
		target := filepath.Join(o.bin(), u.name)
		if exists(target) {
			continue
		}
		o.say("building %s (%d of %d) ...", u.name, n+1, len(all))
		if err := u.build(ctx, target); err != nil {
			return fmt.Errorf("build %s: %w", u.name, err)
		}
	}
	return nil
}

// Prepare makes everything Up needs that is not root's work: the programs, and the image of a Pod's sandbox.
func Prepare(ctx context.Context, o Options) error {
	o, err := o.complete()
	if err != nil {
		return err
	}
	if err := Build(ctx, o); err != nil {
		return err
	}
	_, err = image.Pause().Build(ctx, o.images())
	return err
}

// images is the folder of images.
func (o Options) images() string { return filepath.Join(o.Cache, "images") }

func lockFolder(folder string) (unlock func(), err error) {
	file, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	return func() { _ = file.Close() }, nil
}

// build compiles inside a throw-away module whose requirements and checksums are pinned here.
func (u upstream) build(ctx context.Context, target string) error {
	work, err := os.MkdirTemp("", "prefect-kube-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // best effort
	for _, kind := range []string{"mod", "sum"} {
		content, err := modules.ReadFile("kube/" + u.module + "." + kind)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, "go."+kind), content, 0o600); err != nil {
			return err
		}
	}
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", u.ldflags, "-o", target+".new", u.pkg)
	command.Dir = work
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return os.Rename(target+".new", target)
}
