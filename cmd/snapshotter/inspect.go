package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/containerd/platforms"
	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/inspect"
	"github.com/ladle-dev/ladle/layer"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "Say of each layer of an image whether it is lazy, and why",
		ArgsUsage: "REF",
		Description: "REF is an image in a registry, or oci:PATH[:TAG] for an OCI image layout, a directory or a tar\n" +
			"archive. Nothing is downloaded but the layers' indexes.",
		Flags: []cli.Flag{
			configFlag(),
			platformFlag(platforms.Format(platforms.DefaultSpec())),
			&cli.BoolFlag{Name: "json", Usage: "print JSON (docs/command-line.md)"},
		},
		Action: runInspect,
	}
}

func runInspect(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "REF")
	if err != nil {
		return err
	}
	ref, err := reference(cmd, args[0])
	if err != nil {
		return err
	}
	var opts inspect.Options
	if opts.Platforms, err = wantedPlatforms(cmd); err != nil {
		return err
	}
	cfg, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	opts.Import, opts.Trust = cfg.Import.Enable, layer.Trust(cfg.Index.Trust)
	d, err := newDepot(ctx, cfg)
	if err != nil {
		return err
	}
	origin, err := d.Open(ref)
	if err != nil {
		return err
	}
	defer origin.Close()
	report, err := inspect.Inspect(ctx, origin, opts)
	if err != nil {
		return err
	}
	report.Reference = ref.String()
	if cmd.Bool("json") {
		return printJSON(cmd.Root().Writer, report)
	}
	return printReport(cmd.Root().Writer, report)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printReport(w io.Writer, r inspect.Report) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n%s, %s\n", r.Reference, r.Digest, r.MediaType)
	for _, img := range r.Images {
		fmt.Fprintf(&out, "\n%s, %s\n\n", img.Platform, img.Digest)
		printLayers(&out, img.Layers)
		t := img.Totals
		fmt.Fprintf(&out, "\n%d of %d layers are lazy: %s of %s are fetched before a container can run\n",
			t.Lazy, len(img.Layers), bytesText(t.BeforeRun), bytesText(t.Size))
		if t.Conversion > 0 {
			fmt.Fprintf(&out, "a conversion (ladle convert) would save at most %s of that\n", bytesText(t.Conversion))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// printLayers prints the table of layers, and below it the reasons.
func printLayers(out io.Writer, layers []inspect.Layer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tFORMAT\tLAZY\tSIZE\tCONTENTS\tFILES\tCHUNKS\tINDEX\tPREFETCH\tBEFORE RUN\tDIGEST")
	for n, l := range layers {
		lazy, index := "no", "-\t-\t-\t-\t-"
		if l.Lazy {
			lazy = "yes"
		}
		if x := l.Index; x != nil {
			index = fmt.Sprintf("%s\t%d\t%d\t%s\t%s", bytesText(x.Contents), x.Files, x.Chunks, bytesText(x.Size), bytesText(x.Prefetch))
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", n, l.Format, lazy, bytesText(l.Size), index, bytesText(l.BeforeRun), shortDigest(l.Digest.String()))
	}
	_ = t.Flush() // out is in memory
	for n, l := range layers {
		switch {
		case l.Fetched == inspect.Imported:
			fmt.Fprintf(out, "layer %d is imported, and fetched whole, at its first pull, %s: %s\n", n, laterPulls(l), l.Reason)
		case l.Lazy && (l.Index.Source == inspect.Bound || l.Index.Source == inspect.Attached):
			fmt.Fprintf(out, "layer %d is lazy by an index that is not in its blob: %s\n", n, l.Index.Source)
		case l.Reason != "":
			fmt.Fprintf(out, "layer %d is not lazy: %s\n", n, l.Reason)
		case l.Fetched == inspect.Downloaded:
			fmt.Fprintf(out, "layer %d is lazy, and downloaded nevertheless: containerd does so above a layer that is neither lazy nor imported\n", n)
		}
	}
}

// laterPulls says how an imported layer is fetched after its first pull.
func laterPulls(l inspect.Layer) string {
	switch {
	case l.Again == inspect.Lazily:
		return "and read lazily at later ones"
	case l.Format == inspect.Zstd || l.Format == inspect.ZstdChunked:
		return "and at later ones, since its zstd cannot be read from the middle"
	}
	return "and at later ones"
}

// shortDigest returns a digest with twelve digits.
func shortDigest(d string) string {
	algorithm, digits, _ := strings.Cut(d, ":")
	return algorithm + ":" + digits[:min(12, len(digits))]
}
