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
			return err
		}
		info, _ := debug.ReadBuildInfo()
		cfg.Version = versionText(version, info)
		cfg.Warnings = append(cfg.Warnings, foreignWarnings(cmd)...)
		log := c.logger(c.streams.err, cfg.SlogLevel())
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
	case len(args) > 1:
		return fmt.Errorf("unexpected extra argument %q", args[1])
	case args[0] != "kubernetes":
		return fmt.Errorf("%q is not an agent that can be installed from here; use kubernetes", args[0])
	}
	return nil
}
