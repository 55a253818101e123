package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

func (c *cli) resourceManager() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resource-manager",
		Short: "Report how Jobs end and delete finished ones, without starting any",
		Long: "Report how Jobs end and delete finished ones, without starting any.\n\n" +
			"This is the second container that --resource-manager adds. The agent runs the\n" +
			"same loop by itself; both at once is safe.",
		Args: noArguments,
	}
	addFlags(cmd, config.ResourceManagerSettings())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.ResolveResourceManager(c.sources(cmd))
		if err = errors.Join(err, cfg.CheckCredential()); err != nil {
			if c.commands.checks.manager != nil {
				err = errors.Join(err, c.commands.checks.manager(cmd.Context(), cfg))
			}
			return err
		}
		log := c.service(cfg)
		return attempt(cmd.Context(), log, func(ctx context.Context) error { return c.commands.resourceManager(ctx, cfg, log) })
	}
	return cmd
}
