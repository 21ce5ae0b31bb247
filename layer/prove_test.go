package layer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// filling fills and proves layers in the background, at once.
var filling = layer.Options{NoPrefetch: true, ReadTimeout: patient, FillDelay: time.Millisecond, FillRetry: 10 * time.Millisecond}

// lazyForms convert a tar to a layer with a table of contents.
var lazyForms = map[string]func(t testing.TB, tarball []byte) (blob []byte, toc digest.Digest){
	"estargz": func(t testing.TB, b []byte) ([]byte, digest.Digest) {
		return appended(t, b, estargz.NewGzipCompressorWithLevel(gzip.BestSpeed), 0)
	},
	"min chunk": func(t testing.TB, b []byte) ([]byte, digest.Digest) {
		return appended(t, b, estargz.NewGzipCompressorWithLevel(gzip.BestSpeed), 50_000)
	},
	"zstd:chunked": func(t testing.TB, b []byte) ([]byte, digest.Digest) {
		return appended(t, b, &zstdchunked.Compressor{CompressionLevel: zstd.SpeedFastest}, 0)
	},
}

func appended(t testing.TB, tarball []byte, c estargz.Compressor, minChunk int) ([]byte, digest.Digest) {
	t.Helper()
	var b bytes.Buffer
	w := estargz.NewWriterWithCompressor(&b, c)
	w.ChunkSize, w.MinChunkSize = 128<<10, minChunk
	if err := w.AppendTar(bytes.NewReader(tarball)); err != nil {
		t.Fatal(err)
	}
	toc, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), toc
}

// tarIn returns the tar that a layer decompresses to.
func tarIn(t testing.TB, blob []byte) []byte {
	t.Helper()
	var r io.Reader
	var err error
	if bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
		r, err = gzip.NewReader(bytes.NewReader(blob))
	} else {
		r, err = zstd.NewReader(bytes.NewReader(blob))
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func provableFiles() []file {
	files := someFiles(1, 40)
	for i := range 30 {
		files = append(files, file{name: "links/" + string(rune('a'+i)), link: "small"})
	}
	return append(files, file{name: "last", data: bytes.Repeat([]byte("last"), 100_000)})
}

// provable is a bench, which is not started, with a layer that can be proved.
func provable(t *testing.T, form string) (b *bench, diffID digest.Digest) {
	t.Helper()
	files := provableFiles()
	blob, toc := lazyForms[form](t, tarOf(t, files))
	b = benchOf(t, registrytest.Options{}, files, blob, toc)
	b.stop(t)
	diffID = digest.FromBytes(tarIn(t, blob))
	b.req.Proves, b.req.DiffID = provedBy(diffID), diffID // as containerd says it
	return b, diffID
}

// waitProof waits for the proof of the bench's layer.
func (b *bench) waitProof(t *testing.T) store.Proof {
	t.Helper()
	id := store.ID{Blob: b.req.Source.Digest, TOC: b.req.TOC}
	waitFor(t, func() bool { return b.store.Proof(id) != store.Proof{} })
	return b.store.Proof(id)
}

func (b *bench) wantProof(t *testing.T, want store.Proof) {
	t.Helper()
	if got := b.waitProof(t); got != want {
		t.Errorf("proof %+v, want %+v", got, want)
	}
}

// readSome reads every seventh file.
func (b *bench) readSome(t *testing.T, l *layer.Layer) {
	t.Helper()
	at := extents(t, l)
	for n, f := range b.files {
		if n%7 == 0 && f.link == "" {
			readAll(t, l, at[f.name], min(len(f.data), 10_000))
		}
	}
}

// TestLayerIsProved has readers, and then the filler, fetch a layer. It is proved without a
// second download, and known to be after a restart.
func TestLayerIsProved(t *testing.T) {
	for form := range lazyForms {
		t.Run(form, func(t *testing.T) {
			b, diffID := provable(t, form)
			b.start(t, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: patient}, store.Options{})
			b.readSome(t, b.open(t))
			b.checkFiles(t, b.open(t))
			b.stop(t)
			b.start(t, filling, store.Options{})
			b.wantProof(t, store.Proof{DiffID: diffID}) // though nobody has it open
			if sent := b.Sent(); sent > int64(len(b.blob))*5/4 {
				t.Errorf("%d bytes were sent of a blob of %d", sent, len(b.blob))
			}
			b.stop(t)
			b.start(t, filling, store.Options{})
			b.Close() // the registry
			b.wantProof(t, store.Proof{DiffID: diffID})
			b.checkFiles(t, b.open(t))
			b.req.Proves = provedBy("sha256:other")
			if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, layer.ErrUnverified) {
				t.Errorf("opened for another diffID: %v", err)
			}
		})
	}
}

// checkFiles is checkAll for files that are no links.
func (b *bench) checkFiles(t *testing.T, l *layer.Layer) {
	t.Helper()
	at := extents(t, l)
	for _, f := range b.files {
		if f.link == "" && !bytes.Equal(readAll(t, l, at[f.name], len(f.data)), f.data) {
			t.Errorf("%s: wrong bytes", f.name)
		}
	}
}

