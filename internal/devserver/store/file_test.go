package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// TestFilesArePrivateAndWhole copies the one file that is left after a stop.
func TestFilesArePrivateAndWhole(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "dev.db")
		if old {
			readableForAll(t, file, file+"-wal", file+"-shm")
		}
		f := open(t, store.Options{File: file})
		f.flow(`{"name": "kept"}`)
		names, err := filepath.Glob(file + "*")
		if err != nil || len(names) != 3 {
			t.Errorf("files are %v, %v", names, err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode of %s is %v, %v", name, info.Mode(), err)
			}
		}
		f.must(f.Close())
		if names, err = filepath.Glob(file + "*"); err != nil || len(names) != 1 {
			t.Errorf("after the stop there are %v, %v", names, err)
		}
		copied := filepath.Join(t.TempDir(), "copy.db")
		f.must(os.Rename(file, copied))
		if got := open(t, store.Options{File: copied}).value("SELECT name FROM flow"); got != "kept" {
			t.Errorf("the copy has %v", got)
		}
	}
}

func readableForAll(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, fifo := filepath.Join(dir, "text"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		text: "not a database", fifo: "not a regular file", dir: "not a regular file", os.DevNull: "not a regular file",
		filepath.Join(dir, "none", "x.db"): "no such file or directory. Make the folder first: mkdir -p " + filepath.Join(dir, "none"), filepath.Join(text, "x.db"): "not a directory",
	} {
		s, err := store.Open(t.Context(), store.Options{File: file})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "database "+file) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", file, err, want)
		}
	}
}

func TestTemporaryDatabaseHasNoName(t *testing.T) {
	for name, dir := range map[string]string{"folder for temporary files": t.TempDir(), "none": filepath.Join(t.TempDir(), "none")} {
		t.Setenv("TMPDIR", dir)
		f := open(t, store.Options{})
		f.flow(`{"name": "kept"}`)
		if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: there are %v, %v", name, left, err)
		}
		if got := f.value("SELECT name FROM flow"); got != "kept" {
			t.Errorf("%s: the flow is %v", name, got)
		}
		f.must(f.Close())
	}
}
