package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/convert"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "Make a lazily readable image of another one",
		ArgsUsage: "SRC DST",
		Description: "SRC and DST are images in registries, or oci:PATH:TAG for OCI image layouts. DST gets its name when\n" +
			"all of it is there. The same SRC and flags give the same digests.",
		Flags: []cli.Flag{
			configFlag(),
			&cli.StringFlag{Name: "format", Value: string(convert.EStargz), Usage: "`FORMAT` of the layers: estargz, zstd:chunked"},
			platformFlag(anyPlatform),
			&cli.StringFlag{
				Name: "prefetch-list", TakesFile: true,
				Usage: "`FILE` with the paths that a start reads, one per line, in that order",
			},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON (docs/command-line.md)"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say nothing of the progress"},
		},
		Action: runConvert,
	}
}

func runConvert(ctx context.Context, cmd *cli.Command) error {
	opts, finish, err := conversionOptions(ctx, cmd)
	if err != nil {
		return err
	}
	progress := newProgress(cmd.Root().ErrWriter, cmd.Bool("quiet"))
	opts.Progress = conversionProgress{progress}
	result, err := convert.Convert(ctx, opts)
	progress.end()
	if err := errors.Join(err, finish()); err != nil {
		return err
	}
	if cmd.Bool("json") {
		return printJSON(cmd.Root().Writer, newConversion(result))
	}
	return printConversion(cmd.Root().Writer, cmd.Args().Get(1), result)
}

// conversionOptions returns what the command line asks for, and a function that closes
// origin and target.
func conversionOptions(ctx context.Context, cmd *cli.Command) (opts convert.Options, finish func() error, err error) {
	args, err := arguments(cmd, "SRC", "DST")
	if err != nil {
		return opts, nil, err
	}
	src, err := reference(cmd, args[0])
	if err != nil {
		return opts, nil, err
	}
	dst, err := reference(cmd, args[1])
	if err != nil {
		return opts, nil, err
	}
	if opts.Format, err = convert.ParseFormat(cmd.String("format")); err != nil {
		return opts, nil, usageError{cmd.FullName(), "--format: " + err.Error()}
	}
	if opts.Platforms, err = wantedPlatforms(cmd); err != nil {
		return opts, nil, err
	}
	if list := cmd.String("prefetch-list"); list != "" {
		if opts.Prefetch, err = readList(list); err != nil {
			return opts, nil, err
		}
	}
	d, err := configuredDepot(ctx, cmd)
	if err != nil {
		return opts, nil, err
	}
	if opts.Origin, err = d.Open(src); err != nil {
		return opts, nil, err
	}
	if opts.Target, err = d.Create(dst); err != nil {
		return opts, nil, errors.Join(err, opts.Origin.Close())
	}
	return opts, func() error { return errors.Join(opts.Target.Close(), opts.Origin.Close()) }, nil
}

// conversionProgress is a convert.Progress.
type conversionProgress struct{ *progress }

// Advanced implements convert.Progress.
func (p conversionProgress) Advanced(layer digest.Digest, s convert.Stage, done, of int64) {
	p.advanced(layer, state{string(s), done, of})
}

// Finished implements convert.Progress.
func (p conversionProgress) Finished(l convert.Layer) {
	line := fmt.Sprintf("%s %s, %s", l.Action, shortDigest(l.Source.Digest.String()), bytesText(l.Source.Size))
	if l.Action == convert.Converted {
		line += fmt.Sprintf(" -> %s, %s", shortDigest(l.Digest.String()), bytesText(l.Size))
	}
	p.finished(l.Source.Digest, line)
}

// readList returns the lines of a file that are not empty.
func readList(name string) (paths []string, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); ; {
		if !s.Scan() {
			return paths, s.Err()
		}
		if line := strings.TrimSuffix(s.Text(), "\r"); line != "" {
			paths = append(paths, line)
		}
	}
}

// conversion is the JSON form of a result, which docs/command-line.md documents.
type conversion struct {
	Schema       int              `json:"schema"`
	MediaType    string           `json:"mediaType"`
	Digest       digest.Digest    `json:"digest"`
	Attestations int              `json:"attestationsLeftOut"`
	Images       []convertedImage `json:"images"`
}

type convertedImage struct {
	Platform string           `json:"platform"`
	Digest   digest.Digest    `json:"digest"`
	Layers   []convertedLayer `json:"layers"`
}

type convertedLayer struct {
	Action     convert.Action `json:"action"`
	Source     digest.Digest  `json:"source"`
	SourceSize int64          `json:"sourceSize"`
	Digest     digest.Digest  `json:"digest"`
	Size       int64          `json:"size"`
	MediaType  string         `json:"mediaType"`
	DiffID     digest.Digest  `json:"diffID"`
	Prefetch   bool           `json:"prefetch"`
}

func newConversion(r convert.Result) conversion {
	all := conversion{Schema: 1, MediaType: r.Root.MediaType, Digest: r.Root.Digest, Attestations: r.Attestations}
	for _, img := range r.Images {
		of := convertedImage{Platform: platforms.Format(img.Platform), Digest: img.Digest, Layers: []convertedLayer{}}
		for _, l := range img.Layers {
			of.Layers = append(of.Layers, convertedLayer{
				l.Action, l.Source.Digest, l.Source.Size, l.Digest, l.Size, l.MediaType, l.DiffID, l.Reordered,
			})
		}
		all.Images = append(all.Images, of)
	}
	return all
}

func printConversion(w io.Writer, dst string, r convert.Result) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n%s\n", dst, r.Root.Digest)
	for _, img := range r.Images {
		var size int64
		did := map[convert.Action]int{}
		for _, l := range img.Layers {
			size += l.Size
			did[l.Action]++
		}
		fmt.Fprintf(&out, "%s: %d layers converted, %d copied, %d kept as they are, %s\n",
			platforms.Format(img.Platform), did[convert.Converted], did[convert.Copied], did[convert.Kept], bytesText(size))
	}
	if r.Attestations > 0 {
		fmt.Fprintf(&out, "%d attestations of the image before the conversion are left out\n", r.Attestations)
	}
	_, err := io.WriteString(w, out.String())
	return err
}
