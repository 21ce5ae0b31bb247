package layer_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// keeping is how a store is opened that keeps indexes.
var keeping = store.Options{BootID: "a", IndexBytes: 10 << 20}

// remove closes and removes all layers, as a daemon does of which all images are removed. The
// daemon is another one afterwards.
func (b *bench) remove(t *testing.T) {
	t.Helper()
	b.stop(t) // imported layers stay open for a while
	b.start(t, importing, keeping)
	if _, err := b.set.Remove(t.Context(), func(store.ID) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if n := len(b.store.Layers()); n > 0 {
		t.Fatalf("%d layers are left", n)
	}
	b.Reset()
}

// keptIndex returns the path of the index that is kept of the bench's layer.
func (b *bench) keptIndex() string {
	return filepath.Join(b.root, "indexes", "sha256-"+b.req.Source.Digest.Encoded())
}

func (b *bench) wantKeptIndex(t *testing.T, want bool) {
	t.Helper()
	if _, err := os.Stat(b.keptIndex()); (err == nil) != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an index is kept: %v, want %v", err == nil, want)
	}
}

// TestRemovedLayerIsLazyAgain pulls a layer, removes it, and pulls it again: without a request,
// and what is read then is fetched alone.
func TestRemovedLayerIsLazyAgain(t *testing.T) {
	for name, pack := range packers {
		t.Run(name, func(t *testing.T) {
			b := plainBench(t, largeFiles(), pack)
			b.start(t, importing, keeping)
			id := b.open(t).ID()
			b.wantKeptIndex(t, false)
			for range 2 {
				b.remove(t)
				lazy := name != "zstd"
				b.wantKeptIndex(t, lazy)
				l := b.open(t)
				if l.ID() != id || l.Full() == lazy {
					t.Errorf("layer %v, full: %v", l.ID(), l.Full())
				}
				if n := b.Count(); lazy && n > 0 {
					t.Errorf("%d requests were made to open it", n)
				}
				f := b.files[7]
				if got := readAll(t, l, extents(t, l)[f.name], len(f.data)); !bytes.Equal(got, f.data) {
					t.Errorf("%s: other bytes", f.name)
				}
				if !lazy {
					b.Reset() // of what the import has fetched
				}
				if n := b.fetched(t); lazy && (n < int64(len(f.data))/4 || n > 5*spacing/2) {
					t.Errorf("%d bytes of a blob of %d were fetched for %d", n, len(b.blob), len(f.data))
				}
				b.checkAll(t, l)
			}
		})
	}
}

// TestRandomReadsWithKeptIndex reads at any places of a layer that was opened with its kept
// index: the bytes are those of the data file that the import has made.
func TestRandomReadsWithKeptIndex(t *testing.T) {
	for _, name := range []string{"gzip", "members", "uncompressed"} {
		t.Run(name, func(t *testing.T) {
			b := plainBench(t, largeFiles(), packers[name])
			b.start(t, importing, keeping)
			l := b.open(t)
			want := make([]byte, l.DataSize())
			if _, err := l.ReadAt(t.Context(), want, 0); err != nil {
				t.Fatal(err)
			}
			b.remove(t)
			l = b.open(t)
			r := rand.New(rand.NewPCG(1, 7))
			for range 60 {
				n := 1 + r.IntN(min(len(want), 200_000))
				off := r.IntN(len(want) - n + 1)
				got := make([]byte, n)
				if _, err := l.ReadAt(t.Context(), got, int64(off)); err != nil || !bytes.Equal(got, want[off:][:n]) {
					t.Fatalf("[%d,%d): %v", off, off+n, err)
				}
			}
			b.stop(t) // what is there and what is not outlives the daemon
			b.start(t, importing, store.Options{BootID: "b", IndexBytes: 10 << 20})
			b.checkAll(t, b.open(t))
		})
	}
}

// TestDamagedKeptIndex has an index of which a byte has changed, one of another layer, and one
// that cannot be read: the layer is imported, and the index is gone.
func TestDamagedKeptIndex(t *testing.T) {
	other := plainBench(t, someFiles(2, 5), packers["gzip"])
	other.start(t, importing, keeping)
	other.open(t)
	other.remove(t)
	for name, damage := range map[string]func(path string) error{
		"a byte": func(path string) error {
			p, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			p[len(p)/2] ^= 1
			return os.WriteFile(path, p, 0o600)
		},
		"another's": func(path string) error {
			p, err := os.ReadFile(other.keptIndex())
			return errors.Join(err, os.WriteFile(path, p, 0o600))
		},
		"empty":       func(path string) error { return os.Truncate(path, 0) },
		"gone":        os.Remove,
		"a directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := plainBench(t, someFiles(1, 10), packers["gzip"])
			b.start(t, importing, keeping)
			b.open(t)
			b.remove(t)
			b.wantKeptIndex(t, true)
			if err := damage(b.keptIndex()); err != nil {
				t.Fatal(err)
			}
			l := b.open(t)
			if !l.Full() {
				t.Error("it is not imported")
			}
			b.wantKeptIndex(t, false)
			b.checkAll(t, l)
			b.remove(t)
			b.wantKeptIndex(t, true)
		})
	}
}

