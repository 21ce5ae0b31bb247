package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/test/image"
)

// forge attaches an index to an image in the place of the one that ladle index has attached. It
// has another digest for the chunk of a file, whose path it returns.
func (l lab) forge(img *image.Image) (path string) {
	l.Helper()
	subject, err := img.Digest()
	if err != nil {
		l.Fatal(err)
	}
	repository, _, _ := strings.Cut(img.Tag(), ":")
	repo, err := name.NewRepository(l.Registry.Addr + "/" + repository)
	if err != nil {
		l.Fatal(err)
	}
	tag := repo.Tag(subject.Algorithm + "-" + subject.Hex)
	var list ocispec.Index
	l.getDocument(tag, &list)
	var artifact ocispec.Manifest
	l.getDocument(repo.Digest(list.Manifests[0].Digest.String()), &artifact)
	of := &artifact.Layers[len(artifact.Layers)-1]
	layer, err := remote.Layer(repo.Digest(of.Digest.String()), remote.WithContext(l.Context()))
	if err != nil {
		l.Fatal(err)
	}
	index := l.readAll(layer.Compressed())
	path = l.lie(img, index)
	if err := remote.WriteLayer(repo, static.NewLayer(index, types.MediaType(of.MediaType)), remote.WithContext(l.Context())); err != nil {
		l.Fatal(err)
	}
	of.Digest = godigest.FromBytes(index)
	body := l.encoded(artifact)
	l.putDocument(repo.Digest(godigest.FromBytes(body).String()), document{body, types.OCIManifestSchema1})
	list.Manifests[0].Digest, list.Manifests[0].Size = godigest.FromBytes(body), int64(len(body))
	l.putDocument(tag, document{l.encoded(list), types.OCIImageIndex})
	return path
}

// lie changes the digest of a chunk in an index of an image's topmost layer: the chunk of a file
// that is small enough to be one.
func (l lab) lie(img *image.Image, index []byte) (path string) {
	l.Helper()
	layers, err := img.Layers()
	if err != nil {
		l.Fatal(err)
	}
	for r := tar.NewReader(bytes.NewReader(l.readAll(layers[len(layers)-1].Uncompressed()))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			l.Fatal("no file of the layer is one chunk")
		}
		if err != nil {
			l.Fatal(err)
		}
		sum := sha256.Sum256(l.readAll(io.NopCloser(r), nil))
		at := bytes.Index(index, sum[:])
		if at < 0 || h.Typeflag != tar.TypeReg {
			continue
		}
		index[at] ^= 1
		const sumAt, summed = 8, 12 // of the CRC-32C, and of what it is of
		binary.LittleEndian.PutUint32(index[sumAt:], crc32.Checksum(index[summed:], crc32.MakeTable(crc32.Castagnoli)))
		return "/" + h.Name
	}
}

// document is a manifest or an index.
type document struct {
	body      []byte
	mediaType types.MediaType
}

func (d document) RawManifest() ([]byte, error)          { return d.body, nil }
func (d document) MediaType() (types.MediaType, error)   { return d.mediaType, nil }
func (d document) Digest() (v1.Hash, error)              { return hashOf(d.body) }
func (l lab) putDocument(ref name.Reference, d document) { l.must(remote.Put(ref, d)) }

func (l lab) getDocument(ref name.Reference, v any) {
	l.Helper()
	found, err := remote.Get(ref, remote.WithContext(l.Context()))
	if err != nil {
		l.Fatal(err)
	}
	l.must(json.Unmarshal(found.Manifest, v))
}

func (l lab) encoded(v any) []byte {
	l.Helper()
	b, err := json.Marshal(v)
	l.must(err)
	return b
}

func (l lab) readAll(r io.ReadCloser, err error) []byte {
	l.Helper()
	l.must(err)
	b, err := io.ReadAll(r)
	l.must(errors.Join(err, r.Close()))
	return b
}

func (l lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}
