package app

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/devserver"
)

// Dev runs the development backend until ctx ends.
func Dev(ctx context.Context, cfg config.Dev, log *slog.Logger) error {
	for _, warning := range cfg.Warnings {
		log.WarnContext(ctx, "configuration", slog.String("reason", warning))
	}
	server, err := devserver.New(ctx, devserver.Options{
		Listen: cfg.Listen, AllowHosts: cfg.AllowHosts, DB: cfg.DB, Generation: devserver.Generation(cfg.Generation), Logger: log,
	})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "development backend, for development and tests only", slog.String("address", "http://"+server.Addr()))
	if addr, err := netip.ParseAddrPort(server.Addr()); err != nil || !addr.Addr().Unmap().IsLoopback() {
		log.WarnContext(ctx, "other machines can reach the development backend, and it asks for no password; --listen 127.0.0.1:4200 keeps it to this one")
	}
	return errors.Join(server.Run(ctx), server.Close())
}
