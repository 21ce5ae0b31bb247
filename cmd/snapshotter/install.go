package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"

	parts "github.com/ladle-dev/ladle"
	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/install"
)

func installCommand() *cli.Command {
	return &cli.Command{
		Name:  "install",
		Usage: "Set ladle up on this host, check it, or take it away",
		Description: "Puts the program, its configuration (if there is none), its systemd unit, and containerd's drop-in in\n" +
			"place, starts ladle, and restarts containerd when ladle answers and containerd accepts its new\n" +
			"configuration. Another run changes nothing, upgrades, or completes a run that was killed. When a step\n" +
			"fails, the files of before are put back.",
		Flags: append(podFlags(),
			&cli.BoolFlag{Name: "check", Usage: "change nothing: say whether this host and containerd fit, and ladle runs"},
			&cli.BoolFlag{Name: "dry-run", Usage: "change nothing: say what would be changed"},
			&cli.BoolFlag{Name: "undo", Usage: "take away what was installed, and put back what was there before"},
			&cli.BoolFlag{Name: "purge", Usage: "with --undo: remove the configuration and all state, too"},
			&cli.BoolFlag{Name: "force", Usage: "with --undo: also while containers are on ladle"},
			&cli.BoolFlag{Name: "set-default", Usage: "CRI (kubelet) uses ladle for all images, as a first run sets it"},
			&cli.StringSliceFlag{Name: "runtime", Usage: "CRI uses ladle only for pods whose RuntimeClass has the handler `NAME`; repeatable"},
			&cli.BoolFlag{Name: "register-only", Usage: "CRI does not use ladle: it is for clients that name their snapshotter"},
			&cli.StringFlag{Name: "flavor", Value: "auto", Usage: "`KIND` of host: auto, stock, k3s, rke2, kind"},
			&cli.BoolFlag{Name: "template", Usage: "with k3s and rke2 of before March 2026: write their template (docs/install.md)"},
			&cli.StringFlag{Name: "root-dir", Usage: "only write files, below `DIR`; no service is started or asked", TakesFile: true},
			&cli.StringFlag{Name: "prefix", Value: "/usr/local", Usage: "`DIR` of bin/ladle; /usr for the program of a package"},
			&cli.DurationFlag{Name: "timeout", Value: 2 * time.Minute, Usage: "`TIME` after which a step fails"},
			&cli.IntFlag{Name: "enter", Usage: "first enter the namespaces of process `PID`: 1 in a privileged pod with hostPID"},
			&cli.BoolFlag{Name: "json", Usage: "with --check: print JSON (docs/command-line.md)"},
		),
		Action: runInstall,
	}
}

func runInstall(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	if err := exclusive(cmd); err != nil {
		return err
	}
	if pid := cmd.Int("enter"); pid != 0 {
		argv, err := handOver(cmd, os.Args)
		if err != nil {
			return err
		}
		return enter(pid, argv)
	}
	o, err := installOptions(cmd)
	if err != nil {
		return err
	}
	switch {
	case cmd.Duration("every") > 0:
		return repeatCheck(ctx, cmd, func() error { return checkInstallation(ctx, cmd, o) })
	case cmd.Bool("check"):
		return checkInstallation(ctx, cmd, o)
	case cmd.Bool("undo"):
		return undoInstallation(ctx, cmd, o)
	case cmd.Bool("dry-run"):
		return dryRun(ctx, cmd, o)
	}
	changed, err := install.Install(ctx, o)
	if err != nil {
		return err
	}
	out := cmd.Root().Writer
	if len(changed) == 0 {
		_, err = fmt.Fprintln(out, "ladle is installed; nothing was changed")
		return err
	}
	_, err = fmt.Fprintf(out, "ladle %s is installed\n\n%s", version(), o.Daemon.Kubelet())
	return err
}

// exclusive refuses flags that do not go together.
func exclusive(cmd *cli.Command) error {
	for _, group := range [][]string{{"check", "dry-run", "undo"}, {"set-default", "register-only"}, {"runtime", "register-only"}, {"enter", "root-dir"}} {
		first := ""
		for _, name := range group {
			if !cmd.IsSet(name) {
				continue
			}
			if first != "" {
				return usageError{cmd.FullName(), fmt.Sprintf("--%s and --%s do not go together", first, name)}
			}
			first = name
		}
	}
	for flag, of := range map[string]string{"purge": "undo", "force": "undo", "json": "check", "every": "check"} {
		if cmd.IsSet(flag) && !cmd.IsSet(of) {
			return usageError{cmd.FullName(), fmt.Sprintf("--%s needs --%s", flag, of)}
		}
	}
	return nil
}

func installOptions(cmd *cli.Command) (install.Options, error) {
	root := cmd.String("root-dir")
	cfg, given, err := configToHave(cmd, root)
	if err != nil {
		return install.Options{}, err
	}
	o := install.Options{
		Root: root, Prefix: prefixOf(cmd), Flavor: cmd.String("flavor"), Template: cmd.Bool("template"),
		Daemon:  install.Daemon{Address: cfg.Address, Root: cfg.Root, Config: config.DefaultPath, ImageService: cfg.CRI.Address},
		Timeout: cmd.Duration("timeout"), Force: cmd.Bool("force"),
		Step: func(step string) { fmt.Fprintln(cmd.Root().Writer, "-", step) },
		Say:  func(text string) { fmt.Fprintln(cmd.Root().Writer, text) },
	}
	if root == "" {
		o.Services = install.Systemctl{}
	}
	if cmd.IsSet("set-default") || cmd.IsSet("runtime") || cmd.IsSet("register-only") {
		o.Mode = &install.Mode{Default: cmd.Bool("set-default"), Runtimes: cmd.StringSlice("runtime")}
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return o, err
	}
	o.Files = install.Files{
		Version: version(), Program: program, Config: parts.ExampleConfig, Unit: parts.Unit, DropIn: parts.ContainerdDropIn,
	}
	if given != nil {
		o.Files.Config, o.Files.ReplaceConfig = given, true
	}
	return o, nil
}

// hostConfig is the daemon's configuration on the host whose files are below root.
func hostConfig(root string) (config.Config, error) {
	cfg, err := config.Load(filepath.Join(root, config.DefaultPath))
	if errors.Is(err, fs.ErrNotExist) {
		return config.Default(), nil
	}
	return cfg, err
}

func dryRun(ctx context.Context, cmd *cli.Command, o install.Options) error {
	changed, err := install.Plan(ctx, o)
	if err != nil {
		return err
	}
	out := cmd.Root().Writer
	if len(changed) == 0 {
		_, err = fmt.Fprintln(out, "all files are as they should be")
	}
	for _, name := range changed {
		if _, err := fmt.Fprintln(out, "would change", name); err != nil {
			return err
		}
	}
	return err
}

func undoInstallation(ctx context.Context, cmd *cli.Command, o install.Options) error {
	images, err := install.Undo(ctx, o)
	if err != nil {
		return err
	}
	out := cmd.Root().Writer
	if len(images) > 0 {
		fmt.Fprintln(out, "These images were only in ladle. They have to be pulled again (docs/install.md):")
		for _, i := range images {
			fmt.Fprintln(out, " ", i)
		}
	}
	if cmd.Bool("purge") {
		if err := install.Purge(o); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(out, "ladle is not installed any more")
	return err
}
