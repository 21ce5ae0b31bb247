package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/control"
	"github.com/ladle-dev/ladle/depot"
)

// verifierName is the name by which containerd's image verifier plugin calls the program, which
// is the command verify-pull then.
const verifierName = "ladle-verify-pull"

// verifyTimeout is less than the plugin gives a verifier by default, 10 s (containerd v2.4.2,
// plugins/imageverifier).
const verifyTimeout = 8 * time.Second

// commandOf returns the arguments of the program, of which argv are the ones that it was
// called with.
func commandOf(argv []string) []string {
	args := []string{"ladle"}
	if len(argv) > 0 && path.Base(argv[0]) == verifierName {
		args = append(args, "verify-pull")
	}
	return append(args, argv[min(1, len(argv)):]...)
}

func verifyPullCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify-pull",
		Usage: "Say whether containerd may pull an image",
		Description: "For containerd's plugin io.containerd.image-verifier.v1.bindir, which calls the program by the name\n" +
			verifierName + " before each pull. Exit code 0 allows the pull; the reason is printed.\n" +
			"An image is refused if containerd would take a layer for one of its own that is, or may be, another one.",
		Flags: []cli.Flag{
			configFlag(),
			&cli.StringFlag{Name: "control", Usage: "`SOCKET` of the control service, in place of the file's", TakesFile: true},
			&cli.StringFlag{Name: "name", Usage: "`REF` of the image", Required: true},
			&cli.StringFlag{Name: "digest", Usage: "`DIGEST` of the image", Required: true},
			&cli.StringFlag{Name: "stdin-media-type", Usage: "`TYPE` of what is on standard input, which is not read"},
			&cli.DurationFlag{Name: "timeout", Value: verifyTimeout, Usage: "`TIME` for the answer; the plugin's per_verifier_timeout is longer"},
		},
		Action: runVerifyPull,
	}
}

func runVerifyPull(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cmd.Duration("timeout"))
	defer cancel()
	verdict, err := verifyPull(ctx, cmd)
	out := cmd.Root().Writer
	switch {
	case errors.Is(err, control.ErrNotRunning):
		verdict = &control.Verdict{Allowed: true, Reason: "no daemon is running that could serve a layer"}
	case err != nil:
		// The plugin reads the reason from standard output.
		verdict = &control.Verdict{Reason: fmt.Sprintf("it is not known whether a layer would be taken for another one: %v", err)}
	}
	if _, err := io.WriteString(out, "ladle: "+verdict.Reason+"\n"); err != nil {
		return err
	}
	if !verdict.Allowed {
		return reported{errors.New(verdict.Reason)}
	}
	return nil
}

func verifyPull(ctx context.Context, cmd *cli.Command) (*control.Verdict, error) {
	daemon, err := dialDaemon(ctx, cmd)
	if err != nil {
		return nil, err
	}
	defer daemon.Close()
	verdict, err := daemon.VerifyPull(ctx, &control.VerifyRequest{})
	if err != nil || verdict.Allowed {
		return verdict, err
	}
	image := control.ImageName{Name: cmd.String("name"), Digest: digest.Digest(cmd.String("digest"))}
	own, err := configuredDepot(ctx, cmd)
	if err != nil {
		return nil, err
	}
	layers, err := claimedLayers(ctx, own, image)
	if err != nil {
		// An earlier daemon takes it for the question that it has answered.
		return daemon.VerifyPull(ctx, &control.VerifyRequest{Image: &image})
	}
	if len(layers) == 0 {
		return &control.Verdict{Allowed: true, Reason: "the image has no layers"}, nil
	}
	return daemon.VerifyPull(ctx, &control.VerifyRequest{Layers: layers})
}

// claimedLayers returns what an image claims of its layers, for this machine's platform.
func claimedLayers(ctx context.Context, d depot.Depot, image control.ImageName) ([]control.ClaimedLayer, error) {
	ref, err := depot.Parse(repositoryOf(image.Name) + "@" + string(image.Digest))
	if err != nil {
		return nil, err
	}
	found, err := imagesOfMachine(ctx, d, ref)
	if err != nil {
		return nil, err
	}
	var all []control.ClaimedLayer
	for _, img := range found {
		var diffIDs []digest.Digest
		for _, d := range img.DiffIDs {
			diffIDs = append(diffIDs, digest.Digest(d))
		}
		for n, chain := range identity.ChainIDs(diffIDs) {
			layer := img.Manifest.Layers[n]
			all = append(all, control.ClaimedLayer{
				Chain: chain, Blob: layer.Digest, TOC: digest.Digest(layer.Annotations[estargz.TOCJSONDigestAnnotation]),
			})
		}
	}
	return all, nil
}

// imagesOfMachine reads the images of a reference that are for this machine's platform.
func imagesOfMachine(ctx context.Context, d depot.Depot, ref depot.Reference) ([]depot.Image, error) {
	origin, err := d.Open(ref)
	if err != nil {
		return nil, err
	}
	defer origin.Close()
	found, err := depot.ReadImages(ctx, origin, platforms.Only(platforms.DefaultSpec()))
	return found.All, err
}

// repositoryOf returns the reference of an image without tag and digest.
func repositoryOf(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if colon := strings.LastIndex(ref, ":"); colon > strings.LastIndex(ref, "/") {
		ref = ref[:colon]
	}
	return ref
}
