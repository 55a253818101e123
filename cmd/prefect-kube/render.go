package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

func (c *cli) render() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "render FLOW_RUN",
		Short: "Show the Job that a flow run would be started as",
		Long: "Show the Job that a flow run would be started as.\n\n" +
			"FLOW_RUN is the id of a flow run, or a file that holds one in JSON (- for\n" +
			"standard input); for a file no connection is opened. The flags are those of\n" +
			"the agent. Credentials are not shown.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("want one flow run: its id, a file, or - for standard input")
			}
			return nil
		},
	}
	addFlags(cmd, config.RenderSettings())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.ResolveRender(c.sources(cmd))
		if err != nil {
			return c.withOthers(cmd, err, cfg.Agent)
		}
		log := c.logger(c.streams.err, cfg)
		return attempt(cmd.Context(), log, func(ctx context.Context) error {
			return c.commands.render(ctx, cfg, args[0], c.streams.in, c.streams.out, c.streams.err, log)
		})
	}
	return cmd
}
