package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/externaltoc"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// workers fixes in how many parts a layer is compressed, and so its bytes.
const workers = 4

// externalTOCOf names, on a layer of the TOC image, the layer it describes.
const externalTOCOf = "containerd.io/snapshot/stargz/layer.digest"

// conversion is one image on its way to a lazy format.
type conversion struct {
	from        *Image
	to          Format
	dir         layout.Path // empty; receives the result
	prioritized []string    // patterns
}

func convert(ctx context.Context, c conversion) error {
	layers, err := c.from.Layers()
	if err != nil {
		return fmt.Errorf("image: %s: %w", c.from.Name, err)
	}
	config, err := c.from.ConfigFile()
	if err != nil {
		return fmt.Errorf("image: %s: %w", c.from.Name, err)
	}
	var blobs, tocs []blob
	for _, layer := range layers {
		b, toc, err := c.layer(ctx, layer)
		if err != nil {
			return fmt.Errorf("image: %s to %s: %w", c.from.Name, c.to, err)
		}
		blobs = append(blobs, b)
		if toc != nil {
			tocs = append(tocs, *toc)
		}
	}
	if _, err := appendImage(c.dir, config.Config, blobs, nil); err != nil {
		return err
	}
	if len(tocs) == 0 {
		return nil
	}
	_, err = appendImage(c.dir, v1.Config{}, tocs, map[string]string{tocAnnotation: "yes"})
	return err
}

// layer converts one layer; toc is nil unless the format keeps it outside.
func (c conversion) layer(ctx context.Context, layer v1.Layer) (_ blob, toc *blob, err error) {
	plain, size, remove, err := uncompressed(layer)
	if err != nil {
		return blob{}, nil, err
	}
	defer remove()
	enc := newEncoding(c.to)
	options := append(enc.options, estargz.WithContext(ctx), estargz.WithParallelism(workers))
	if c.to == EStargzPrefetch {
		names, err := matching(io.NewSectionReader(plain, 0, size), c.prioritized)
		if err != nil {
			return blob{}, nil, err
		}
		options = append(options, estargz.WithPrioritizedFiles(names))
	}
	built, err := estargz.Build(io.NewSectionReader(plain, 0, size), options...)
	if err != nil {
		return blob{}, nil, err
	}
	b, err := c.store(built)
	if err != nil {
		return blob{}, nil, err
	}
	b.mediaType = enc.mediaType
	for k, v := range enc.metadata {
		b.annotations[k] = v
	}
	if enc.external == nil {
		return b, nil, nil
	}
	t, err := c.storeTOC(enc.external, b.digest)
	return b, &t, err
}

// encoding is what estargz.Build needs to write one format.
type encoding struct {
	options   []estargz.Option
	mediaType types.MediaType
	metadata  map[string]string            // filled by the build, for the annotations
	external  *externaltoc.GzipCompression // holds the TOC after the build
}

func newEncoding(f Format) encoding {
	switch f {
	case ZstdChunked:
		metadata := map[string]string{}
		return encoding{mediaType: "application/vnd.oci.image.layer.v1.tar+zstd", metadata: metadata,
			options: []estargz.Option{estargz.WithCompression(zstdCompression{
				Decompressor: &zstdchunked.Decompressor{},
				Compressor:   &zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault, Metadata: metadata},
			})}}
	case EStargzExternalTOC:
		external := externaltoc.NewGzipCompressionWithLevel(nil, gzip.DefaultCompression).(*externaltoc.GzipCompression)
		return encoding{mediaType: types.OCILayer, external: external,
			options: []estargz.Option{estargz.WithCompression(external)}}
	default:
		return encoding{mediaType: types.OCILayer,
			options: []estargz.Option{estargz.WithCompressionLevel(gzip.DefaultCompression)}}
	}
}

type zstdCompression struct {
	*zstdchunked.Decompressor
	*zstdchunked.Compressor
}

// store reads a built layer to its end into the layout.
func (c conversion) store(built *estargz.Blob) (_ blob, err error) {
	defer func() { err = errors.Join(err, built.Close()) }()
	w, err := newBlobWriter(c.dir)
	if err != nil {
		return blob{}, err
	}
	if _, err := io.Copy(w, built); err != nil {
		w.discard()
		return blob{}, err
	}
	size, err := built.UncompressedSize()
	if err != nil {
		w.discard()
		return blob{}, err
	}
	b, err := w.commit()
	if err != nil {
		return blob{}, err
	}
	if b.diffID, err = v1.NewHash(built.DiffID().String()); err != nil {
		return blob{}, err
	}
	b.annotations = map[string]string{
		estargz.TOCJSONDigestAnnotation:         built.TOCDigest().String(),
		estargz.StoreUncompressedSizeAnnotation: strconv.FormatInt(size, 10),
	}
	return b, nil
}

func (c conversion) storeTOC(from *externaltoc.GzipCompression, of v1.Hash) (blob, error) {
	w, err := newBlobWriter(c.dir)
	if err != nil {
		return blob{}, err
	}
	if _, err := from.WriteTOCTo(w); err != nil {
		w.discard()
		return blob{}, err
	}
	b, err := w.commit()
	b.mediaType = types.OCILayer
	b.diffID = b.digest // not a tar; nobody asks
	b.annotations = map[string]string{externalTOCOf: of.String()}
	return b, err
}

// uncompressed is a temporary file with the layer's tar.
func uncompressed(layer v1.Layer) (_ *os.File, size int64, remove func(), err error) {
	in, err := layer.Uncompressed()
	if err != nil {
		return nil, 0, nil, err
	}
	defer in.Close()
	f, err := os.CreateTemp("", "ladle-layer-")
	if err != nil {
		return nil, 0, nil, err
	}
	remove = func() { f.Close(); os.Remove(f.Name()) }
	w := &holes{file: f}
	if size, err = io.Copy(w, in); err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		remove()
		return nil, 0, nil, fmt.Errorf("%s: %w", filepath.Base(f.Name()), err)
	}
	return f, size, remove, nil
}

// holes writes a new file from its start, and leaves out what is all zeros: of a file
// of gigabytes of them nothing is to be written to disk.
type holes struct {
	file *os.File
	at   int64
}

func (h *holes) Write(p []byte) (int, error) {
	zeros := len(p) > 0 && p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
	if !zeros {
		if n, err := h.file.WriteAt(p, h.at); err != nil {
			return n, err
		}
	}
	h.at += int64(len(p))
	return len(p), nil
}
