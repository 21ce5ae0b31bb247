package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/config"
)

// podFlags are those that the DaemonSet of deploy/helm needs.
func podFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config-from", Usage: "the daemon's configuration is to have the content of `FILE`, which is opened before --enter", TakesFile: true},
		&cli.DurationFlag{Name: "every", Usage: "with --check: check again after each `TIME` until SIGTERM, and print what is not as before"},
	}
}

// handOver returns argv for the program in other namespaces: the file of --config-from, which is
// not there, is one that this process has open, and exec leaves open.
func handOver(cmd *cli.Command, argv []string) ([]string, error) {
	name := cmd.String("config-from")
	if name == "" {
		return argv, nil
	}
	fd, err := unix.Open(name, unix.O_RDONLY, 0) // without O_CLOEXEC
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return append(withoutFlag(argv, "config-from"), fmt.Sprintf("--config-from=/proc/self/fd/%d", fd)), nil
}

// configToHave returns the configuration that the daemon will have on the host whose files are
// below root, and its text if --config-from names one, else nil.
func configToHave(cmd *cli.Command, root string) (cfg config.Config, given []byte, err error) {
	name := cmd.String("config-from")
	if name == "" {
		cfg, err = hostConfig(root)
		return cfg, nil, err
	}
	if given, err = os.ReadFile(name); err != nil {
		return cfg, nil, err
	}
	if cfg, err = config.Load(name); err != nil {
		return cfg, nil, fmt.Errorf("the configuration of --config-from: %w", err)
	}
	return cfg, given, nil
}

// repeatCheck checks until ctx ends, and prints a result that is another one than before.
func repeatCheck(ctx context.Context, cmd *cli.Command, check func() error) error {
	out := cmd.Root().Writer
	var before string
	for {
		var said bytes.Buffer
		cmd.Root().Writer = &said
		err := check()
		cmd.Root().Writer = out
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.As(err, new(reported)):
			fmt.Fprintln(&said, "ladle:", err)
		}
		if now := said.String(); now != before {
			before = now
			if _, err := fmt.Fprint(out, now); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(cmd.Duration("every")):
		}
	}
}

// prefixOf returns the directory of bin/ladle: /usr, if the program is there and nothing else is
// asked for. So a package's program stays the one that runs.
func prefixOf(cmd *cli.Command) string {
	if path, err := os.Readlink("/proc/self/exe"); err == nil && path == "/usr/bin/ladle" && !cmd.IsSet("prefix") {
		return "/usr"
	}
	return cmd.String("prefix")
}
