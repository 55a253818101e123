package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

func (c *cli) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps an agent from working",
		Long: "Look for what keeps an agent from working.\n\n" +
			"It reads what an agent with the same flags needs, and says what is wrong and\n" +
			"how to mend it. It registers no agent, writes no state and creates nothing.\n" +
			"The exit code is 1 if a check fails.\n\n" +
			"It looks as \"agent kubernetes start\" of 1.4.1 would, and at the Job of that\n" +
			"release. Give --token or --verbose for an agent of 0.11.0; a token as the only\n" +
			"credential does as well.",
		Args: noArguments,
	}
	addFlags(cmd, config.DoctorSettings())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.ResolveDoctor(c.sources(cmd))
		if err != nil {
			return c.withOthers(cmd, err, cfg.Agent)
		}
		log := c.logger(c.streams.err, cfg)
		return attempt(cmd.Context(), log, func(ctx context.Context) error { return c.commands.doctor(ctx, cfg, c.streams.out, log) })
	}
	return cmd
}