// TestKeptIndexIsProved: an image that claims another diffID for a blob with a kept index does
// not get the layer. Nor is the index used if layers are not to be imported.
func TestKeptIndexIsProved(t *testing.T) {
	b := plainBench(t, someFiles(1, 5), packers["gzip"])
	b.start(t, importing, keeping)
	b.open(t)
	b.remove(t)
	req := b.req
	req.Proves = provedBy(digest.FromString("another tar"))
	if _, err := b.set.Open(t.Context(), req); !errors.Is(err, layer.ErrUnverified) {
		t.Errorf("error %v", err)
	}
	req.Proves = nil
	if _, err := b.set.Open(t.Context(), req); !errors.Is(err, layer.ErrNotLazy) {
		t.Errorf("error %v", err)
	}
	if n := len(b.store.Layers()); n > 0 {
		t.Errorf("%d layers are stored", n)
	}
	b.stop(t)
	b.start(t, layer.Options{NoFill: true, NoPrefetch: true}, keeping)
	if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, layer.ErrNotLazy) {
		t.Errorf("error %v", err)
	}
	b.wantKeptIndex(t, true)
}

// TestSparseFilesWithKeptIndex: a layer with files of holes is lazy again, too.
func TestSparseFilesWithKeptIndex(t *testing.T) {
	tarball, contents := treetest.SparseTar(t, "PAX 1.0")
	b := plainBench(t, nil, func(testing.TB, []byte) []byte { return packed(t, tarball, len(tarball)) })
	b.req.Proves = provedBy(digest.FromBytes(tarball))
	for name, data := range contents {
		b.files = append(b.files, file{name: name, data: data})
	}
	b.start(t, importing, keeping)
	b.open(t)
	b.remove(t)
	b.wantKeptIndex(t, true)
	l := b.open(t)
	if l.Full() {
		t.Error("it is imported")
	}
	b.wantFiles(t, l)
}

// TestSiblingsWithKeptIndexes: no request is made for siblings of which an index is kept.
func TestSiblingsWithKeptIndexes(t *testing.T) {
	b := plainBench(t, someFiles(1, 5), packers["gzip"])
	b.start(t, importing, keeping)
	b.open(t)
	sibling := b.req
	tarball := tarOf(t, someFiles(2, 5))
	sibling.Source.Digest = b.AddBlob(packed(t, tarball, len(tarball)))
	sibling.Proves = provedBy(digest.FromBytes(tarball))
	if _, err := b.set.Open(t.Context(), sibling); err != nil {
		t.Fatal(err)
	}
	b.remove(t)
	b.req.Siblings = []digest.Digest{sibling.Source.Digest}
	b.open(t)
	if _, err := b.set.Open(t.Context(), sibling); err != nil {
		t.Fatal(err)
	}
	if n := b.Count(); n > 0 {
		t.Errorf("%d requests", n)
	}
}

// TestPointsThatAreWrongAreNotKept has a layer whose points cannot be decoded although all
// checksums are right: it is imported for the next mount, and not opened with them again.
func TestPointsThatAreWrongAreNotKept(t *testing.T) {
	b := plainBench(t, largeFiles(), packers["gzip"])
	b.start(t, importing, keeping)
	b.open(t)
	b.remove(t)
	index, err := os.ReadFile(b.keptIndex())
	if err != nil {
		t.Fatal(err)
	}
	b.stop(t)
	b.damagedTable(t, func(table []byte) []byte {
		for i := len(table) - 200; i < len(table)-12; i++ {
			table[i] ^= 0xff
		}
		return layer.Resum(table)
	})
	b.stop(t)
	if err := os.WriteFile(b.keptIndex(), index, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(t, importing, keeping)
	l := b.open(t)
	if l.Full() {
		t.Fatal("it is full")
	}
	failed := false
	for _, f := range b.files {
		if _, err := l.ReadAt(t.Context(), make([]byte, len(f.data)), extents(t, l)[f.name]); err != nil {
			failed = true
			break
		}
	}
	if !failed {
		t.Error("all files could be read")
	}
	b.wantKeptIndex(t, false)
	l = b.open(t)
	if !l.Full() {
		t.Error("it is not imported again")
	}
	b.checkAll(t, l)
}

// TestLayerWithKeptIndexIsFilled: the rest of such a layer is fetched in the background.
func TestLayerWithKeptIndexIsFilled(t *testing.T) {
	b := plainBench(t, largeFiles(), packers["gzip"])
	b.start(t, importing, keeping)
	b.open(t)
	b.remove(t)
	b.stop(t)
	filling := importing
	filling.NoFill, filling.FillDelay = false, time.Millisecond
	b.start(t, filling, keeping)
	l := b.open(t)
	waitFor(t, l.Full)
	b.Close() // the registry
	b.checkAll(t, l)
}

// TestNoIndexWithoutRanges: of a layer whose registry serves no ranges no index is kept, since
// nothing but the whole blob can be had.
func TestNoIndexWithoutRanges(t *testing.T) {
	b := plainBench(t, someFiles(1, 30), packers["gzip"])
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 200}))
	b.start(t, importing, keeping)
	b.open(t)
	b.remove(t)
	b.wantKeptIndex(t, false)
	l := b.open(t)
	if !l.Full() {
		t.Error("it is not imported")
	}
	b.checkAll(t, l)
}

// TestUnusableTOCWithKeptIndex: eStargz and zstd:chunked layers whose table of contents cannot
// be used are imported, and read lazily when they are pulled again.
func TestUnusableTOCWithKeptIndex(t *testing.T) {
	for name, u := range unlazy {
		t.Run(name, func(t *testing.T) {
			b := unlazyBench(t, u.change)
			b.start(t, importing, keeping)
			if !b.open(t).Full() {
				t.Error("it is not imported")
			}
			b.remove(t)
			b.wantKeptIndex(t, true)
			l := b.open(t)
			if l.Full() {
				t.Error("it is imported again")
			}
			b.wantFiles(t, l)
		})
	}
}
