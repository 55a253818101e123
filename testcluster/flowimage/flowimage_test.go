package flowimage_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
)

// cached returns a builder on the reader's cache, or skips when the images are not made yet: making them takes package
// registries.
func cached(t *testing.T) flowimage.Builder {
	t.Helper()
	cache := os.Getenv("PREFECT_KUBE_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		cache = filepath.Join(user, "prefect-kube")
	}
	for _, version := range flowimage.Versions() {
		made, err := filepath.Glob(filepath.Join(cache, "images", "prefect-"+version+"-*", "image.tar"))
		if err == nil && len(made) > 0 {
			continue
		}
		if os.Getenv("CI") == "true" {
			break // the builder makes them
		}
		t.Skip("the flow images are not made yet: run testcluster images once")
	}
	return flowimage.Builder{Cache: cache}
}

func TestUnknownVersionNamesTheKnown(t *testing.T) {
	t.Parallel()
	b := flowimage.Builder{Cache: t.TempDir()}
	_, imageErr := b.Image(t.Context(), "2.0")
	_, clientErr := b.Client(t.Context(), "2.0")
	for _, err := range []error{imageErr, clientErr} {
		if err == nil || !strings.Contains(err.Error(), "0.11.0 and 1.4.1") {
			t.Errorf("error is %v, want one that names the versions", err)
		}
	}
}

func TestLocksPinEveryPackage(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`^[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*$`)
	for _, version := range flowimage.Versions() {
		data, err := os.ReadFile(filepath.Join("python", "lock."+version))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n") {
			if !pinned.MatchString(line) {
				t.Errorf("lock.%s: %q is no pin", version, line)
			}
		}
		if !strings.Contains(string(data), "\nprefect=="+version+"\n") {
			t.Errorf("lock.%s does not pin prefect %s", version, version)
		}
	}
}

func TestImageHoldsTheFlowsOfTheHost(t *testing.T) {
	t.Parallel()
	b := cached(t)
	for _, version := range flowimage.Versions() {
		image, err := b.Image(t.Context(), version)
		if err != nil {
			t.Fatal(err)
		}
		inside := find(t, image.Tar, "opt/prefect/flows/two-tasks.prefect")
		host, err := os.ReadFile(filepath.Join(filepath.Dir(image.Tar), "flows", "two-tasks.prefect"))
		if err != nil {
			t.Fatal(err)
		}
		if inside != string(host) {
			t.Errorf("prefect %s: the flow in the image is not the one the client registers", version)
		}
	}
}

// find returns the content of a file in one of the image's layers.
func find(t *testing.T, image, name string) string {
	t.Helper()
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // read only
	outer := tar.NewReader(file)
	for {
		header, err := outer.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("%s is not in %s", name, image)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(header.Name, ".tar") {
			continue
		}
		if content, ok := member(t, outer, name); ok {
			return content
		}
	}
}

func member(t *testing.T, layer io.Reader, name string) (string, bool) {
	t.Helper()
	in := tar.NewReader(layer)
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return "", false
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Name != name {
			continue
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		return string(content), true
	}
}

func TestHostClientIsTheRealOne(t *testing.T) {
	t.Parallel()
	b := cached(t)
	for _, version := range flowimage.Versions() {
		client, err := b.Client(t.Context(), version)
		if err != nil {
			t.Fatal(err)
		}
		command := client.Command(t.Context(), "http://127.0.0.1:1", t.TempDir(), "-c",
			"import prefect; print(prefect.__version__, prefect.config.cloud.api)")
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		if got, want := lastLine(string(output)), version+" http://127.0.0.1:1"; got != want {
			t.Errorf("the client says %q, want %q", got, want)
		}
	}
}

// lastLine skips the warnings that an old Prefect prints on a new Python.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
