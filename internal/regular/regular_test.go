package regular

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	socket, err := new(net.ListenConfig).Listen(t.Context(), "unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	if err := errors.Join(
		os.WriteFile(at("file"), []byte("12345678"), 0o600), os.WriteFile(at("empty"), nil, 0o600), os.WriteFile(at("large"), []byte("123456789"), 0o600),
		os.Truncate(at("large"), 1<<40), syscall.Mkfifo(at("pipe"), 0o600), os.Symlink("file", at("link")), os.Symlink("pipe", at("to the pipe")),
	); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct{ text, problem string }{
		at("file"): {"12345678", ""}, at("link"): {"12345678", ""}, at("empty"): {},
		at("large"): {"", "is larger than 8 bytes"}, "/proc/self/status": {"", "is larger than 8 bytes"},
		at("pipe"): {"", "is a pipe, not a regular file"}, at("to the pipe"): {"", "is a pipe, not a regular file"},
		at("socket"): {"", "is a socket, not a regular file"}, "/dev/zero": {"", "is a device, not a regular file"},
		"/dev/tty": {"", "is a device, not a regular file"}, dir: {"", "is a directory, not a regular file"},
		at("none"): {"", "no such file or directory"}, "a\x00b": {"", "invalid argument"},
	} {
		data, err := Read(path, 8)
		if string(data) != want.text || (err == nil) != (want.problem == "") || err != nil && !strings.HasSuffix(err.Error(), want.problem) {
			t.Errorf("%s: got %q, %v, want %q and an error with %q", path, data, err, want.text, want.problem)
		}
	}
	if _, err := Read(at("none"), 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// A file that calls itself regular and waits for data, as /proc/kmsg does.
func TestAFileWithoutAnEnd(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		if data, err := readFile("/proc/kmsg", 64<<20, time.Now().Add(50*time.Millisecond)); err == nil {
			t.Errorf("got %d bytes, want an error", len(data))
		}
	}
	if _, err := readFile("/proc/self/status", 1<<20, time.Now()); err != nil {
		t.Errorf("got %v of a file that does not wait", err)
	}
}

// A mount whose server is away is given up, and asked again once it answered.
func TestAFileThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := make(chan struct{})
		var reads atomic.Int64
		r := &Reader{read: func(string, int64, time.Time) ([]byte, error) {
			reads.Add(1)
			<-away
			return []byte("text"), nil
		}}
		for i, want := range []time.Duration{Limit, 0, 0} {
			start := time.Now()
			_, err := r.Read(t.Context(), "/mnt/file", 8)
			late, ok := errors.AsType[*Error](err)
			if took := time.Since(start); !ok || !late.Late() || took != want || reads.Load() != 1 {
				t.Errorf("read %d: got %v after %v with %d tries, want a late error after %v with one", i, err, took, reads.Load(), want)
			}
		}
		if data, err := (&Reader{read: func(string, int64, time.Time) ([]byte, error) { return []byte("other"), nil }}).Read(t.Context(), "/other", 8); err != nil {
			t.Errorf("another file: got %q, %v", data, err)
		}
		close(away)
		synctest.Wait()
		if data, err := r.Read(t.Context(), "/mnt/file", 8); string(data) != "text" || err != nil {
			t.Errorf("once it answers: got %q, %v", data, err)
		}
	})
}

func TestReadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped, away := errors.New("stopped"), make(chan struct{})
		r := &Reader{read: func(string, int64, time.Time) ([]byte, error) { <-away; return nil, nil }}
		time.AfterFunc(time.Second, func() { cancel(stopped) })
		start := time.Now()
		if _, err := r.Read(ctx, "/mnt/file", 8); !errors.Is(err, stopped) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want %v after a second", err, time.Since(start), stopped)
		}
		close(away)
	})
}
