package differ

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blob is a layer that is written to a content store.
type blob struct {
	content   content.Store
	leases    leases.Manager
	ref       string // of the upload; "" for one that nobody knows
	labels    map[string]string
	mediaType string
	compress  compression.Compression
}

// setMediaType sets the form of the layer: what containerd's differ has, gzip by default.
func (b *blob) setMediaType(config diff.Config) error {
	if config.Compressor != nil {
		return fmt.Errorf("a compressor of the caller: %w", errdefs.ErrNotImplemented)
	}
	b.mediaType = config.MediaType
	switch config.MediaType {
	case "":
		b.mediaType, b.compress = ocispec.MediaTypeImageLayerGzip, compression.Gzip
	case ocispec.MediaTypeImageLayer:
		b.compress = compression.Uncompressed
	case ocispec.MediaTypeImageLayerGzip:
		b.compress = compression.Gzip
	case ocispec.MediaTypeImageLayerZstd:
		b.compress = compression.Zstd
	default:
		return fmt.Errorf("a layer of media type %q: %w", config.MediaType, errdefs.ErrNotImplemented)
	}
	return nil
}

// abortTimeout bounds the call that deletes an unfinished upload.
const abortTimeout = 10 * time.Second

// write stores the layer of which tar writes the uncompressed bytes. An upload that fails is
// deleted, unless the caller has given it a name.
func (b *blob) write(ctx context.Context, tar func(io.Writer) error) (desc ocispec.Descriptor, err error) {
	ctx, held, err := hold(ctx, b.leases)
	if err != nil {
		return desc, fmt.Errorf("lease: %w", err)
	}
	defer func() { err = errors.Join(err, held.end(ctx, desc.Digest)) }()
	ref := b.ref
	if ref == "" {
		ref = "ladle-diff-" + rand.Text()
	}
	upload, err := b.content.Writer(ctx, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{MediaType: b.mediaType}))
	if err != nil {
		return desc, fmt.Errorf("content store: %w", err)
	}
	desc, err = b.upload(ctx, upload, tar)
	if err == nil {
		return desc, nil
	}
	err = errors.Join(err, upload.Close())
	if b.ref == "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		err = errors.Join(err, b.content.Abort(ctx, ref))
	}
	return ocispec.Descriptor{}, err
}

// upload writes and commits the layer.
func (b *blob) upload(ctx context.Context, upload content.Writer, tar func(io.Writer) error) (desc ocispec.Descriptor, err error) {
	if b.ref != "" {
		if err := upload.Truncate(0); err != nil { // what an earlier call has left
			return desc, err
		}
	}
	diffID, err := b.writeTo(upload, tar)
	if err != nil {
		return desc, err
	}
	labels := uncompressedLabel(b.labels, diffID)
	dgst := upload.Digest()
	err = upload.Commit(ctx, 0, dgst, content.WithLabels(labels))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return desc, fmt.Errorf("commit: %w", err)
	}
	info, err := b.content.Info(ctx, dgst)
	if err == nil {
		err = b.label(ctx, info, diffID)
	}
	return ocispec.Descriptor{MediaType: b.mediaType, Digest: dgst, Size: info.Size}, err
}

// uploadBuffer is what is sent to the content store at once. Each write is a call that waits
// for its answer, and what compresses writes a few hundred bytes at a time.
const uploadBuffer = 1 << 20

// writeTo writes the layer to upload, compressed, and returns the digest of the tar.
func (b *blob) writeTo(upload io.Writer, tar func(io.Writer) error) (digest.Digest, error) {
	buffer := bufio.NewWriterSize(upload, uploadBuffer)
	compressed, err := compression.CompressStream(buffer, b.compress)
	if err != nil {
		return "", err
	}
	diffID := digest.Canonical.Digester()
	err = tar(io.MultiWriter(compressed, diffID.Hash()))
	if err = errors.Join(err, compressed.Close()); err != nil {
		return "", err
	}
	return diffID.Digest(), buffer.Flush()
}

func uncompressedLabel(given map[string]string, diffID digest.Digest) map[string]string {
	all := map[string]string{labels.LabelUncompressed: diffID.String()}
	for k, v := range given {
		if k != labels.LabelUncompressed {
			all[k] = v
		}
	}
	return all
}

// label sets the label of the diffID of a blob that was there before, without it.
func (b *blob) label(ctx context.Context, info content.Info, diffID digest.Digest) error {
	if info.Labels[labels.LabelUncompressed] != "" {
		return nil
	}
	if info.Labels == nil {
		info.Labels = map[string]string{}
	}
	info.Labels[labels.LabelUncompressed] = diffID.String()
	_, err := b.content.Update(ctx, info, "labels."+labels.LabelUncompressed)
	return err
}
