package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/control"
)

// statusTimeout bounds how long a daemon is waited for that is starting.
const statusTimeout = time.Minute

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "Say what the running daemon is, has and does",
		Description: "Asks the daemon on the socket of its control service, as root. The exit code is 1 if none is\n" +
			"running. While one process of the service takes over from another, it waits.",
		Flags: []cli.Flag{
			configFlag(),
			&cli.StringFlag{Name: "control", Usage: "`SOCKET` of the control service, in place of the file's", TakesFile: true},
			&cli.BoolFlag{Name: "all", Usage: "all layers, and not only those that are being imported or filled"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON, with all layers (docs/command-line.md)"},
		},
		Action: runStatus,
	}
}

func runStatus(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	daemon, err := dialDaemon(ctx, cmd)
	if err != nil {
		return err
	}
	defer daemon.Close()
	st, err := daemon.Status(ctx)
	if err != nil {
		return err
	}
	if cmd.Bool("json") {
		return printJSON(cmd.Root().Writer, st)
	}
	return printStatus(cmd.Root().Writer, st, cmd.Bool("all"))
}

// dialDaemon connects to the control service that --control or the configuration names.
func dialDaemon(ctx context.Context, cmd *cli.Command) (*control.Client, error) {
	socket := cmd.String("control")
	if socket == "" {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return nil, err
		}
		socket = cfg.ControlSocket()
	}
	if socket == "" {
		return nil, fmt.Errorf("the configuration has no control service: control_address is empty")
	}
	client, err := control.Dial(ctx, socket)
	if os.IsPermission(err) {
		return nil, fmt.Errorf("%w: only root can ask the daemon", err)
	}
	return client, err
}

func printStatus(w io.Writer, st *control.Status, all bool) error {
	now := time.Now()
	var out strings.Builder
	fmt.Fprintf(&out, "ladle %s, process %d, up %s\n", st.Process.Version, st.Process.PID, shortDuration(now.Sub(st.Process.Started)))
	fmt.Fprintf(&out, "driver %s: %s\n", st.Driver.Name, st.Driver.Reason)
	fmt.Fprintf(&out, "store in %s: %s on disk; %s of the disk are free, %s are to stay so\n",
		st.Store.Root, bytesText(st.Store.Stored), bytesText(st.Store.Free), bytesText(st.Store.Reserve))
	if n := st.Store.Partial; n > 0 {
		fmt.Fprintf(&out, "%s are of imports that are not done, or were interrupted\n", bytesText(n))
	}
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nENDPOINT\tCOMMITTED\tREMOTE\tACTIVE\tVIEWS\tADDRESS")
	for _, e := range st.Endpoints {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\n", e.Name, e.Committed, e.Remote, e.Active, e.Views, e.Address)
	}
	_ = t.Flush() // out is in memory
	printLayersStatus(&out, st.Layers, all)
	printImports(&out, st.Imports, now)
	for n, f := range st.Failures {
		if n == 0 {
			fmt.Fprintln(&out, "\nimports that failed, the newest first")
		}
		fmt.Fprintf(&out, "%s  %s of %s: %s\n", f.Time.Local().Format(time.DateTime), shortDigest(f.Layer.String()), f.Image, f.Reason)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// printLayersStatus prints a line about the layers, and a table of those that are being filled
// or, if all is set, of all.
func printLayersStatus(out io.Writer, layers []control.Layer, all bool) {
	full, filling := 0, 0
	for _, l := range layers {
		if l.Full() {
			full++
		}
		if l.Filling {
			filling++
		}
	}
	fmt.Fprintf(out, "\n%d layers: %d full, %d partly, %d being filled\n", len(layers), full, len(layers)-full, filling)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	header := false
	for _, l := range layers {
		if !all && !l.Filling {
			continue
		}
		if !header {
			fmt.Fprintln(t, "\nLAYER\tDIGEST\tSIZE\tON DISK\tCHUNKS\tFULL\tSTATE\tIMAGE")
			header = true
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.Number, shortDigest(l.Layer.String()), bytesText(l.Size),
			bytesText(l.Stored), l.Chunks, percent(int64(l.Present), int64(l.Chunks)), stateOf(l), firstOf(l.Images))
	}
	_ = t.Flush()
}

func stateOf(l control.Layer) string {
	switch {
	case l.Filling:
		return "filling"
	case l.Open:
		return "in use"
	}
	return "-"
}

func firstOf(images []string) string {
	if len(images) == 0 {
		return "-"
	}
	return images[0]
}

func printImports(out io.Writer, imports []control.Import, now time.Time) {
	if len(imports) == 0 {
		return
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nIMPORT\tDONE\tOF\t\tRATE\tSINCE\tIMAGE")
	for _, i := range imports {
		since, rate := "waits", "-"
		if i.Since != nil {
			since, rate = shortDuration(now.Sub(*i.Since)), bytesText(i.Rate(now))+"/s"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shortDigest(i.Layer.String()), bytesText(i.Done), bytesText(i.Size),
			percent(i.Done, i.Size), rate, since, i.Image)
	}
	_ = t.Flush()
}

// percent returns how much n is of all. Less than all is less than 100 %.
func percent(n, all int64) string {
	if all == 0 || n == all {
		return "100 %"
	}
	return fmt.Sprintf("%d %%", n*100/all)
}

// shortDuration returns a duration without fractions of a second.
func shortDuration(d time.Duration) string { return d.Truncate(time.Second).String() }
