package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/tree"
)

// concurrent bounds the layers that are looked at at the same time.
const concurrent = 8

// Options say what is looked at.
type Options struct {
	Platforms platforms.Matcher // which images of an index; nil: all
	Import    bool              // whether ladle imports layers without an index
	Trust     layer.Trust       // which indexes it uses that are not in the blobs of layers
}

// Inspect reports on the images of an origin. An error is one of the origin. That a layer
// cannot be read lazily is none.
func Inspect(ctx context.Context, o depot.Origin, opts Options) (Report, error) {
	found, err := depot.ReadImages(ctx, o, opts.Platforms)
	if err != nil {
		return Report{}, err
	}
	report := Report{Schema: Schema, MediaType: found.Root.MediaType, Digest: found.Root.Digest}
	i := inspection{origin: o, examiner: layer.NewExaminer(), imports: opts.Import, trust: opts.Trust}
	for _, img := range found.All {
		of, err := i.image(ctx, img)
		if err != nil {
			return Report{}, err
		}
		report.Images = append(report.Images, of)
	}
	return report, nil
}

type inspection struct {
	origin   depot.Origin
	examiner *layer.Examiner
	imports  bool
	trust    layer.Trust
}

func (i inspection) image(ctx context.Context, img depot.Image) (Image, error) {
	layers := make([]Layer, len(img.Manifest.Layers))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(concurrent)
	find := i.documentsOf(ctx, img)
	for n, desc := range img.Manifest.Layers {
		work.Go(func() (err error) {
			layers[n], err = i.layer(ctx, img.Bytes, desc)
			layers[n].DiffID = digest.Digest(img.DiffIDs[n])
			if err == nil && layers[n].Fetched == Imported {
				err = i.addDocument(ctx, &layers[n], find)
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return Image{}, err
	}
	download(layers)
	of := Image{Platform: platforms.Format(img.Platform), MediaType: img.MediaType, Digest: img.Digest, Layers: layers}
	for n := range layers {
		l := &layers[n]
		l.gain()
		of.Totals.Size += l.Size
		of.Totals.BeforeRun += l.BeforeRun
		of.Totals.Conversion += l.Conversion
		if l.Lazy {
			of.Totals.Lazy++
		}
	}
	return of, nil
}

// download marks the layers that containerd downloads: the first one that is neither lazy
// nor imported, and all above it.
func download(layers []Layer) {
	downloads := false
	for n := range layers {
		if downloads = downloads || layers[n].Fetched == Downloaded; downloads {
			layers[n].Transfer = Transfer{Fetched: Downloaded}
		}
	}
}

// layer looks at one layer. Errors of registries are errors: nothing is known then.
func (i inspection) layer(ctx context.Context, manifest []byte, desc ocispec.Descriptor) (Layer, error) {
	l := Layer{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size, Transfer: Transfer{Fetched: Downloaded}}
	l.Uncompressed, _ = strconv.ParseInt(desc.Annotations[estargz.StoreUncompressedSizeAnnotation], 10, 64)
	if strings.HasPrefix(desc.MediaType, erofsType) {
		l.Format, l.Reason = EROFS, "ladle does not read layers that are EROFS images; containerd unpacks them for its erofs snapshotter only"
		return l, nil
	}
	if len(desc.URLs) > 0 {
		l.Format, l.Reason = Unknown, "its blob is not in the registry"
		return l, nil
	}
	external := func(ctx context.Context) (io.ReadCloser, int64, error) {
		toc, size, err := depot.ExternalTOC(ctx, i.origin, desc.Digest)
		if errors.Is(err, index.ErrNoTOC) || isMissing(err) {
			err = fmt.Errorf("%w: %w", layer.ErrNotLazy, err)
		}
		return toc, size, err
	}
	blob := i.origin.Blob(desc.Digest)
	x, err := i.examiner.Examine(ctx, blob, external)
	switch {
	case err == nil:
		l.Format, l.Index = formatOf(x), indexOf(x)
		if err = x.Verify(manifest, desc.Digest); err == nil {
			l.Lazy, l.Fetched = true, Lazily
			return l, nil
		}
	case errors.Is(err, layer.ErrNotLazy), errors.Is(err, layer.ErrInvalid), errors.Is(err, fetch.ErrNoRanges):
		var unread error
		if l.Format, unread = plain(ctx, blob, desc.Size); unread != nil {
			return l, unread
		}
	default:
		return l, fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	l.Reason = err.Error()
	if i.imports && l.Format != Unknown {
		l.Transfer = Transfer{Imported, again(l.Format, err)}
	}
	return l, nil
}

// again says how a layer that was imported since it cannot be read lazily, and err says why, is
// fetched at later pulls: a blob of zstd can be decompressed from the beginning of each of its
// frames on, and but for zstd:chunked there is mostly one.
func again(f Format, err error) Fetched {
	if f == Zstd || errors.Is(err, fetch.ErrNoRanges) {
		return Imported
	}
	return Lazily
}

// isMissing reports whether err is that the image with the external TOCs is not there.
func isMissing(err error) bool {
	return errors.Is(err, fetch.ErrNotFound) || errors.Is(err, os.ErrNotExist)
}

// erofsType starts the media types of layers that are EROFS images (containerd 2.4,
// core/images/mediatypes.go).
const erofsType = "application/vnd.erofs.layer."

func formatOf(x layer.Examined) Format {
	switch {
	case x.External:
		return EStargzExternalTOC
	case x.Compression == index.Zstd:
		return ZstdChunked
	}
	return EStargz
}

func indexOf(x layer.Examined) *Index {
	i := &Index{
		Source: InBlob, Digest: x.TOCDigest, CompressedDigest: x.CompressedTOCDigest, Size: x.TOCSize,
		Chunks: len(x.Chunks), Prefetch: x.PrefetchSize,
	}
	if x.External {
		i.Source = InImage
	}
	i.count(x.Root, map[*tree.Inode]bool{})
	return i
}

// gain fills in what is fetched, and what a conversion would save.
func (l *Layer) gain() {
	l.BeforeRun = l.Size
	if l.Fetched == Lazily {
		l.BeforeRun = min(l.Size, l.Index.Size+l.Index.Prefetch)
	} else if l.Format != EROFS && l.Format != Unknown {
		l.Conversion = l.Size
	}
}

// plain tells the format of a blob without an index by its first bytes.
func plain(ctx context.Context, blob depot.Blob, size int64) (Format, error) {
	const atTar = 257 // where the magic of a tar is
	start := make([]byte, min(size, 512))
	r, err := blob.Range(ctx, 0, int64(len(start)))
	if err != nil {
		return "", err
	}
	defer r.Close()
	if _, err := io.ReadFull(r, start); err != nil {
		return "", err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return Gzip, nil
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(start) > 4 && start[0]>>4 == 5 && bytes.Equal(start[1:4], []byte{0x2a, 0x4d, 0x18}):
		return Zstd, nil
	case len(start) == 512 && (bytes.HasPrefix(start[atTar:], []byte("ustar")) || bytes.Equal(start, make([]byte, 512))):
		return Tar, nil
	}
	return Unknown, nil
}

// count counts the regular files below dir, each once.
func (i *Index) count(dir *tree.Inode, seen map[*tree.Inode]bool) {
	for _, e := range dir.Dir.Entries() {
		switch {
		case e.Inode.IsDir():
			i.count(e.Inode, seen)
		case e.Inode.IsRegular() && !seen[e.Inode]:
			seen[e.Inode] = true
			i.Files++
			i.Contents += e.Inode.Size
		}
	}
}
