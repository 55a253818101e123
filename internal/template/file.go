package template

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/prefect-kube/prefect-kube/internal/regular"
)

// readFile reads what the operator or the flow's owner named on purpose.
func (l *Loader) readFile(ctx context.Context, where location, path string) ([]byte, error) {
	name := where.path
	if name == "" && where.host != "" {
		return nil, &Error{Problem: "names a host, but no file", Mend: "write " + where.scheme + ":///PATH with three slashes, or a plain path"}
	}
	text, err := l.files.Read(ctx, name, limit)
	if err != nil {
		return nil, fileError(name, path, err)
	}
	return text, nil
}

func fileError(name, path string, err error) error {
	e := &Error{Problem: err.Error(), Mend: "check the path on the machine or in the image of the agent", cause: err}
	if refused, ok := errors.AsType[*regular.Error](err); ok {
		e.Problem, e.Mend, e.temporary = refused.Problem, "name a file; it is read again for every Job", refused.Late()
		if refused.Large() {
			e.Mend = smaller
		}
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		e.Problem = failed.Err.Error()
	}
	if name != path {
		e.Problem += ": '" + name + "'"
	}
	return e
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
