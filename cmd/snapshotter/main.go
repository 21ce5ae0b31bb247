package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/takeover"
)

const usage = `usage:
  ladle serve [--config FILE] [--root DIR] [--address SOCKET] [--log-level LEVEL]
  ladle check-config [FILE]
  ladle version
`

// reported is the exit code for an error that was printed or logged already.
type reported int

const (
	failed     reported = 1
	wrongUsage reported = 2
)

func (r reported) Error() string { return fmt.Sprintf("exit code %d", int(r)) }

func main() {
	ctx := untilSignal(context.Background())
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Stdout, os.Stderr), os.Stderr))
}

func exitCode(err error, stderr io.Writer) int {
	var code reported
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &code):
		return int(code)
	default:
		fmt.Fprintln(stderr, "ladle:", err)
		return int(failed)
	}
}

// run runs the subcommand in args.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return wrongUsage
	}
	switch args[0] {
	case "serve":
		received := takeover.Receive(ctx) // first, since readers may be waiting
		cfg, err := serveConfig(args[1:], stderr)
		if err != nil {
			return err
		}
		if err := serve(ctx, cfg, received); err != nil {
			log.G(ctx).Error(err)
			return failed
		}
		return nil
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
		return wrongUsage
	}
}
