package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/log"
	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/takeover"
)

// commandLine returns the program's commands.
func commandLine(stdout, stderr io.Writer) *cli.Command {
	root := &cli.Command{
		Name:  "ladle",
		Usage: "lazily pulled containers and builds for containerd",
		Description: "Exit codes: 0, 1 when something failed, 2 when the command line was wrong.\n" +
			"Completion: source <(ladle completion bash), also for zsh and fish.",
		Writer: stdout, ErrWriter: stderr,
		HideVersion:           true,
		EnableShellCompletion: true,
		ExitErrHandler:        func(context.Context, *cli.Command, error) {}, // main has them
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "version", Usage: "print the version", Local: true},
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			switch {
			case cmd.Bool("version"):
				return printVersion(cmd)
			case cmd.Args().Present():
				return usageError{"ladle", fmt.Sprintf("unknown command %q", cmd.Args().First())}
			}
			return usageError{"ladle", "usage: ladle COMMAND; a command is needed"}
		},
		ConfigureShellCompletionCommand: func(c *cli.Command) {
			c.Hidden = false
			c.Usage = "Print the completion for a shell: bash, zsh, fish"
		},
		Commands: []*cli.Command{serveCommand(), checkConfigCommand(), statusCommand(), explainCommand(), verifyPullCommand(), inspectCommand(), convertCommand(), indexCommand(), installCommand(), versionCommand()},
	}
	_ = root.Walk(func(c *cli.Command) error { // never fails
		c.OnUsageError = wrongFlags
		c.HideHelpCommand = c != root
		return nil
	})
	return root
}

// wrongFlags is called for flags that a command does not have, and values that they cannot
// have.
func wrongFlags(_ context.Context, cmd *cli.Command, err error, _ bool) error {
	return usageError{cmd.FullName(), err.Error()}
}

// arguments returns the arguments of a command, which are as many as it names.
func arguments(cmd *cli.Command, names ...string) ([]string, error) {
	args := cmd.Args().Slice()
	switch {
	case len(args) > len(names):
		return nil, usageError{cmd.FullName(), fmt.Sprintf("unexpected %q", args[len(names)])}
	case len(args) < len(names):
		return nil, usageError{cmd.FullName(), strings.Join(names[len(args):], " ") + " is missing"}
	}
	return args, nil
}

// configFlag is the flag of all commands that read the configuration.
func configFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "config", Value: config.DefaultPath, TakesFile: true,
		Usage: "configuration `FILE`; the default one need not exist",
	}
}

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "Run the snapshotter daemon",
		Description: "Runs until SIGTERM or SIGINT. SIGINT unmounts everything; after SIGTERM the next process of the\n" +
			"systemd unit takes the mounts over.",
		Flags: []cli.Flag{
			configFlag(),
			&cli.StringFlag{Name: "root", Usage: "`DIR` of all state, in place of the file's root", TakesFile: true},
			&cli.StringFlag{Name: "address", Usage: "`SOCKET` of the main endpoint, in place of the file's address", TakesFile: true},
			&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` in place of the file's log.level: trace, debug, info, warn or error"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			received := takeover.Receive(ctx) // first, since readers may be waiting
			cfg, err := serveConfig(cmd)
			if err != nil {
				return err
			}
			if err := serve(ctx, cfg, received); err != nil {
				log.G(ctx).Error(err)
				return reported{err}
			}
			return nil
		},
	}
}

func checkConfigCommand() *cli.Command {
	return &cli.Command{
		Name:        "check-config",
		Usage:       "Say whether a configuration is valid, or what is wrong with it",
		ArgsUsage:   "[FILE]",
		Description: "Reads FILE, by default " + config.DefaultPath + ", as serve would.",
		Action:      func(_ context.Context, cmd *cli.Command) error { return checkConfig(cmd) },
	}
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "Print the version",
		Action: func(_ context.Context, cmd *cli.Command) error {
			if _, err := arguments(cmd); err != nil {
				return err
			}
			return printVersion(cmd)
		},
	}
}

func printVersion(cmd *cli.Command) error {
	_, err := fmt.Fprintln(cmd.Root().Writer, "ladle", version())
	return err
}
