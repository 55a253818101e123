package registry_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/prefect-kube/prefect-kube/testcluster/image"
	"github.com/prefect-kube/prefect-kube/testcluster/registry"
)

func TestPushedImageCanBePulled(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	layer, tar := filepath.Join(folder, "layer.tar"), filepath.Join(folder, "image.tar")
	if err := image.WriteLayer(layer, []image.Entry{{Path: "/hello", Data: []byte("world")}}); err != nil {
		t.Fatal(err)
	}
	if err := (image.Image{Ref: "localhost/x:1", Layers: []string{layer}, Entrypoint: []string{"/hello"}}).WriteTar(tar); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.Handler())
	defer server.Close()
	ref, err := registry.Push(t.Context(), strings.TrimPrefix(server.URL, "http://"), tar, "x:1")
	if err != nil {
		t.Fatal(err)
	}
	reference, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(reference, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	config, err := pulled.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.Entrypoint; len(got) != 1 || got[0] != "/hello" {
		t.Errorf("entry point of the pulled image is %q, want /hello", got)
	}
}

func TestPushSaysWhichFileIsMissing(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.tar")
	_, err := registry.Push(t.Context(), "127.0.0.1:1", missing, "x:1")
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("error is %v, want one that names %s", err, missing)
	}
	if _, statErr := os.Stat(missing); statErr == nil {
		t.Error("the file was created")
	}
}
