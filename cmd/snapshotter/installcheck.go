package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/control"
	"github.com/ladle-dev/ladle/fs"
	"github.com/ladle-dev/ladle/install"
	"github.com/ladle-dev/ladle/store"
)

// checkInstallation is the flag --check.
func checkInstallation(ctx context.Context, cmd *cli.Command, o install.Options) error {
	status := func(ctx context.Context) (*control.Status, error) {
		cfg, err := hostConfig(o.Root)
		if err != nil {
			return nil, err
		}
		daemon, err := control.Dial(ctx, cfg.ControlSocket())
		if err != nil {
			return nil, err
		}
		defer daemon.Close()
		return daemon.Status(ctx)
	}
	report, err := install.Check(ctx, o, install.Probes{
		Running: func(ctx context.Context) (string, error) {
			st, err := status(ctx)
			if err != nil {
				return "", err
			}
			return st.Process.Version, nil
		},
		Driver: func(ctx context.Context) (string, string, error) {
			if st, err := status(ctx); err == nil {
				return st.Driver.Name, st.Driver.Reason, nil
			}
			return tryDrivers(ctx, o.Daemon.Root)
		},
	})
	if err != nil {
		return err
	}
	out := cmd.Root().Writer
	if cmd.Bool("json") {
		err = printJSON(out, report)
	} else {
		err = printFindings(out, report)
	}
	if err == nil && !report.OK {
		return reported{errors.New("a check failed")}
	}
	return err
}

func printFindings(out io.Writer, r install.Report) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(out, "%-8s %s: %s\n", f.Result, f.Name, f.Text); err != nil {
			return err
		}
		if f.Remedy != "" {
			if _, err := fmt.Fprintf(out, "%-8s -> %s\n", "", f.Remedy); err != nil {
				return err
			}
		}
	}
	return nil
}

// tryDrivers returns the driver that a daemon with its state in root would choose. It tries in a directory
// beside what the daemon has there, or will have.
func tryDrivers(ctx context.Context, root string) (name, reason string, err error) {
	for {
		if _, err := os.Stat(root); err == nil {
			break
		}
		root = filepath.Dir(root)
	}
	dir, err := os.MkdirTemp(root, ".ladle-check-")
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	ctx = log.WithLogger(ctx, logrus.NewEntry(quiet))
	trees, err := fs.New(ctx, fs.Options{
		Root: dir, Layers: func(store.ID) (fs.Layer, error) { return nil, os.ErrNotExist },
	})
	if err != nil {
		return "", "", err
	}
	return trees.Driver(), trees.Reason(), trees.Close(ctx)
}
