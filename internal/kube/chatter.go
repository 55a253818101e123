package kube

import (
	"context"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// verbosity shifts client-go's chatter below slog's debug level, but for what it
// thinks everybody should see.
const verbosity = 4

// chatter sends what client-go logs about a request to our log, at debug level: what
// matters of it comes back as an error, and is said in our words.
func chatter(ctx context.Context, log *slog.Logger) context.Context {
	return klog.NewContext(ctx, logr.FromSlogHandler(debugOnly{log.Handler()}).V(verbosity))
}

// Chatter sends what client-go logs without a request, such as of the renewal of a
// token, to a log at debug level. It changes the whole process, and must be called
// before anything else of this package.
func Chatter(log *slog.Logger) {
	klog.SetLogger(logr.FromSlogHandler(debugOnly{log.Handler()}).V(verbosity))
}

// debugOnly lowers every line to debug level.
type debugOnly struct{ next slog.Handler }

func (h debugOnly) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, min(level, slog.LevelDebug))
}

func (h debugOnly) Handle(ctx context.Context, r slog.Record) error {
	r.Level = min(r.Level, slog.LevelDebug)
	if !h.next.Enabled(ctx, r.Level) {
		return nil // logr asks for its own levels, not for errors
	}
	return h.next.Handle(ctx, r)
}

func (h debugOnly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return debugOnly{h.next.WithAttrs(attrs)}
}

func (h debugOnly) WithGroup(name string) slog.Handler { return debugOnly{h.next.WithGroup(name)} }
