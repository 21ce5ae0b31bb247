package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/indexer"
)

func indexCommand() *cli.Command {
	return &cli.Command{
		Name:      "index",
		Usage:     "Make the indexes of an image's plain layers, and attach them to it",
		ArgsUsage: "REF",
		Description: "REF is an image in a registry, or oci:PATH[:TAG] for an OCI image layout. Each plain layer is read\n" +
			"once, and its index stored beside the image, which does not change. Doing it again changes nothing.",
		Flags: []cli.Flag{
			configFlag(),
			platformFlag(anyPlatform),
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON (docs/command-line.md)"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say nothing of the progress"},
		},
		Action: runIndex,
	}
}

func runIndex(ctx context.Context, cmd *cli.Command) error {
	opts, finish, err := indexingOptions(ctx, cmd)
	if err != nil {
		return err
	}
	progress := newProgress(cmd.Root().ErrWriter, cmd.Bool("quiet"))
	opts.Progress = indexingProgress{progress}
	images, err := indexer.Index(ctx, opts)
	progress.end()
	if err := errors.Join(err, finish()); err != nil {
		return err
	}
	if cmd.Bool("json") {
		return printJSON(cmd.Root().Writer, newIndexing(images))
	}
	return printIndexing(cmd.Root().Writer, images)
}

// indexingOptions returns what the command line asks for, and a function that closes what it
// has opened.
func indexingOptions(ctx context.Context, cmd *cli.Command) (opts indexer.Options, finish func() error, err error) {
	args, err := arguments(cmd, "REF")
	if err != nil {
		return opts, nil, err
	}
	ref, err := reference(cmd, args[0])
	if err != nil {
		return opts, nil, err
	}
	if opts.Platforms, err = wantedPlatforms(cmd); err != nil {
		return opts, nil, err
	}
	d, err := configuredDepot(ctx, cmd)
	if err != nil {
		return opts, nil, err
	}
	if opts.Attachment, err = d.Attach(ref); err != nil {
		return opts, nil, err
	}
	if opts.Origin, err = d.Open(ref); err != nil {
		return opts, nil, errors.Join(err, opts.Attachment.Close())
	}
	return opts, func() error { return errors.Join(opts.Attachment.Close(), opts.Origin.Close()) }, nil
}

// indexingProgress is an indexer.Progress.
type indexingProgress struct{ *progress }

// Advanced implements indexer.Progress.
func (p indexingProgress) Advanced(layer digest.Digest, done, of int64) {
	p.advanced(layer, state{"reading", done, of})
}

// Finished implements indexer.Progress.
func (p indexingProgress) Finished(l indexer.Layer) {
	p.finished(l.Digest, fmt.Sprintf("%s %s, %s%s", l.Action, shortDigest(l.Digest.String()), bytesText(l.Size), indexedText(l)))
}

// indexedText says more of what became of a layer.
func indexedText(l indexer.Layer) string {
	switch l.Action {
	case indexer.Indexed:
		return fmt.Sprintf(": index of %s", bytesText(l.Document.Size))
	case indexer.Left:
		return ": " + l.Reason
	}
	return ""
}

// indexing is the JSON form of a result, which docs/command-line.md documents.
type indexing struct {
	Schema int            `json:"schema"`
	Images []indexedImage `json:"images"`
}

type indexedImage struct {
	Platform string         `json:"platform"`
	Digest   digest.Digest  `json:"digest"`
	Artifact digest.Digest  `json:"artifact,omitempty"`
	Layers   []indexedLayer `json:"layers"`
}

type indexedLayer struct {
	Action    indexer.Action `json:"action"`
	Reason    string         `json:"reason,omitempty"`
	Digest    digest.Digest  `json:"digest"`
	Size      int64          `json:"size"`
	Index     digest.Digest  `json:"index,omitempty"`
	IndexSize int64          `json:"indexSize,omitempty"`
}

func newIndexing(images []indexer.Image) indexing {
	all := indexing{Schema: 1, Images: []indexedImage{}}
	for _, img := range images {
		of := indexedImage{Platform: platforms.Format(img.Platform), Digest: img.Digest, Artifact: img.Artifact.Digest, Layers: []indexedLayer{}}
		for _, l := range img.Layers {
			of.Layers = append(of.Layers, indexedLayer{l.Action, l.Reason, l.Digest, l.Size, l.Document.Digest, l.Document.Size})
		}
		all.Images = append(all.Images, of)
	}
	return all
}

func printIndexing(w io.Writer, images []indexer.Image) error {
	var out strings.Builder
	for _, img := range images {
		var size int64
		did := map[indexer.Action]int{}
		for _, l := range img.Layers {
			size += l.Document.Size
			did[l.Action]++
		}
		fmt.Fprintf(&out, "%s, %s: %d layers indexed, %d have an index of their own\n",
			platforms.Format(img.Platform), img.Digest, did[indexer.Indexed], did[indexer.Lazy])
		for n, l := range img.Layers {
			if l.Action == indexer.Left {
				fmt.Fprintf(&out, "layer %d has no index: %s\n", n, l.Reason)
			}
		}
		if img.Artifact.Digest != "" {
			fmt.Fprintf(&out, "attached: %s, %s\n", img.Artifact.Digest, bytesText(size))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}
