package layer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

func zstdChunked() estargz.Option {
	return estargz.WithCompression(struct {
		*zstdchunked.Compressor
		*zstdchunked.Decompressor
	}{&zstdchunked.Compressor{CompressionLevel: zstd.SpeedFastest}, &zstdchunked.Decompressor{}})
}

// Every format yields the bytes that went in, whatever is read first, and the
// whole layer costs each byte of the blob once.
func TestReadAll(t *testing.T) {
	for name, opts := range map[string][]estargz.Option{
		"estargz":           nil,
		"shared streams":    {estargz.WithMinChunkSize(64 << 10)},
		"zstd:chunked":      {zstdChunked()},
		"zstd, one chunk":   {zstdChunked(), estargz.WithChunkSize(64 << 20)},
		"small chunks":      {estargz.WithChunkSize(4 << 10)},
		"prioritized files": {estargz.WithPrioritizedFiles([]string{"large"})},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, registrytest.Options{}, someFiles(1, 300), opts...)
			l := b.open(t)
			b.checkAll(t, l)
			b.Reset()
			b.checkAll(t, l)
			if n := b.Count(); n != 0 {
				t.Errorf("%d requests for what was there", n)
			}
		})
	}
}

// However many readers wait for one chunk, it is fetched once.
func TestOneFetchPerChunk(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(2, 10))
	b.stop(t)
	b.startPatient(t, layer.Options{NoFill: true, NoPrefetch: true})
	l := b.open(t)
	b.Reset()
	release := make(chan struct{})
	b.SetFault(func(registrytest.Request) registrytest.Fault {
		<-release
		return registrytest.Fault{}
	})
	at := extents(t, l)["large"]
	const readers = 50
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			p := make([]byte, 4096)
			if _, err := l.ReadAt(context.Background(), p, at); err != nil {
				t.Error(err)
			} else if !bytes.Equal(p, b.files[len(b.files)-1].data[:4096]) {
				t.Error("wrong bytes")
			}
		})
	}
	waitFor(t, func() bool { return layer.Readers(l) == readers })
	if n := layer.Runs(l); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
	close(release)
	wg.Wait()
	if n := b.Count(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// Small reads here and there, of many readers at once, give right bytes and
// never fetch a chunk twice.
func TestConcurrentReaders(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(3, 200))
	l := b.open(t)
	at := extents(t, l)
	b.Reset()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range b.files {
				f := b.files[(n*7+i*31)%len(b.files)]
				p := make([]byte, len(f.data))
				if _, err := l.ReadAt(context.Background(), p, at[f.name]); err != nil {
					t.Error(err)
				} else if !bytes.Equal(p, f.data) {
					t.Errorf("%s: wrong bytes", f.name)
				}
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for _, f := range b.files {
		total += int64(len(f.data))
	}
	if sent := b.Sent(); sent > total+total/5 {
		t.Errorf("%d bytes sent for %d bytes of incompressible files", sent, total)
	}
}

// A daemon that starts again needs no registry for what it had.
func TestRestartWithoutNetwork(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(4, 50))
	l := b.open(t)
	b.checkAll(t, l)
	b.stop(t)
	b.Close()
	b.start(t, layer.Options{NoFill: true}, store.Options{})
	b.checkAll(t, b.open(t))
}

// Chunks that were written before the machine was reset are verified again:
// bytes that the disk lost are fetched once more, never shown.
func TestResetOfTheMachine(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(5, 50))
	l := b.open(t)
	b.checkAll(t, l)
	b.stop(t)
	wreck(t, dataFile(t, b.root))
	b.start(t, layer.Options{NoFill: true, NoPrefetch: true}, store.Options{BootID: "another boot"})
	b.checkAll(t, b.open(t))
}

// dataFile returns the path of the one data file of the store at root.
func dataFile(t *testing.T, root string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "layers", "*", "data"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

// wreck loses every other page of a file.
func wreck(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off+4096 <= info.Size(); off += 8192 {
		if _, err := f.WriteAt(make([]byte, 4096), off); err != nil {
			t.Fatal(err)
		}
	}
}

// A manifest's word on the TOC is the only thing that makes a layer lazy.
func TestTOCDigest(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(6, 5))
	req := b.req
	req.TOC = digest.FromString("another")
	if _, err := b.set.Open(t.Context(), req); !errors.Is(err, layer.ErrUnverified) {
		t.Errorf("opened with a TOC that the image does not name: %v", err)
	}
	req.TOC = ""
	if _, err := b.set.Open(t.Context(), req); !errors.Is(err, layer.ErrUnverified) {
		t.Errorf("without TOC digest: %v", err)
	}
}

// Where the request has no TOC digest the image's own manifest may.
func TestTOCDigestFromManifest(t *testing.T) {
	for _, name := range []string{"io.github.containers.zstd-chunked.manifest-checksum", zstdchunked.ManifestChecksumAnnotation} {
		b := newBench(t, registrytest.Options{}, someFiles(7, 5), zstdChunked())
		right := compressedTOC(t, b)
		for toc, ok := range map[digest.Digest]bool{right: true, digest.FromString("x"): false} {
			m, err := json.Marshal(ocispec.Manifest{Layers: []ocispec.Descriptor{{
				Digest: b.req.Source.Digest, Annotations: map[string]string{name: toc.String()},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			req := b.req
			req.TOC = ""
			req.Manifest = b.AddManifest("app:1", ocispec.MediaTypeImageManifest, m)
			if _, err := b.set.Open(t.Context(), req); (err == nil) != ok {
				t.Errorf("%s=%s: %v", name, toc, err)
			}
		}
	}
}

// compressedTOC returns the digest that builders of zstd:chunked layers write.
func compressedTOC(t *testing.T, b *bench) digest.Digest {
	t.Helper()
	blob := b.blob
	footer, err := index.ParseFooter(blob[len(blob)-index.TailSize:], int64(len(blob)))
	if err != nil {
		t.Fatal(err)
	}
	return digest.FromBytes(blob[footer.TOCOffset:][:footer.TOCSize])
}

func TestNotLazy(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(8, 5))
	b.req.Source.Digest = b.AddBlob(tarOf(t, b.files))
	for range 2 {
		if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, layer.ErrNotLazy) {
			t.Errorf("%v, want ErrNotLazy", err)
		}
		b.req.TOC = "" // also if nothing would verify it
	}
}

// The number of round trips to open an image does not grow with its layers.
func TestOpenSiblings(t *testing.T) {
	rounds := func(n int) int {
		b := newBench(t, registrytest.Options{Token: true}, someFiles(9, 1))
		var reqs []layer.Request
		for i := range n {
			blob, toc := convert(t, someFiles(uint64(100+i), 3)[:3])
			reqs = append(reqs, layer.Request{Source: fetch.Source{Ref: b.Ref("app:1"), Digest: b.AddBlob(blob)}, TOC: toc})
		}
		for i := range reqs {
			for _, above := range reqs[i:] {
				reqs[i].Siblings = append(reqs[i].Siblings, above.Source.Digest)
			}
		}
		for _, req := range reqs {
			if _, err := b.set.Open(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.Count(registrytest.Blob); got > 2*n+1 {
			t.Errorf("%d requests for %d layers", got, n)
		}
		return b.Generations()
	}
	if one, many := rounds(1), rounds(20); many > one {
		t.Errorf("%d serial requests for 20 layers, %d for one", many, one)
	}
}
