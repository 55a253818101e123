package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

func (c *cli) root(name string) *cobra.Command {
	root := group(&cobra.Command{
		Use:           name,
		Short:         "Start Prefect flow runs as Kubernetes Jobs",
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(helpful(root.HelpFunc()))
	root.AddCommand(c.agent(), c.resourceManager(), c.render(), c.doctor(), c.dev(), versionCommand())
	return root
}

func (c *cli) agent() *cobra.Command {
	kubernetes := group(&cobra.Command{Use: "kubernetes", Short: "Agent with the flags of Prefect 1.4.1"})
	kubernetes.AddCommand(c.start(config.Core1, &cobra.Command{
		Use:   "start",
		Short: "Start a Kubernetes agent",
		Args:  cobra.NoArgs,
	}), c.install(config.Core1, &cobra.Command{Use: "install", Args: cobra.NoArgs}))
	start := c.start(config.Core0, &cobra.Command{
		Use:       "start [kubernetes]",
		Short:     "Start a Kubernetes agent, with the flags of Prefect 0.11.0",
		Args:      agentKind,
		ValidArgs: []string{"kubernetes"},
	})
	agent := group(&cobra.Command{Use: "agent", Short: "Manage Prefect agents"})
	install := c.install(config.Core0, &cobra.Command{Use: "install kubernetes", Args: installKind, ValidArgs: []string{"kubernetes"}})
	agent.AddCommand(start, install, kubernetes)
	return agent
}

// group makes a command that has only subcommands. Alone it prints its help, as
// click does; cobra would do so for a wrong name too and call it success.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return fmt.Errorf("no such command: %q%s", args[0], meant("", args[0], names(cmd)))
	}
	return cmd
}

func names(cmd *cobra.Command) []string {
	var found []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			found = append(found, sub.Name())
		}
	}
	return found
}

func meant(prefix, name string, known []string) string {
	if best := config.Nearest(name, known); best != "" {
		return "; did you mean " + prefix + best + "?"
	}
	return ""
}

// agentKind accepts what "prefect agent start" of 0.11.0 calls the agent option.
func agentKind(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0 || len(args) == 1 && args[0] == "kubernetes":
		return nil
	case len(args) == 1:
		return fmt.Errorf("%q is not an agent that is available here; use kubernetes", args[0])
	default:
		return fmt.Errorf("unexpected extra argument %q", args[1])
	}
}

func (c *cli) start(core string, cmd *cobra.Command) *cobra.Command {
	addFlags(cmd, config.AgentSettings(core))
	if core == config.Core0 {
		addForeign(cmd, foreignFlags()...)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.ResolveAgent(core, c.sources(cmd))
		if err != nil {
			return err
		}
		if err := cfg.CheckCredential(); err != nil {
			return err
		}
		cfg.Warnings = append(cfg.Warnings, foreignWarnings(cmd)...)
		log := c.service(cfg.SlogLevel())
		return attempt(cmd.Context(), log, func(ctx context.Context) error {
			return c.commands.start(ctx, cfg, log)
		})
	}
	return cmd
}

func (c *cli) dev() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a Prefect backend for development and tests",
		Args:  cobra.NoArgs,
	}
	addFlags(cmd, config.DevSettings())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.ResolveDev(c.sources(cmd))
		if err != nil {
			return err
		}
		log := c.service(cfg.SlogLevel())
		return attempt(cmd.Context(), log, func(ctx context.Context) error { return c.commands.dev(ctx, cfg, log) })
	}
	return cmd
}

// sources hands the flags that were given, and the environment, to package config.
func (c *cli) sources(cmd *cobra.Command) config.Sources {
	given := map[string][]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if v, ok := f.Value.(*flagValues); ok && !v.foreign {
			given[f.Name] = v.given
		}
	})
	return config.Sources{Env: c.env, HomeDir: c.variable("HOME"), Flags: given}
}

func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := asUnknown(err)
	if !ok {
		return err
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return fmt.Errorf("no such option: %s%s", unknown, meant("--", strings.TrimLeft(unknown, "-"), known))
}
