// Package flowimage makes container images with a real Prefect 0.x or 1.x and a handful of test flows, and the matching
// Prefect client for the host, from Debian's and Python's package registries alone.
//
// It knows which versions work together and what an image holds. It knows no container runtime, no cluster and no base
// image: the base is Debian's python3.11, extracted by mmdebstrap, and everything is cached by a hash of its content.
package flowimage

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/prefect-kube/prefect-kube/testcluster/image"
)

//go:embed python
var python embed.FS

// recipe is part of every hash. Raise it when the Go code starts to build something else.
const recipe = "2"

// Versions lists the Prefect versions an image can be made for: the oldest and the newest the agent serves.
func Versions() []string { return []string{"0.11.0", "1.4.1"} }

// Ref is the name of a version's image in the cluster.
func Ref(version string) string { return "localhost/flow:" + version }

// Builder makes images and clients.
type Builder struct {
	// Cache is the folder everything is kept in.
	Cache string
	// Out gets one line per step that takes time. Nil means silence.
	Out io.Writer
	// Install makes sure that a program exists, by installing the Debian package when it does not. Nil means that a
	// missing program is an error.
	Install func(ctx context.Context, program, pkg string) error
}

// Image is a finished image.
type Image struct {
	Version string
	Ref     string
	// Tar is the file to import.
	Tar string
	// folder holds lib and flows: what the host's client shares with the image.
	folder string
}

// Image returns the image of a version, building what the cache lacks: about 20 seconds the first time.
func (b Builder) Image(ctx context.Context, version string) (Image, error) {
	if !slices.Contains(Versions(), version) {
		return Image{}, fmt.Errorf("prefect %q: there are images for %s", version, strings.Join(Versions(), " and "))
	}
	unlock, err := b.lock()
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	folder, err := b.libraries(ctx, version)
	if err != nil {
		return Image{}, fmt.Errorf("install prefect %s: %w", version, err)
	}
	built := Image{Version: version, Ref: Ref(version), Tar: filepath.Join(folder, "image.tar"), folder: folder}
	if exists(built.Tar) {
		return built, nil
	}
	base, err := b.base(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("extract debian: %w", err)
	}
	b.say("packing the image of prefect %s ...", version)
	return built, pack(built, base)
}

// pack adds the layer with Prefect and the flows to the base and writes the image.
func pack(i Image, base string) error {
	entries, err := contents(i)
	if err != nil {
		return err
	}
	layer := filepath.Join(i.folder, "layer.tar")
	defer os.Remove(layer) //nolint:errcheck // the image holds a copy
	if err := image.WriteLayer(layer, entries); err != nil {
		return fmt.Errorf("write layer of image %q: %w", i.Ref, err)
	}
	return image.Image{
		Ref:    i.Ref,
		Layers: []string{base, layer},
		Env: []string{
			"PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONPATH=/opt/prefect/lib:/opt/prefect", "HOME=/root",
			"LANG=C.UTF-8", "TZ=UTC", "PYTHONDONTWRITEBYTECODE=1",
		},
		WorkingDir: "/opt/prefect",
		Cmd:        []string{"prefect", "version"},
	}.WriteTar(i.Tar)
}

func contents(i Image) ([]image.Entry, error) {
	entries := []image.Entry{
		{Path: "etc/passwd", Data: []byte("root:x:0:0:root:/root:/bin/sh\n")},
		{Path: "usr/local/bin/prefect", Mode: 0o755, Data: []byte(launcher("/usr/bin/python3"))},
		{Path: "usr/local/bin/python", Link: "/usr/bin/python3"},
	}
	for _, name := range []string{"flows.py", "register.py"} {
		data, err := python.ReadFile("python/" + name)
		if err != nil {
			return nil, err
		}
		entries = append(entries, image.Entry{Path: "opt/prefect/" + name, Data: data})
	}
	for _, part := range []string{"lib", "flows"} {
		tree, err := image.Tree(filepath.Join(i.folder, part), "opt/prefect/"+part)
		if err != nil {
			return nil, err
		}
		entries = append(entries, tree...)
	}
	return entries, nil
}

// launcher is the command `prefect`: pip's own script names the interpreter it was installed with.
func launcher(interpreter string) string {
	return "#!/bin/sh\nexec " + interpreter +
		` -c "import sys;sys.argv[0]=\"prefect\";from prefect.cli import cli as m;m()" "$@"` + "\n"
}

// hash names a version's folder after everything that goes into it.
func hash(version string) (string, error) {
	sum := sha256.New()
	sum.Write([]byte(recipe + " " + version + "\n"))
	for _, name := range []string{"lock." + version, "flows.py", "register.py", "pickle_flows.py"} {
		data, err := python.ReadFile("python/" + name)
		if err != nil {
			return "", err
		}
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

func (b Builder) images() string { return filepath.Join(b.Cache, "images") }

// lock makes one maker per cache the only one, also among processes. The kernel lifts it when the process ends.
func (b Builder) lock() (unlock func(), err error) {
	if err := os.MkdirAll(b.images(), 0o755); err != nil {
		return nil, fmt.Errorf("create folder for images: %w", err)
	}
	folder, err := os.Open(b.images())
	if err != nil {
		return nil, fmt.Errorf("lock folder for images: %w", err)
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock folder for images: %w", err), folder.Close())
	}
	return func() { _ = folder.Close() }, nil // closing lifts the lock
}

func (b Builder) say(format string, args ...any) {
	if b.Out != nil {
		_, _ = fmt.Fprintf(b.Out, format+"\n", args...) // progress only
	}
}

func (b Builder) need(ctx context.Context, program, pkg string) error {
	if b.Install == nil {
		return nil
	}
	return b.Install(ctx, program, pkg)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
