package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Exit codes.
const (
	failed     = 1
	wrongUsage = 2
)

// reported is an error that was printed or logged already.
type reported struct{ error }

func (r reported) Unwrap() error { return r.error }

// usageError is an error of the command line.
type usageError struct {
	command string // such as "ladle serve"
	problem string
}

func (e usageError) Error() string { return e.command + ": " + e.problem }

func main() {
	ctx := untilSignal(context.Background())
	err := commandLine(os.Stdout, os.Stderr).Run(ctx, commandOf(os.Args))
	os.Exit(exitCode(err, os.Stderr))
}

// exitCode prints err, unless that was done, and returns the exit code for it.
func exitCode(err error, stderr io.Writer) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s\nSee '%s --help'.\n", usage, usage.command)
		return wrongUsage
	case errors.As(err, new(reported)):
		return failed
	default:
		fmt.Fprintln(stderr, "ladle:", err)
		return failed
	}
}
