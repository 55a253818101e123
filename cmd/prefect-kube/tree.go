package main

import (
	"context"
	"errors"
	"fmt"

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
		Args:  noArguments,
	}), c.install(config.Core1, &cobra.Command{Use: "install", Args: noArguments}))
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
		return unknownCommand(cmd, args[0])
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

// agentKind accepts what "prefect agent start" of 0.11.0 calls the agent option.
func agentKind(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0 || len(args) == 1 && args[0] == "kubernetes":
		return nil
	case args[0] != "kubernetes":
		return fmt.Errorf("the kind of agent that is named is not available here; use kubernetes%s", kindOf(args[0]))
	default:
		return errors.New("unexpected extra argument behind kubernetes; write the name of the option before a value")
	}
}

// kindOf says where the other kinds of agents are.
func kindOf(name string) string {
	if about, ok := foreignCommands()[name]; ok {
		return ": " + about
	}
	return ""
}

func (c *cli) start(core string, cmd *cobra.Command) *cobra.Command {
	addFlags(cmd, config.AgentSettings(core))
	if core == config.Core0 {
		addForeign(cmd, foreignFlags()...)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.ResolveAgent(core, c.sources(cmd))
		if err = errors.Join(err, cfg.CheckCredential()); err != nil {
			return c.withOthers(cmd, err, cfg)
		}
		cfg.Warnings = append(cfg.Warnings, foreignWarnings(cmd)...)
		log := c.service(cfg)
		return attempt(cmd.Context(), log, func(ctx context.Context) error {
			return c.commands.start(ctx, cfg, log)
		})
	}
	return cmd
}

// withOthers adds to the faults of a configuration those that the command itself finds.
func (c *cli) withOthers(cmd *cobra.Command, err error, cfg config.Agent) error {
	if c.commands.checks.agent == nil {
		return err
	}
	return errors.Join(err, c.commands.checks.agent(cmd.Context(), cfg))
}

func (c *cli) dev() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a Prefect backend for development and tests",
		Args:  noArguments,
	}
	addFlags(cmd, config.DevSettings())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.ResolveDev(c.sources(cmd))
		if err != nil {
			return err
		}
		log := c.service(cfg)
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
