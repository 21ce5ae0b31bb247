package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/control"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "Say which credentials the daemon has for an image, and what it can read of it",
		ArgsUsage: "REF",
		Description: "Asks the daemon, which asks all its sources of credentials for the repository of the image, and\n" +
			"tries to read the layers of the image that this node does not have as a whole.",
		Flags: []cli.Flag{
			configFlag(),
			&cli.StringFlag{Name: "control", Usage: "`SOCKET` of the control service, in place of the file's", TakesFile: true},
			&cli.BoolFlag{Name: "json", Usage: "print JSON (docs/command-line.md)"},
		},
		Action: runExplain,
	}
}

func runExplain(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "REF")
	if err != nil {
		return err
	}
	ref, err := reference(cmd, args[0])
	if err != nil {
		return err
	}
	if ref.Layout != "" {
		return usageError{cmd.FullName(), "an image layout needs no credentials"}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*statusTimeout)
	defer cancel()
	daemon, err := dialDaemon(ctx, cmd)
	if err != nil {
		return err
	}
	defer daemon.Close()
	e, err := daemon.Explain(ctx, &control.ExplainRequest{Image: ref.Name})
	if err != nil {
		return err
	}
	if cmd.Bool("json") {
		return printJSON(cmd.Root().Writer, e)
	}
	return printExplanation(cmd.Root().Writer, e)
}

func printExplanation(w io.Writer, e *control.Explanation) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", e.Image)
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nHOST\tSOURCE\tANSWER\tUNTIL\tREASON")
	for _, h := range e.Hosts {
		if len(h.Answers) == 0 {
			fmt.Fprintf(t, "%s\t-\t-\t-\tthere are no sources of credentials\n", h.Host)
		}
		for _, a := range h.Answers {
			until := "-"
			if a.Until != nil {
				until = a.Until.Local().Format(time.DateTime)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", h.Host, a.Source, a.Result, until, oneLine(a.Reason))
		}
	}
	_ = t.Flush() // into memory
	if len(e.Layers) == 0 {
		fmt.Fprintln(&out, "\nno layer of the image is known to the daemon")
	} else {
		fmt.Fprintln(t, "\nLAYER\tON DISK\tSTATE\tREASON")
	}
	for _, l := range e.Layers {
		disk := "-"
		if l.State != control.LayerNotLazy {
			disk = percent(int64(l.Present), int64(l.Chunks))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", shortDigest(l.Layer.String()), disk, l.State, oneLine(l.Reason))
	}
	_ = t.Flush()
	_, err := io.WriteString(w, out.String())
	return err
}

// oneLine returns text in one line, or "-" if it is empty.
func oneLine(text string) string {
	if text == "" {
		return "-"
	}
	return strings.ReplaceAll(text, "\n", "; ")
}
