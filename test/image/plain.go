package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// plainTypes are the media types of layers of the plain formats.
var plainTypes = map[Format]types.MediaType{
	Gzip: types.OCILayer, Zstd: types.OCILayerZStd, Uncompressed: types.OCIUncompressedLayer,
}

// writeLayer stores a layer in a plain format. write writes its tar.
func writeLayer(l layout.Path, f Format, write func(io.Writer) error) (blob, error) {
	w, err := newBlobWriter(l)
	if err != nil {
		return blob{}, err
	}
	zw, err := compressor(w, f)
	diffID := sha256.New()
	if err == nil {
		err = write(io.MultiWriter(zw, diffID))
	}
	if err == nil {
		err = zw.Close()
	}
	if err != nil {
		w.discard()
		return blob{}, err
	}
	b, err := w.commit()
	b.diffID = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(diffID.Sum(nil))}
	b.mediaType = plainTypes[f]
	return b, err
}

// compressor compresses what is written to w as a plain format says.
func compressor(w io.Writer, f Format) (io.WriteCloser, error) {
	switch f {
	case Gzip:
		return gzip.NewWriterLevel(w, gzip.DefaultCompression)
	case Zstd:
		return zstd.NewWriter(w)
	case Uncompressed:
		return asItIs{w}, nil
	}
	return nil, fmt.Errorf("image: %q is no plain format", f)
}

type asItIs struct{ io.Writer }

func (asItIs) Close() error { return nil }

// repack stores an image in another plain format. Its layers keep their diffIDs.
func repack(ctx context.Context, from *Image, to Format, l layout.Path) error {
	layers, err := from.Layers()
	if err != nil {
		return fmt.Errorf("image: %s: %w", from.Name, err)
	}
	config, err := from.ConfigFile()
	if err != nil {
		return fmt.Errorf("image: %s: %w", from.Name, err)
	}
	var blobs []blob
	for _, layer := range layers {
		b, err := writeLayer(l, to, func(w io.Writer) (err error) {
			in, err := layer.Uncompressed()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, in.Close()) }()
			_, err = io.Copy(io.MultiWriter(w, contextWriter{ctx}), in)
			return err
		})
		if err != nil {
			return fmt.Errorf("image: %s to %s: %w", from.Name, to, err)
		}
		blobs = append(blobs, b)
	}
	_, err = appendImage(l, config.Config, blobs, nil)
	return err
}
