// Package image writes container images as plain tar files, in the format that `ctr images import` and
// `docker load` read. It knows layers, a little configuration and how to compile the two tiny images of the test
// cluster. It knows no registry, no daemon and no base image.
package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
)

// Image describes a container image whose layers are uncompressed tar files on disk.
type Image struct {
	// Ref is the name the image gets in the container runtime, for example "localhost/pause:1".
	Ref string
	// Layers are paths of tar files, lowest layer first.
	Layers []string
	// Env, WorkingDir, Entrypoint and Cmd are what a container gets when its Pod says nothing else.
	Env        []string
	WorkingDir string
	Entrypoint []string
	Cmd        []string
}

type settings struct {
	Env        []string `json:"Env,omitempty"`
	Entrypoint []string `json:"Entrypoint,omitempty"`
	Cmd        []string `json:"Cmd,omitempty"`
	WorkingDir string   `json:"WorkingDir,omitempty"`
}

type rootfs struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type configuration struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	Config       settings `json:"config"`
	RootFS       rootfs   `json:"rootfs"`
}

type manifest struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// WriteTar writes the image to path. The file appears under its name only when it is complete, so a file that
// exists can be trusted.
func (i Image) WriteTar(path string) error {
	digests := make([]string, len(i.Layers))
	for n, layer := range i.Layers {
		digest, err := fileDigest(layer)
		if err != nil {
			return fmt.Errorf("read layer of image %q: %w", i.Ref, err)
		}
		digests[n] = digest
	}
	return writeWhole(path, func(w io.Writer) error { return i.write(w, digests) })
}

func (i Image) write(w io.Writer, digests []string) error {
	config, err := json.Marshal(i.configuration(digests))
	if err != nil {
		return fmt.Errorf("encode configuration of image %q: %w", i.Ref, err)
	}
	sum := sha256.Sum256(config)
	name := hex.EncodeToString(sum[:]) + ".json"
	index, err := json.Marshal([]manifest{{Config: name, RepoTags: []string{i.Ref}, Layers: layerNames(digests)}})
	if err != nil {
		return fmt.Errorf("encode manifest of image %q: %w", i.Ref, err)
	}
	out := tar.NewWriter(w)
	for _, entry := range []Entry{{Path: name, Data: config}, {Path: "manifest.json", Data: index}} {
		if err := entry.write(out); err != nil {
			return err
		}
	}
	for n, layer := range i.Layers {
		if err := (Entry{Path: layerName(digests[n]), Source: layer}).write(out); err != nil {
			return err
		}
	}
	return out.Close()
}

func (i Image) configuration(digests []string) configuration {
	ids := make([]string, len(digests))
	for n, digest := range digests {
		ids[n] = "sha256:" + digest
	}
	return configuration{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config:       settings{Env: i.Env, Entrypoint: i.Entrypoint, Cmd: i.Cmd, WorkingDir: i.WorkingDir},
		RootFS:       rootfs{Type: "layers", DiffIDs: ids},
	}
}

func layerNames(digests []string) []string {
	names := make([]string, len(digests))
	for n, digest := range digests {
		names[n] = layerName(digest)
	}
	return names
}

func layerName(digest string) string { return digest + ".tar" }

func fileDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // read only
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
