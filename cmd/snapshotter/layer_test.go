package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// image is an image of one lazy layer, in a registry.
type image struct {
	*registrytest.Registry
	labels map[string]string
	large  []byte // content of the file /large
	small  []byte // content of /small
}

// newImage makes an image whose bytes do not compress, in chunks of 64 KiB.
func newImage(t *testing.T) *image { return newImageAt(t, registrytest.Options{}) }

// newImageAt is newImage at a registry with options.
func newImageAt(t *testing.T, opts registrytest.Options) *image {
	t.Helper()
	i := &image{Registry: registrytest.New(t, opts)}
	i.large, i.small = noise(8<<20), noise(5000)
	var tarball bytes.Buffer
	w := tar.NewWriter(&tarball)
	for _, f := range []struct {
		name string
		data []byte
	}{{"large", i.large}, {"small", i.small}} {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data)), Mode: 0o644, ModTime: time.Unix(1e9, 0)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := estargz.Build(io.NewSectionReader(bytes.NewReader(tarball.Bytes()), 0, int64(tarball.Len())),
		estargz.WithChunkSize(64<<10), estargz.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	blob, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	d := i.AddBlob(blob).String()
	i.labels = map[string]string{
		snapshots.LabelSnapshotRef:                 "layer",
		"containerd.io/snapshot/cri.image-ref":     i.Ref("app:1"),
		"containerd.io/snapshot/cri.layer-digest":  d,
		"containerd.io/snapshot/cri.image-layers":  d,
		"containerd.io/snapshot/stargz/toc.digest": b.TOCDigest().String(),
		snapshots.LabelSnapshotDiffID:              digest.FromBytes(tarball.Bytes()).String(),
	}
	return i
}

func noise(size int) []byte {
	r := rand.NewChaCha8([32]byte{byte(size)})
	b := make([]byte, size)
	_, _ = r.Read(b) // it never fails
	return b
}

// pull makes the image's layer the snapshot "layer" of client.
func (i *image) pull(t *testing.T, client snapshots.Snapshotter) {
	t.Helper()
	_, err := client.Prepare(t.Context(), "extract", "", snapshots.WithLabels(i.labels))
	if !errdefs.IsAlreadyExists(err) {
		t.Fatalf("Prepare of a lazy layer: %v", err)
	}
}

// want is what a reader answers to "read off size" and "fault off size".
func (i *image) want(off, size int64) string { return digested(i.large[off:off+size], nil) }
