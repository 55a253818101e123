// Package registry serves container images over HTTP on loopback, for tests of image pulls. A container runtime takes
// plain HTTP from localhost without being told to, so nothing of the node changes.
//
// It knows how to bring an image tar into such a registry, and nothing about clusters.
package registry

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Handler is an empty registry that keeps its images in memory.
func Handler() http.Handler {
	return registry.New(registry.Logger(log.New(io.Discard, "", 0)))
}

// Push brings the only image of a tar file into the registry at address ("127.0.0.1:5000") under the given repository
// and tag ("flow:1.4.1"). It returns the reference to write into a Pod.
func Push(ctx context.Context, address, tar, repository string) (string, error) {
	reference, err := name.ParseReference(address+"/"+repository, name.Insecure)
	if err != nil {
		return "", fmt.Errorf("push image %q: %w", repository, err)
	}
	image, err := tarball.ImageFromPath(tar, nil)
	if err != nil {
		return "", fmt.Errorf("read image %s: %w", tar, err)
	}
	if err := remote.Write(reference, image, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("push image %q: %w", repository, err)
	}
	return reference.Name(), nil
}
