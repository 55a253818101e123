package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// install makes the command in one of its two forms.
func (c *cli) install(core string, cmd *cobra.Command) *cobra.Command {
	cmd.Short = "Print the Kubernetes objects that run the agent in a cluster"
	addFlags(cmd, config.InstallSettings(core))
	if core == config.Core0 {
		addForeign(cmd, installForeign()...)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.ResolveInstall(core, c.sources(cmd))
		if err != nil {
			if c.commands.checks.install != nil {
				err = errors.Join(err, c.commands.checks.install(cfg))
			}
			return err
		}
		info, _ := debug.ReadBuildInfo()
		cfg.Version = versionText(version, info)
		cfg.Warnings = append(cfg.Warnings, foreignWarnings(cmd)...)
		log := c.logger(c.streams.err, cfg)
		return attempt(cmd.Context(), log, func(ctx context.Context) error {
			return c.commands.install(ctx, cfg, cmd.OutOrStdout(), log)
		})
	}
	return cmd
}

// installForeign are the options of "prefect agent install" of 0.11.0 for local agents.
func installForeign() []config.Flag {
	return []config.Flag{{Name: "import-path", Short: "p"}, {Name: "show-flow-logs", Short: "f", Means: "true"}}
}

// installKind accepts the name that "prefect agent install" of 0.11.0 wants.
func installKind(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return errors.New("missing argument NAME; use kubernetes")
	case args[0] != "kubernetes":
		return fmt.Errorf("the kind of agent that is named cannot be installed from here; use kubernetes%s", kindOf(args[0]))
	case len(args) > 1:
		return errors.New("unexpected extra argument behind kubernetes; write the name of the option before a value")
	}
	return nil
}