// TestLayerIsProvedAnew has a layer of which nothing was kept besides its chunks, or what was
// kept was damaged: it is fetched.
func TestLayerIsProvedAnew(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"gone": os.Remove,
		"cut": func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.Truncate(path, info.Size()/2)
		},
		"flipped": func(path string) error {
			p, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			p[len(p)/2] ^= 1
			return os.WriteFile(path, p, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, diffID := provable(t, "estargz")
			b.start(t, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: patient}, store.Options{})
			b.checkFiles(t, b.open(t))
			b.stop(t)
			rests, err := filepath.Glob(filepath.Join(b.root, "layers", "*", "rest"))
			if err != nil || len(rests) != 1 {
				t.Fatal(rests, err)
			}
			if err := damage(rests[0]); err != nil {
				t.Fatal(err)
			}
			b.start(t, filling, store.Options{})
			b.open(t)
			b.wantProof(t, store.Proof{DiffID: diffID})
		})
	}
}

// TestClaimIsRefuted has an image that says of a layer's diffID what is not true. The layer is
// what it is, and stays in service for those who say that.
func TestClaimIsRefuted(t *testing.T) {
	for form := range lazyForms {
		t.Run(form, func(t *testing.T) {
			b, diffID := provable(t, form)
			b.req.Proves, b.req.DiffID = provedBy("sha256:other"), "sha256:other"
			b.start(t, filling, store.Options{})
			l := b.open(t)
			b.wantProof(t, store.Proof{DiffID: diffID})
			b.checkFiles(t, l)
			if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, layer.ErrUnverified) {
				t.Errorf("opened for another diffID: %v", err)
			}
			b.req.Proves = provedBy(diffID)
			if _, err := b.set.Open(t.Context(), b.req); err != nil {
				t.Error(err)
			}
		})
	}
}

// withTOC returns the eStargz blob with a changed TOC.
func withTOC(t *testing.T, blob []byte, change func(*estargz.JTOC)) ([]byte, digest.Digest) {
	t.Helper()
	r := io.NewSectionReader(bytes.NewReader(blob), 0, int64(len(blob)))
	off, _, err := estargz.OpenFooter(r)
	if err != nil {
		t.Fatal(err)
	}
	decompressor := new(estargz.GzipDecompressor)
	toc, _, err := decompressor.ParseTOC(bytes.NewReader(blob[off : len(blob)-estargz.FooterSize]))
	if err != nil {
		t.Fatal(err)
	}
	change(toc)
	var b bytes.Buffer
	b.Write(blob[:off])
	d := digest.Canonical.Digester()
	if _, err := estargz.NewGzipCompressor().WriteTOCAndFooter(&b, off, toc, d.Hash()); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(toc, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), digest.FromBytes(text)
}

// TestWrongLayer has tables of contents that show something else than the tar has. The layer
// is taken out of service, also after a restart.
func TestWrongLayer(t *testing.T) {
	entry := func(toc *estargz.JTOC, name string) *estargz.TOCEntry {
		for _, e := range toc.Entries {
			if e.Name == name && e.Type != "chunk" {
				return e
			}
		}
		panic(name)
	}
	for name, lie := range map[string]func(*estargz.JTOC){
		"mode":   func(toc *estargz.JTOC) { entry(toc, "last").Mode = 0o4755 },
		"target": func(toc *estargz.JTOC) { entry(toc, "links/a").LinkName = "/etc" },
		"name":   func(toc *estargz.JTOC) { entry(toc, "links/a").Name = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := provable(t, "estargz")
			blob, toc := withTOC(t, b.blob, lie)
			b = benchOf(t, registrytest.Options{}, b.files, blob, toc)
			b.req.Proves = provedBy(digest.FromBytes(tarIn(t, blob)))
			b.stop(t)
			for range 2 {
				b.start(t, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: patient}, store.Options{})
				id := store.ID{Blob: b.req.Source.Digest, TOC: b.req.TOC}
				if b.store.Proof(id) == (store.Proof{}) {
					b.stop(t)
					b.start(t, filling, store.Options{})
					l := b.open(t)
					if got := b.waitProof(t); !strings.Contains(got.Wrong, "index does not show") {
						t.Fatalf("proof %+v", got)
					}
					if _, err := l.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, layer.ErrWrong) {
						t.Errorf("read: %v", err)
					}
				}
				if _, err := b.set.Layer(id); !errors.Is(err, layer.ErrWrong) {
					t.Errorf("mounted: %v", err)
				}
				if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, layer.ErrInvalid) {
					t.Errorf("opened: %v", err)
				}
				b.stop(t)
			}
		})
	}
}

// TestRestsOfAnotherBlob has a registry that sends other bytes than those of the blob where
// no chunk is: no layer is taken out of service for that.
func TestRestsOfAnotherBlob(t *testing.T) {
	b, diffID := provable(t, "estargz")
	good := bytes.Clone(b.blob)
	// The first stretch has the header of the first file, and nothing else.
	first := bytes.Index(good[1:], []byte{0x1f, 0x8b, 8}) + 1
	p := tarIn(t, good[:first])
	var other bytes.Buffer
	w, err := gzip.NewWriterLevel(&other, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	p[0] ^= 1
	w.Write(p)
	w.Close()
	b.start(t, filling, store.Options{})
	copy(b.blob, other.Bytes()[:min(other.Len(), first)]) // the registry has it as it is now
	b.open(t)
	waitFor(t, func() bool { return b.Sent() > 2*int64(len(b.blob)) })
	id := store.ID{Blob: b.req.Source.Digest, TOC: b.req.TOC}
	if got := b.store.Proof(id); got != (store.Proof{}) {
		t.Errorf("proof %+v of what a registry made up", got)
	}
	copy(b.blob, good)
	b.wantProof(t, store.Proof{DiffID: diffID})
}
