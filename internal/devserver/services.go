package devserver

import (
	"context"
	"log/slog"
	"strconv"
	"time"
)

// service is work that is done again and again.
type service struct {
	name  string
	every time.Duration
	pass  func(context.Context) (int, error)
}

// services lists what runs beside the API: the scheduler at both generations,
// Lazarus and the zombie killer only at Server1.
func (s *Server) services() []service {
	all := []service{{"scheduler", s.opts.SchedulerEvery, s.store.ScheduleFlowRuns}}
	if s.store.Generation() == Server1 {
		all = append(all,
			service{"lazarus", s.opts.LazarusEvery, s.store.Lazarus},
			service{"zombie killer", s.opts.ZombiesEvery, s.store.KillZombies})
	}
	on := all[:0]
	for _, one := range all {
		if one.every > 0 {
			on = append(on, one)
		}
	}
	return on
}

// run does a pass, waits, and so on until ctx ends. A failed pass is told to the
// operator and tried again at the next turn.
func (s service) run(ctx context.Context, log *slog.Logger) error {
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	for {
		n, err := s.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.WarnContext(ctx, "service pass failed", slog.String("component", s.name), slog.Any("error", err))
		case n > 0:
			log.InfoContext(ctx, "service changed flow runs", slog.String("component", s.name), slog.String("reason", strconv.Itoa(n)+" runs"))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
