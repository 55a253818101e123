package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/testcluster/image"
)

type member struct {
	name, content, link string
	mode                int64
}

func members(t *testing.T, content []byte) []member {
	t.Helper()
	var found []member
	in := tar.NewReader(bytes.NewReader(content))
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, member{header.Name, string(data), header.Linkname, header.Mode})
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLayerIsOrderedAndReproducible(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	source := filepath.Join(folder, "source")
	if err := os.WriteFile(source, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	entries := []image.Entry{
		{Path: "/usr/bin/z", Link: "/bin/a"},
		{Path: "bin/a", Mode: 0o755, Source: source},
		{Path: "/../etc/passwd", Data: []byte("root")},
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	one, two := filepath.Join(folder, "one.tar"), filepath.Join(folder, "two.tar")
	for _, file := range []string{one, two} {
		if err := image.WriteLayer(file, entries); err != nil {
			t.Fatal(err)
		}
		entries[0], entries[2] = entries[2], entries[0]
	}
	if !bytes.Equal(read(t, one), read(t, two)) {
		t.Error("the order of the entries shows in the layer")
	}
	want := []member{
		{"bin/a", "from a file", "", 0o755},
		{"etc/passwd", "root", "", 0o644},
		{"tmp/", "", "", 0o1777},
		{"usr/bin/z", "", "/bin/a", 0o777},
	}
	if diff := cmp.Diff(want, members(t, read(t, one)), cmp.AllowUnexported(member{})); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
}

func TestImageNamesItsLayersByContent(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	layer, out := filepath.Join(folder, "layer.tar"), filepath.Join(folder, "image.tar")
	if err := image.WriteLayer(layer, []image.Entry{{Path: "a", Data: []byte("b")}}); err != nil {
		t.Fatal(err)
	}
	i := image.Image{Ref: "localhost/x:1", Layers: []string{layer}, Env: []string{"A=b"}, WorkingDir: "/w", Cmd: []string{"/a"}}
	if err := i.WriteTar(out); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(read(t, layer))
	digest := hex.EncodeToString(sum[:])
	files := map[string]string{}
	for _, m := range members(t, read(t, out)) {
		files[m.name] = m.content
	}
	if files[digest+".tar"] != string(read(t, layer)) {
		t.Error("the layer is not in the image under its digest")
	}
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal([]byte(files["manifest.json"]), &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || manifest[0].RepoTags[0] != "localhost/x:1" || manifest[0].Layers[0] != digest+".tar" {
		t.Fatalf("manifest is %+v", manifest)
	}
	var config struct {
		Config struct {
			Env, Cmd   []string
			WorkingDir string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal([]byte(files[manifest[0].Config]), &config); err != nil {
		t.Fatal(err)
	}
	if config.RootFS.DiffIDs[0] != "sha256:"+digest || config.Config.WorkingDir != "/w" || config.Config.Cmd[0] != "/a" || config.Config.Env[0] != "A=b" {
		t.Errorf("configuration is %+v", config)
	}
}

func TestNoHalfImageIsLeft(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	out := filepath.Join(folder, "layer.tar")
	if err := image.WriteLayer(out, []image.Entry{{Path: "a", Source: filepath.Join(folder, "missing")}}); err == nil {
		t.Error("a missing source is no error")
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTreeKeepsModesAndLinks(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "sub", "run"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/run", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	got, err := image.Tree(folder, "opt")
	if err != nil {
		t.Fatal(err)
	}
	want := []image.Entry{
		{Path: "opt/link", Link: "sub/run"},
		{Path: "opt/sub/run", Mode: 0o700, Source: filepath.Join(folder, "sub", "run")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

func TestStaticImageIsMadeOnce(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	first, err := image.Pause().Build(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := image.Pause().Build(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(second)
	if err != nil {
		t.Fatal(err)
	}
	if first != second || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("made twice: %s at %v, %s at %v", first, before.ModTime(), second, after.ModTime())
	}
	broken := image.Static{Ref: "localhost/broken:1", Source: []byte("package main\nfunc main() { nothing() }\n"), Paths: []string{"/x"}}
	if _, err := broken.Build(t.Context(), folder); err == nil || !strings.Contains(err.Error(), "undefined: nothing") {
		t.Errorf("error is %v, want the compiler's words", err)
	}
	left, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v, want the one image", left, err)
	}
}
