package layer_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// TestImportWithoutRanges has a registry that ignores ranges: not even the end of a blob can
// be had, and the layer is imported by one request after the other.
func TestImportWithoutRanges(t *testing.T) {
	for name, pack := range packers {
		t.Run(name, func(t *testing.T) {
			b := plainBench(t, someFiles(1, 30), pack)
			b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 200}))
			b.start(t, importing, store.Options{BootID: "a"})
			l := b.open(t)
			if !l.Full() {
				t.Error("not full")
			}
			b.wantFiles(t, l)
			b.req.Proves = nil
			b.stop(t)
			b.root = filepath.Join(t.TempDir(), "store")
			b.start(t, importing, store.Options{})
			if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, fetch.ErrNoRanges) {
				t.Errorf("not proved: %v", err)
			}
		})
	}
}

// unpackedGzip returns the decompressed bytes of a blob.
func unpackedGzip(t *testing.T, blob []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	tarball, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return tarball
}

// otherTOC returns an eStargz blob with toc in the place of its TOC.
func otherTOC(t *testing.T, blob []byte, toc string) []byte {
	t.Helper()
	footer := blob[len(blob)-estargz.FooterSize:]
	_, off, _, err := new(estargz.GzipDecompressor).ParseFooter(footer)
	if err != nil {
		t.Fatal(err)
	}
	tarball := tarOf(t, []file{{name: estargz.TOCTarName, data: []byte(toc)}})
	return slices.Concat(blob[:off], packed(t, tarball, len(tarball)), footer)
}

// unlazy are eStargz and zstd:chunked layers that cannot be read lazily: each changes a bench
// that can.
var unlazy = map[string]struct {
	change func(t *testing.T, b *bench)
	kind   error // if the layer is not imported
}{
	"no digest of the TOC": {func(t *testing.T, b *bench) {
		b.req.TOC = ""
	}, layer.ErrUnverified},
	"digest of another TOC": {func(t *testing.T, b *bench) {
		b.req.TOC = digest.FromString("another")
	}, layer.ErrUnverified},
	"damaged footer": {func(t *testing.T, b *bench) {
		b.blob = slices.Clone(b.blob)
		b.blob[bytes.LastIndex(b.blob, []byte("STARGZ"))] = 'X'
	}, layer.ErrNotLazy},
	"hostile TOC": {func(t *testing.T, b *bench) {
		b.blob = otherTOC(t, b.blob, `{"version":1,"entries":[{"name":"a/b","type":"dir"},{"name":"a","type":"hardlink","linkName":"../.."}]}`)
	}, layer.ErrInvalid},
	"no TOC": {func(t *testing.T, b *bench) {
		b.blob = otherTOC(t, b.blob, "{")
	}, layer.ErrInvalid},
	"zstd:chunked without digests": {func(t *testing.T, b *bench) {
		tarball := tarOf(t, b.files)
		made, err := estargz.Build(io.NewSectionReader(bytes.NewReader(tarball), 0, int64(len(tarball))), estargz.WithCompression(zstdCompression{
			&zstdchunked.Decompressor{}, &zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault},
		}))
		if err != nil {
			t.Fatal(err)
		}
		if b.blob, err = io.ReadAll(made); err != nil {
			t.Fatal(err)
		}
		b.req.TOC, b.req.Proves = "", provedBy(made.DiffID())
	}, layer.ErrUnverified},
}

type zstdCompression struct {
	*zstdchunked.Decompressor
	*zstdchunked.Compressor
}

// unlazyBench is a bench with a layer of unlazy, which is not started.
func unlazyBench(t *testing.T, change func(*testing.T, *bench)) *bench {
	t.Helper()
	b := newBench(t, registrytest.Options{}, someFiles(1, 30))
	b.stop(t)
	change(t, b)
	if b.req.Proves == nil {
		b.req.Proves = provedBy(digest.FromBytes(unpackedGzip(t, b.blob)))
	}
	b.req.Source.Digest = b.AddBlob(b.blob)
	return b
}

// TestUnlazyLayersAreImported has layers with an index that cannot be used: they are imported,
// once.
func TestUnlazyLayersAreImported(t *testing.T) {
	for name, c := range unlazy {
		t.Run(name, func(t *testing.T) {
			b := unlazyBench(t, c.change)
			b.start(t, importing, store.Options{BootID: "a"})
			proves := b.req.Proves
			b.req.Proves = nil
			if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, c.kind) {
				t.Errorf("not proved: %v, want %v", err, c.kind)
			}
			b.req.Proves = provedBy(digest.FromString("another tar"))
			if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, layer.ErrUnverified) {
				t.Errorf("of another diffID: %v", err)
			}
			b.req.Proves = proves
			l := b.open(t)
			if l.ID().Imported() == "" || !l.Full() {
				t.Errorf("it is %v", l.ID())
			}
			b.wantFiles(t, l)
			b.Reset()
			if again := b.open(t); again != l || b.Count() > 0 {
				t.Errorf("opened again: another layer, or %d requests", b.Count())
			}
			// As for a snapshot whose layer was lost.
			b.req.TOC, b.req.Proves = l.ID().TOC, nil
			b.stop(t)
			b.root = filepath.Join(t.TempDir(), "store")
			b.start(t, importing, store.Options{})
			if again := b.open(t); again.ID().TOC != b.req.TOC {
				t.Errorf("made again: %v", again.ID())
			}
		})
	}
}

// TestUnlazyLayersAreImportedAhead has an image of layers without digests of their TOCs: all are
// imported from the first Open on. Layers that can be read lazily are not.
func TestUnlazyLayersAreImportedAhead(t *testing.T) {
	b := unlazyBench(t, unlazy["no digest of the TOC"].change)
	for n := range uint64(3) {
		blob, _ := convert(t, someFiles(n+2, 5))
		b.req.Siblings = append(b.req.Siblings, b.AddBlob(blob))
	}
	b.start(t, importing, store.Options{})
	b.open(t)
	waitFor(t, func() bool { return layer.ImportsMade(b.set) == 3 })
	b.stop(t)
	b.wantNoDrafts(t)

	lazy := newBench(t, registrytest.Options{}, someFiles(1, 30))
	lazy.req.Siblings, lazy.req.Proves = b.req.Siblings, b.req.Proves
	lazy.stop(t)
	lazy.start(t, importing, store.Options{})
	if l := lazy.open(t); l.Full() || layer.ImportsMade(lazy.set) > 0 {
		t.Error("layers were imported that are lazy")
	}
}
