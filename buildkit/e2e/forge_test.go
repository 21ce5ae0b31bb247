package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"slices"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ladle-dev/ladle/test/image"
)

// bareZstdChunked is zstd:chunked as it is made by tools that do not set the
// annotation of eStargz.
const bareZstdChunked image.Format = "zstdchunked-bare"

const tocAnnotation = estargz.TOCJSONDigestAnnotation

// forged is a layer as an image names it, which need not be true.
type forged struct {
	blob        []byte
	diffID      v1.Hash
	mediaType   types.MediaType
	annotations map[string]string
}

// forged is a v1.Layer.
func (f forged) Digest() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(f.blob))
	return h, err
}
func (f forged) DiffID() (v1.Hash, error)            { return f.diffID, nil }
func (f forged) Size() (int64, error)                { return int64(len(f.blob)), nil }
func (f forged) MediaType() (types.MediaType, error) { return f.mediaType, nil }
func (f forged) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(f.blob)), nil
}
func (f forged) Uncompressed() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }

// claiming is f with the diffID of another layer.
func (f forged) claiming(other forged) forged {
	f.diffID = other.diffID
	return f
}

// withTOC is f with another digest of its table of contents, "" for none.
func (f forged) withTOC(digest string) forged {
	f.annotations = maps.Clone(f.annotations)
	delete(f.annotations, tocAnnotation)
	if digest != "" {
		f.annotations[tocAnnotation] = digest
	}
	return f
}

// tarOf is a tar of files.
func (l lab) tarOf(files map[string]string) []byte {
	l.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o644, Size: int64(len(files[path]))})
		if err == nil {
			_, err = io.WriteString(w, files[path])
		}
		if err != nil {
			l.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		l.Fatal(err)
	}
	return out.Bytes()
}

// pack makes a layer of a tar.
func (l lab) pack(plain []byte, format image.Format, level int) forged {
	l.Helper()
	if format == image.Gzip {
		return l.gzipped(plain)
	}
	metadata := map[string]string{}
	option := estargz.WithCompressionLevel(level)
	f := forged{mediaType: types.OCILayer}
	if format != image.EStargz {
		f.mediaType = types.OCILayerZStd
		option = estargz.WithCompression(zstdCompression{
			&zstdchunked.Decompressor{}, &zstdchunked.Compressor{CompressionLevel: zstd.EncoderLevel(level), Metadata: metadata}})
	}
	built, err := estargz.Build(io.NewSectionReader(bytes.NewReader(plain), 0, int64(len(plain))), option)
	if err == nil {
		f.blob, err = io.ReadAll(built)
	}
	if err == nil {
		err = built.Close()
	}
	if err == nil {
		f.diffID, err = v1.NewHash(built.DiffID().String())
	}
	if err != nil {
		l.Fatal(err)
	}
	f.annotations = metadata
	if format == bareZstdChunked {
		return f
	}
	return f.withTOC(built.TOCDigest().String())
}

type zstdCompression struct {
	*zstdchunked.Decompressor
	*zstdchunked.Compressor
}

func (l lab) gzipped(plain []byte) forged {
	l.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(plain)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		l.Fatal(err)
	}
	diffID, _, err := v1.SHA256(bytes.NewReader(plain))
	if err != nil {
		l.Fatal(err)
	}
	return forged{out.Bytes(), diffID, types.OCILayer, nil}
}

// unpacked is the tar of an eStargz layer, with its table of contents.
func (l lab) unpacked(f forged) []byte {
	l.Helper()
	r, err := gzip.NewReader(bytes.NewReader(f.blob))
	if err != nil {
		l.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		l.Fatal(err)
	}
	return plain
}

// spoiled is an eStargz layer with other bytes in the place of a file's.
func (l lab) spoiled(f forged, file string) forged {
	l.Helper()
	r, err := estargz.Open(io.NewSectionReader(bytes.NewReader(f.blob), 0, int64(len(f.blob))))
	if err != nil {
		l.Fatal(err)
	}
	chunk, ok := r.ChunkEntryForOffset(file, 0)
	if !ok {
		l.Fatalf("the layer has no %s", file)
	}
	f.blob = slices.Clone(f.blob)
	f.blob[chunk.Offset+12] ^= 0xff // behind the header of a gzip member
	return f
}

// pushed is an image of the registry.
func (l lab) pushed(repository, tag string, layers ...forged) (ref string) {
	l.Helper()
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	var err error
	for _, f := range layers {
		img, err = mutate.Append(img, mutate.Addendum{Layer: f, MediaType: f.mediaType, Annotations: f.annotations})
		if err != nil {
			l.Fatal(err)
		}
	}
	config := withPlatform(img)
	config.Config.Env = []string{"PATH=/bin"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		l.Fatal(err)
	}
	to, err := name.NewTag(l.Registry.Addr + "/" + repository + ":" + tag)
	if err == nil {
		err = remote.Write(to, img)
	}
	if err != nil {
		l.Fatal(err)
	}
	return l.Link.Addr() + "/" + repository + ":" + tag
}

// shell is a layer with a shell.
func (l lab) shell() forged {
	l.Helper()
	img := l.image(l.Push("busybox", image.EStargz))
	layers, err := img.Layers()
	if err != nil {
		l.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		l.Fatal(err)
	}
	in, err := layers[0].Compressed()
	if err != nil {
		l.Fatal(err)
	}
	defer in.Close()
	f := forged{mediaType: manifest.Layers[0].MediaType, annotations: manifest.Layers[0].Annotations}
	if f.blob, err = io.ReadAll(in); err == nil {
		f.diffID, err = layers[0].DiffID()
	}
	if err != nil {
		l.Fatal(err)
	}
	return f
}
