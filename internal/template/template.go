// Package template reads job templates from where a path points to. It knows
// schemes and sizes; what is in a template is the business of package jobspec.
// Files are read today; http, s3 and gs are refused by name.
package template

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// limit is the largest template that is read, in bytes. A Job has 1.5 MiB at most.
const limit = 1 << 20

// Read returns the text behind a path as it was written in a run config or on the
// command line: a plain path, file://, local:// or agent://, all on this machine,
// as Prefect 1.4.1 reads them (agent/kubernetes/agent.py). The error names the
// path and what is wrong with it.
func Read(path string) ([]byte, error) {
	name := path
	if scheme, rest, ok := strings.Cut(path, "://"); ok {
		switch scheme {
		case "file", "local", "agent":
			name = rest
		case "http", "https", "s3", "gs", "gcs":
			return nil, fmt.Errorf("job template %q: templates behind %s:// cannot be read yet; use a file of the agent or put the template into the run config", path, scheme)
		default:
			return nil, fmt.Errorf("job template %q: unknown scheme %s://; use a path, file://, local:// or agent://", path, scheme)
		}
	}
	file, err := os.Open(name) //nolint:gosec // the operator or the flow's owner names the file on purpose
	if err != nil {
		return nil, fmt.Errorf("job template %q: %w", path, err)
	}
	defer file.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("job template %q: %w", path, err)
	}
	if len(text) > limit {
		return nil, fmt.Errorf("job template %q: %w", path, errTooLarge)
	}
	return text, nil
}

var errTooLarge = errors.New("larger than 1 MiB")
