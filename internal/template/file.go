package template

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// readFile opens a file without waiting for it, as a named pipe would make us.
func readFile(where location, path string) ([]byte, error) {
	name := where.path
	if name == "" && where.host != "" {
		return nil, &Error{Problem: "names a host, but no file", Mend: "write " + where.scheme + ":///PATH with three slashes, or a plain path"}
	}
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator or the flow's owner names the file on purpose
	if err != nil {
		return nil, fileError(name, path, err)
	}
	defer file.Close() //nolint:errcheck // read only
	info, err := file.Stat()
	if err != nil {
		return nil, fileError(name, path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{Problem: "is " + kindOf(info.Mode()) + ", not a regular file", Mend: "name a file; it is read again for every Job"}
	}
	return readAll(file)
}

func fileError(name, path string, err error) error {
	e := &Error{Problem: err.Error(), Mend: "check the path on the machine or in the image of the agent", cause: err}
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		e.Problem = failed.Err.Error()
	}
	if name != path {
		e.Problem += ": '" + name + "'"
	}
	return e
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

func readAll(from io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err != nil {
		return nil, err
	}
	if len(text) > limit {
		return nil, tooLarge()
	}
	return text, nil
}
