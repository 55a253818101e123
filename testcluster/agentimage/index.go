package agentimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Result is what Write made.
type Result struct {
	Reference string
	// Layout is the folder of the OCI layout, whose index names one image for each architecture.
	Layout    string
	Digest    string
	Platforms []Platform
}

// Platform is the image of one architecture.
type Platform struct {
	Architecture, Digest string
	// Tar is the file for docker load.
	Tar string
	// Compressed and Program are sizes in bytes: of the layer, as it is pulled, and of the program.
	Compressed, Program int64
}

// Write compiles the source for every architecture and writes an OCI layout and the tar files into out. The reference is
// a repository with a tag.
func Write(ctx context.Context, source Source, reference, out string) (Result, error) {
	tag, err := parse(reference)
	if err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return Result{}, fmt.Errorf("create folder: %w", err)
	}
	work, err := os.MkdirTemp(out, ".image-")
	if err != nil {
		return Result{}, fmt.Errorf("create folder: %w", err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // best effort
	result := Result{Reference: reference, Layout: filepath.Join(out, "image")}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range Architectures() {
		made, platform, err := source.platform(ctx, architecture, work)
		if err != nil {
			return Result{}, err
		}
		platform.Tar = filepath.Join(out, "prefect-kube-image-"+architecture+".tar")
		if err := WriteTar(made, reference, platform.Tar); err != nil {
			return Result{}, err
		}
		result.Platforms = append(result.Platforms, platform)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: made, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	digest, err := index.Digest()
	if err != nil {
		return Result{}, fmt.Errorf("make index: %w", err)
	}
	result.Digest = digest.String()
	return result, writeLayout(index, tag, result.Layout)
}

// platform makes the image of one architecture.
func (s Source) platform(ctx context.Context, architecture, work string) (v1.Image, Platform, error) {
	program := filepath.Join(work, "program-"+architecture)
	if err := s.Compile(ctx, architecture, program); err != nil {
		return nil, Platform{}, err
	}
	made, err := New(program, architecture, s.Version, work)
	if err != nil {
		return nil, Platform{}, err
	}
	platform, err := measure(made)
	if err != nil {
		return nil, Platform{}, fmt.Errorf("measure image for %s: %w", architecture, err)
	}
	info, err := os.Stat(program)
	if err != nil {
		return nil, Platform{}, err
	}
	platform.Architecture, platform.Program = architecture, info.Size()
	return made, platform, nil
}

func measure(made v1.Image) (Platform, error) {
	digest, err := made.Digest()
	if err != nil {
		return Platform{}, err
	}
	layers, err := made.Layers()
	if err != nil {
		return Platform{}, err
	}
	p := Platform{Digest: digest.String()}
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return Platform{}, err
		}
		p.Compressed += size
	}
	return p, nil
}

// writeLayout replaces a layout that is there already.
func writeLayout(index v1.ImageIndex, tag name.Tag, folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("remove old layout: %w", err)
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return fmt.Errorf("write layout: %w", err)
	}
	annotations := map[string]string{"org.opencontainers.image.ref.name": tag.TagStr()}
	if err := path.AppendIndex(index, layout.WithAnnotations(annotations)); err != nil {
		return fmt.Errorf("write layout: %w", err)
	}
	return nil
}

func parse(reference string) (name.Tag, error) {
	tag, err := name.NewTag(reference)
	if err != nil {
		return tag, fmt.Errorf("reference %q: %w", reference, err)
	}
	return tag, nil
}
