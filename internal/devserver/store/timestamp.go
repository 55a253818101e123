package store

import (
	"fmt"
	"strings"
	"time"
)

// timeLayout is how both servers write timestamps: microseconds and an offset.
// Always in UTC it also sorts as text.
const timeLayout = "2006-01-02T15:04:05.000000+00:00"

// FormatTime writes a time the way it is stored and answered.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// ParseTime reads a timestamp as the clients write it. A missing offset means
// UTC (the cache query of both Python clients has none); a date alone is
// midnight, and a space may stand for the T.
func ParseTime(text string) (time.Time, error) {
	if len(text) > 64 {
		return time.Time{}, fmt.Errorf("invalid timestamp of %d characters", len(text))
	}
	s := strings.TrimSpace(text)
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700",
		"2006-01-02T15:04:05.999999999Z07", "2006-01-02T15:04", "2006-01-02T15:04Z07:00", time.DateOnly,
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("invalid timestamp %q, want RFC 3339", text)
}
