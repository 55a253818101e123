//go:build unix

package badserver

import (
	"path/filepath"
	"syscall"
	"testing"
)

// FIFO makes a named pipe that nobody writes to. Who opens it to read waits for ever.
func FIFO(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "fifo")
	const mode = 0o600
	if err := syscall.Mkfifo(path, mode); err != nil {
		tb.Fatal(err)
	}
	return path
}
