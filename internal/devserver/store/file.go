package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// temporary makes a folder for a database without a name. A container image may
// have no folder for temporary files, but containers have shared memory.
func temporary() (string, error) {
	dir, err := os.MkdirTemp("", "prefect-kube-dev-")
	if err == nil {
		return dir, nil
	}
	dir, shared := os.MkdirTemp("/dev/shm", "prefect-kube-dev-")
	if shared == nil {
		return dir, nil
	}
	return "", fmt.Errorf("make a folder for the temporary database: %w. Set TMPDIR, or name a file with --db", err)
}

// own makes the files of a database readable for nobody else: parameters, logs
// and run configs are in them. SQLite gives the files beside it the same mode.
func own(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		created, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the file that the operator names
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w. Make the folder first: mkdir -p %s", err, filepath.Dir(file))
		}
		if err != nil {
			return err
		}
		return created.Close()
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	}
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		if err := private(name); err != nil {
			return err
		}
	}
	return nil
}

func private(file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Mode().Perm()&0o077 == 0) {
		return nil
	}
	return errors.Join(err, os.Chmod(file, 0o600))
}
