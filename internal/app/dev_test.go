package app_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

// ending is a log whose first line ends what writes it.
type ending struct {
	bytes.Buffer
	end func()
}

func (e *ending) Write(line []byte) (int, error) {
	e.end()
	return e.Buffer.Write(line)
}

func TestDevSaysWhereItListens(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]struct {
		address string
		warned  bool
	}{"127.0.0.1:0": {"address=http://127.0.0.1:", false}, "0.0.0.0:0": {"address=http://", true}, "[::1]:0": {"address=http://[::1]:", false}} {
		ctx, stop := context.WithCancel(t.Context())
		out := &ending{end: stop}
		if err := app.Dev(ctx, config.Dev{Listen: listen, Generation: "1.x"}, slog.New(slog.NewTextHandler(out, nil))); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
		if text := out.String(); !strings.Contains(text, want.address) || strings.Contains(text, "level=WARN") != want.warned {
			t.Errorf("%s: got %s", listen, text)
		}
	}
}
