package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

const (
	escapes = "name\x1b]52;c;cm0gLXJmIH4K\x1b\\\x1b[1A\x1b[2Khidden\u009b2J\u202eevil\r\nline\x00\xff"
	canary  = "CANARYKEY"
)

// The kinds of values that a log may hold, each with the same foreign text.
type (
	stringer struct{ text string }
	marshals struct{ text string }
	valuer   struct{ text string }
	panics   struct{}
)

func (s stringer) String() string { return s.text }
func (m marshals) MarshalText() ([]byte, error) {
	if m.text == "" {
		return nil, errors.New(escapes)
	}
	return []byte(m.text), nil
}

func (v valuer) LogValue() slog.Value {
	return slog.GroupValue(slog.String("in", v.text), slog.Any(v.text, valuer2(v)))
}
func (panics) MarshalText() ([]byte, error) { panic(escapes) }

type valuer2 struct{ text string }

func (v valuer2) LogValue() slog.Value { return slog.StringValue(v.text) }

// colour is what tint itself writes.
var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Nothing that is logged steers a terminal, shows a secret, or makes more than one
// line of a bounded length, for people and for machines alike.
func TestEveryLogLineIsFitToBeShown(t *testing.T) {
	t.Parallel()
	foreign := escapes + " key " + canary + " " + strings.Repeat("x", 1<<20)
	for name, attr := range map[string]slog.Attr{
		"string": slog.String("k", foreign), "error": slog.Any("k", errors.New(foreign)), "wrapped": slog.Any("k", fmt.Errorf("%w", errors.Join(errors.New(foreign), errors.New(foreign)))),
		"stringer": slog.Any("k", stringer{foreign}), "text": slog.Any("k", marshals{foreign}), "no text": slog.Any("k", marshals{}), "list": slog.Any("k", []string{foreign, foreign}),
		"struct": slog.Any("k", struct{ Text string }{foreign}), "map": slog.Any("k", map[string]any{foreign: foreign}), "bytes": slog.Any("k", []byte(foreign)),
		"raw JSON": slog.Any("k", json.RawMessage(foreign)), "pointer": slog.Any("k", &stringer{foreign}), "panic": slog.Any("k", panics{}),
		"value": slog.Any("k", valuer{foreign}), "group": slog.Group("g", slog.String(foreign, foreign), slog.Group(foreign, slog.Any("e", errors.New(foreign)))),
		"key": slog.Int(foreign, 1), "address": slog.Any("k", netip.MustParseAddr("::1")), "nil": slog.Any("k", nil),
	} {
		for _, terminal := range []bool{true, false} {
			var out bytes.Buffer
			c := &cli{streams: streams{terminal: terminal}, secrets: secret.NewSet(secret.New(canary))}
			log := c.logger(&out, config.Dev{})
			log.InfoContext(t.Context(), "m", attr)
			log.With(attr).WithGroup(foreign).InfoContext(t.Context(), foreign, attr) //nolint:sloglint // as foreign as can be
			text := colour.ReplaceAllString(out.String(), "")
			if at := strings.IndexFunc(text, steers); at >= 0 {
				t.Errorf("%s, terminal %v: holds %q", name, terminal, text[at:min(at+20, len(text))])
			}
			if len(text) > 64<<10 || strings.Contains(text, canary) || strings.Count(text, "\n") != 2 {
				t.Errorf("%s, terminal %v: %d bytes in %d lines, with the secret: %v", name, terminal, len(text), strings.Count(text, "\n"), strings.Contains(text, canary))
			}
		}
	}
}

func steers(r rune) bool {
	return r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}
