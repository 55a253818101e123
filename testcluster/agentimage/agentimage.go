// Package agentimage makes the container image of prefect-kube: one static program on an empty base, for each
// architecture, the same to the last byte whenever it is made from the same source.
//
// It knows what the image of the Python agent was called by, so that only the image of a Deployment has to change. It
// knows no registry, no daemon and no shell.
package agentimage

import (
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/prefect-kube/prefect-kube/testcluster/image"
)

// Repository is the image's name without its tag, as the manifests of install have it.
const Repository = "prefect-kube/prefect-kube"

// place is where the program is in the image.
const place = "/usr/local/bin/prefect-kube"

// links are the programs of the Python agent's image that Deployments call.
func links() []string {
	return []string{
		"/bin/bash", "/bin/sh", "/usr/bin/bash", "/usr/bin/tini", "/usr/local/bin/entrypoint.sh", "/usr/local/bin/prefect",
		"/usr/local/bin/python", "/usr/local/bin/python3",
	}
}

// Architectures are those that the image is made for.
func Architectures() []string { return []string{"amd64", "arm64"} }

// Source says what is compiled.
type Source struct {
	// Module is the folder of the Go module, Package the program in it.
	Module, Package string
	// Version is stamped into the program.
	Version string
}

// Compile makes the program for Linux and the architecture. Nothing of this machine, of the folder or of the reader's
// settings gets into it.
func (s Source) Compile(ctx context.Context, architecture, out string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+s.Version, "-o", out, s.Package)
	build.Dir = s.Module
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture,
		"GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s for %s: %w: %s", s.Package, architecture, err, output)
	}
	return nil
}

// New makes the image of a program, with its layer in folder, which has to live as long as the image is in use.
func New(program, architecture, version, folder string) (v1.Image, error) {
	file := filepath.Join(folder, "layer-"+architecture+".tar")
	if err := image.WriteLayer(file, entries(program)); err != nil {
		return nil, fmt.Errorf("write layer for %s: %w", architecture, err)
	}
	layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression))
	if err != nil {
		return nil, fmt.Errorf("read layer for %s: %w", architecture, err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err := mutate.ConfigFile(base, configuration(architecture, version))
	if err != nil {
		return nil, fmt.Errorf("configure image for %s: %w", architecture, err)
	}
	made, err = mutate.Append(made, mutate.Addendum{Layer: layer, History: v1.History{Created: never(), CreatedBy: "prefect-kube"}})
	if err != nil {
		return nil, fmt.Errorf("fill image for %s: %w", architecture, err)
	}
	return made, nil
}

// never is the time of everything in the image.
func never() v1.Time { return v1.Time{Time: time.Unix(0, 0).UTC()} }

func entries(program string) []image.Entry {
	all := []image.Entry{
		{Path: place, Mode: 0o755, Source: program},
		// The dev backend may be told to keep its data in a file.
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: home, Mode: fs.ModeDir | 0o755},
	}
	for _, link := range links() {
		all = append(all, image.Entry{Path: link, Link: place})
	}
	return all
}

// home is the home folder in the Python agent's image, below which users have mounted .prefect/config.toml.
const home = "/root"

func configuration(architecture, version string) *v1.ConfigFile {
	return &v1.ConfigFile{
		OS: "linux", Architecture: architecture, Created: never(),
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{place},
			User:       "65532:65532",
			WorkingDir: "/",
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home},
			Labels: map[string]string{
				"org.opencontainers.image.title":    "prefect-kube",
				"org.opencontainers.image.version":  version,
				"org.opencontainers.image.licenses": "Apache-2.0",
			},
		},
	}
}

// WriteTar writes an image as a file that docker load and ctr images import read.
func WriteTar(made v1.Image, reference, file string) error {
	tag, err := parse(reference)
	if err != nil {
		return err
	}
	half := file + ".new"
	defer os.Remove(half) //nolint:errcheck // gone after the rename
	if err := tarball.WriteToFile(half, tag, made); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.Rename(half, file)
}
