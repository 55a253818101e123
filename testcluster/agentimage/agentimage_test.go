package agentimage_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/prefect-kube/prefect-kube/testcluster/agentimage"
)

const reference = "prefect-kube/prefect-kube:1.0"

// made makes the image of a small program in a folder of its own.
func made(t *testing.T) agentimage.Result {
	t.Helper()
	module := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                   "module example.com/small\n\ngo 1.26\n",
		"cmd/prefect-kube/main.go": "package main\n\nvar version string\n\nfunc main() { println(version) }\n",
	} {
		file := filepath.Join(module, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	source := agentimage.Source{Module: module, Package: "./cmd/prefect-kube", Version: "1.0"}
	result, err := agentimage.Write(t.Context(), source, reference, filepath.Join(t.TempDir(), "dist"))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestTwoBuildsHaveOneDigest(t *testing.T) {
	t.Parallel()
	one, two := made(t), made(t)
	if one.Digest != two.Digest || !strings.HasPrefix(one.Digest, "sha256:") {
		t.Errorf("digests are %s and %s", one.Digest, two.Digest)
	}
	for i, p := range one.Platforms {
		a, errA := os.ReadFile(p.Tar)
		b, errB := os.ReadFile(two.Platforms[i].Tar)
		if err := errors.Join(errA, errB); err != nil || string(a) != string(b) {
			t.Errorf("the files for %s differ: %v", p.Architecture, err)
		}
	}
}

func TestLayoutHasEveryArchitecture(t *testing.T) {
	t.Parallel()
	result := made(t)
	path, err := layout.FromPath(result.Layout)
	if err != nil {
		t.Fatal(err)
	}
	top, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := top.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest.String() != result.Digest {
		t.Fatalf("layout is %+v, %v, want the one index %s", manifest, err, result.Digest)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err = index.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

// TestImageHoldsOneProgram: whatever a Deployment of the Python agent calls is a link to the one program. There is no
// shell to be found.
func TestImageHoldsOneProgram(t *testing.T) {
	t.Parallel()
	for _, p := range made(t).Platforms {
		loaded, err := tarball.ImageFromPath(p.Tar, nil)
		if err != nil {
			t.Fatal(err)
		}
		config, err := loaded.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Architecture != p.Architecture || config.Config.User != "65532:65532" || config.Created.Unix() != 0 {
			t.Errorf("configuration is %+v", config)
		}
		files, linked := contents(t, loaded, config.Config.Entrypoint[0])
		if !slices.Equal(files, config.Config.Entrypoint) {
			t.Errorf("files are %v, want only the entry point %v", files, config.Config.Entrypoint)
		}
		for _, name := range []string{"/bin/bash", "/bin/sh", "/usr/local/bin/prefect", "/usr/local/bin/python", "/usr/bin/tini"} {
			if !linked[name] {
				t.Errorf("%s is no link to the program: %v", name, linked)
			}
		}
		if info, err := os.Stat(p.Tar); err != nil || p.Compressed <= 0 || p.Compressed > info.Size() || p.Program < p.Compressed {
			t.Errorf("sizes are %+v, of the file %v, %v", p, info, err)
		}
	}
}

// contents lists the files of an image, and for each of its links whether it leads to the program.
func contents(t *testing.T, loaded v1.Image, program string) (files []string, linked map[string]bool) {
	t.Helper()
	linked = map[string]bool{}
	for _, h := range headers(t, loaded) {
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s belongs to %d:%d and is of %v", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			files = append(files, "/"+h.Name)
		case tar.TypeSymlink:
			linked["/"+h.Name] = h.Linkname == program
		}
	}
	return files, linked
}

func headers(t *testing.T, loaded v1.Image) []*tar.Header {
	t.Helper()
	layers, err := loaded.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("layers are %v, %v, want one", layers, err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close() //nolint:errcheck // read only
	var all []*tar.Header
	for in := tar.NewReader(content); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
}

func TestWriteSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	source := agentimage.Source{Module: folder, Package: ".", Version: "1"}
	if _, err := agentimage.Write(t.Context(), source, "no tag:", folder); err == nil || !strings.Contains(err.Error(), `reference "no tag:"`) {
		t.Errorf("error is %v, want the reference in it", err)
	}
	if _, err := agentimage.Write(t.Context(), source, reference, folder); err == nil || !strings.Contains(err.Error(), "build . for amd64") {
		t.Errorf("error is %v, want the compiler's", err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
