package status

import (
	"cmp"
	"context"
	"log/slog"
	"time"
)

const (
	// lateAfter is how long a loop may make no progress before that is said.
	lateAfter = 30 * time.Second
	// look is how often the loops are looked at.
	look = 5 * time.Second
)

// Watch logs one warning for each loop that has made no progress for 30 seconds,
// and one line when it goes on. A loop that pauses on purpose and a loop that was
// removed make none. It returns nil when ctx ends.
func (h *Health) Watch(ctx context.Context, log *slog.Logger) error {
	warned := map[*Loop]bool{}
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		h.each(func(name string, l *Loop) {
			without := l.without(now)
			if late := without > lateAfter; late != warned[l] {
				warned[l] = late
				tell(ctx, log, name, l, without)
			}
		})
	}
}

func tell(ctx context.Context, log *slog.Logger, name string, l *Loop, without time.Duration) {
	if without <= lateAfter {
		log.InfoContext(ctx, "the loop makes progress again", slog.String("loop", name))
		return
	}
	reason, _ := l.trouble()
	log.WarnContext(ctx, "a loop makes no progress", slog.String("loop", name),
		slog.Duration("for", without.Round(time.Second)), slog.String("reason", cmp.Or(reason, "no sign of life")))
}
