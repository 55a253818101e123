package image

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed pause/main.go
var pauseSource []byte

//go:embed job/main.go
var jobSource []byte

// Static is a tiny image that holds one static Go program under one or more names.
type Static struct {
	Ref    string
	Source []byte
	// Paths are the places of the program in the image; the first is the entry point.
	Paths []string
}

// Pause returns the image every Pod's sandbox runs: it waits for a signal and does nothing else.
func Pause() Static {
	return Static{Ref: "localhost/pause:1", Source: pauseSource, Paths: []string{"/pause"}}
}

// Job returns an image that stands in for a flow image where no Python is needed. Whatever shell command it is given,
// it prints the flow run's id, waits a second and exits 0, or with the status in JOB_EXIT.
func Job() Static {
	return Static{Ref: "localhost/job:1", Source: jobSource, Paths: []string{"/bin/sh", "/bin/bash", "/usr/bin/tini"}}
}

// Build compiles the program and writes the image's tar below folder. It returns the path of the tar. The name holds
// a hash of the content, so a second call with the same content does nothing.
func (s Static) Build(ctx context.Context, folder string) (string, error) {
	hash := sha256.New()
	hash.Write(fmt.Appendf(nil, "%s\n%q\n%s", s.Ref, s.Paths, s.Source))
	name := filepath.Base(s.Paths[0]) + "-" + hex.EncodeToString(hash.Sum(nil))[:16]
	out := filepath.Join(folder, name+".tar")
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("create image folder: %w", err)
	}
	work, err := os.MkdirTemp(folder, name)
	if err != nil {
		return "", fmt.Errorf("create image folder: %w", err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // best effort
	program, err := s.compile(ctx, work)
	if err != nil {
		return "", fmt.Errorf("compile image %q: %w", s.Ref, err)
	}
	layer := filepath.Join(work, "layer.tar")
	if err := WriteLayer(layer, s.entries(program)); err != nil {
		return "", fmt.Errorf("write layer of image %q: %w", s.Ref, err)
	}
	return out, Image{Ref: s.Ref, Layers: []string{layer}, Entrypoint: s.Paths[:1]}.WriteTar(out)
}

func (s Static) entries(program string) []Entry {
	entries := make([]Entry, len(s.Paths))
	for n, place := range s.Paths {
		entries[n] = Entry{Path: place, Mode: 0o755, Source: program}
	}
	return entries
}

func (s Static) compile(ctx context.Context, work string) (string, error) {
	source, program := filepath.Join(work, "main.go"), filepath.Join(work, "program")
	if err := os.WriteFile(source, s.Source, 0o600); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
	build.Dir = work
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, output)
	}
	return program, nil
}
