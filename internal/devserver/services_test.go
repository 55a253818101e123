package devserver

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestServicePasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		passes := 0
		s := service{name: "test", every: 3 * time.Minute, pass: func(context.Context) (int, error) {
			passes++
			if passes == 2 {
				return 0, errors.New("a pass failed")
			}
			return 1, nil
		}}
		if err := s.run(ctx, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
		if passes != 4 {
			t.Errorf("%d passes in ten minutes, want 4", passes)
		}
	})
}

func TestServicesOfGenerations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		opts Options
		want int
	}{{Options{Generation: Server0}, 1}, {Options{Generation: Server1}, 3}, {Options{Generation: Server1, SchedulerEvery: -1, ZombiesEvery: -1}, 1}} {
		c.opts.Listen = "127.0.0.1:0"
		s, err := New(t.Context(), c.opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(s.services()); got != c.want {
			t.Errorf("%+v: %d services, want %d", c.opts, got, c.want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
