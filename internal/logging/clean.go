// Package logging is what lies between the log of this process and where it goes. It
// makes each record fit to be shown, and keeps a reader that is slow or gone from
// stopping the process. It refuses to know what is logged.
package logging

import (
	"context"
	"encoding"
	"fmt"
	"log/slog"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// The bounds of a record, in bytes and in items of a list or a group.
const (
	maxMessage = 1024
	maxKey     = 128
	maxValue   = 4096
	maxItems   = 100
)

// Clean makes a handler that passes records on with every text on one line, without
// secrets, and cut. Handlers for terminals pass escapes on that they find in texts.
func Clean(next slog.Handler, secrets *secret.Set) slog.Handler {
	return &cleaner{next: next, secrets: secrets}
}

type cleaner struct {
	next    slog.Handler
	secrets *secret.Set
}

// Enabled implements slog.Handler.
func (c *cleaner) Enabled(ctx context.Context, level slog.Level) bool {
	return c.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (c *cleaner) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, c.secrets.Line(r.Message, maxMessage), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(c.attr(a))
		return true
	})
	return c.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (c *cleaner) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &cleaner{next: c.next.WithAttrs(c.attrs(attrs)), secrets: c.secrets}
}

// WithGroup implements slog.Handler.
func (c *cleaner) WithGroup(name string) slog.Handler {
	return &cleaner{next: c.next.WithGroup(c.secrets.Line(name, maxKey)), secrets: c.secrets}
}

func (c *cleaner) attrs(attrs []slog.Attr) []slog.Attr {
	clean := make([]slog.Attr, 0, min(len(attrs), maxItems))
	for _, a := range attrs[:min(len(attrs), maxItems)] {
		clean = append(clean, c.attr(a))
	}
	return clean
}

func (c *cleaner) attr(a slog.Attr) slog.Attr {
	return slog.Attr{Key: c.secrets.Line(a.Key, maxKey), Value: c.value(a.Value.Resolve())}
}

// value cleans what is or becomes a text; numbers and times are what they are.
func (c *cleaner) value(v slog.Value) slog.Value {
	switch v.Kind() { //nolint:exhaustive // the others hold no text
	case slog.KindString:
		return slog.StringValue(c.secrets.Line(v.String(), maxValue))
	case slog.KindGroup:
		return slog.GroupValue(c.attrs(v.Group())...)
	case slog.KindAny:
		return c.any(v.Any())
	default:
		return v
	}
}

func (c *cleaner) any(value any) slog.Value {
	switch v := value.(type) {
	case nil:
		return slog.AnyValue(nil)
	case []byte:
		return slog.StringValue(c.secrets.Line(string(v), maxValue))
	case []string:
		items := make([]string, min(len(v), maxItems))
		for i := range items {
			items[i] = c.secrets.Line(v[i], maxValue/maxItems)
		}
		return slog.AnyValue(items)
	default:
		return slog.StringValue(c.secrets.Line(text(v), maxValue))
	}
}

// text is how a handler would print a value. Like fmt, it outlives methods that panic.
func text(value any) (shown string) {
	marshaler, ok := value.(encoding.TextMarshaler)
	if _, isError := value.(error); !ok || isError {
		return fmt.Sprintf("%+v", value)
	}
	defer func() {
		if p := recover(); p != nil {
			shown = fmt.Sprintf("!PANIC: %v", p)
		}
	}()
	data, err := marshaler.MarshalText()
	if err != nil {
		return "!ERROR: " + err.Error()
	}
	return string(data)
}
