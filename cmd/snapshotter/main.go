package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd/log"
)

const usage = `usage:
  ladle serve [--config FILE] [--root DIR] [--address SOCKET] [--log-level LEVEL]
  ladle check-config [FILE]
  ladle version
`

// errUsage is returned for a command line that asks for nothing known; what is
// wrong has been said.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// From the first signal on, the next one has its default effect.
	context.AfterFunc(ctx, stop)
	os.Exit(exitCode(ctx, run(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}

func exitCode(ctx context.Context, err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	default:
		log.G(ctx).Error(err)
		return 1
	}
}

// run does what the command line args says.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return errUsage
	}
	switch args[0] {
	case "serve":
		cfg, err := serveConfig(args[1:], stderr)
		if err != nil {
			return err
		}
		return serve(ctx, cfg)
	case "check-config":
		return checkConfig(args[1:], stdout)
	case "version", "--version":
		_, err := fmt.Fprintln(stdout, "ladle", version())
		return err
	case "help", "-h", "--help":
		_, err := fmt.Fprint(stdout, usage)
		return err
	default:
		fmt.Fprintf(stderr, "ladle: unknown command %q\n%s", args[0], usage)
		return errUsage
	}
}
