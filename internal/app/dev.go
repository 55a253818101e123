package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/devserver"
)

// Dev runs the development backend until ctx ends.
func Dev(ctx context.Context, cfg config.Dev, log *slog.Logger) error {
	for _, warning := range cfg.Warnings {
		log.WarnContext(ctx, "configuration", slog.String("reason", warning))
	}
	server, err := devserver.New(ctx, devserver.Options{
		Listen: cfg.Listen, DB: cfg.DB, Generation: devserver.Generation(cfg.Generation), Logger: log,
	})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "development backend, for development and tests only")
	return errors.Join(server.Run(ctx), server.Close())
}
