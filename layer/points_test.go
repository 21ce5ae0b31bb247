package layer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// spacing is about how many bytes of a tar are between two points.
const spacing = 640 << 10

// largeFiles returns files of 12 MB in all. About half of their bytes compress.
func largeFiles() []file {
	var files []file
	for n := range uint64(4) {
		for _, f := range someFiles(100+n, 5) {
			for i := 10_000; i+20_000 <= len(f.data); i += 20_000 {
				repeat(f.data[i:][:10_000], f.data[:4000])
			}
			files = append(files, file{name: fmt.Sprint(n, "/", f.name), data: f.data})
		}
	}
	return files
}

// repeat fills p with pieces of words.
func repeat(p, words []byte) {
	for i := 0; i+20 <= len(p); i += 20 {
		copy(p[i:], words[i*i%(len(words)-20):][:20])
	}
}

// lose stops the bench, and empties the layer's data file as a reset of the machine may, that
// is: there are holes, or else zeros.
func (b *bench) lose(t *testing.T, l *layer.Layer, holes bool) {
	t.Helper()
	size, path := l.DataSize(), filepath.Join(b.root, "layers", strconv.FormatUint(l.Number(), 10), "data")
	b.stop(t)
	var err error
	if holes {
		err = errors.Join(os.Truncate(path, 0), os.Truncate(path, size))
	} else {
		err = os.WriteFile(path, make([]byte, size), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fetched returns how many bytes the registry was asked for, and has sent, since the last Reset.
func (b *bench) fetched(t *testing.T) (n int64) {
	t.Helper()
	for _, q := range b.Log() {
		first, last := rangeOf(t, q)
		n += last + 1 - first
	}
	return n
}

// TestLostChunkIsFetchedFromItsPoint reads small files of an imported layer that has lost all
// of its bytes: of the blob, the streams with their chunks are fetched.
func TestLostChunkIsFetchedFromItsPoint(t *testing.T) {
	for name, pack := range map[string]func(testing.TB, []byte) []byte{
		"one member":      packers["gzip"],
		"small members":   func(t testing.TB, p []byte) []byte { return packed(t, p, 50_000) },
		"several members": func(t testing.TB, p []byte) []byte { return packed(t, p, 3_000_000) },
		"uncompressed":    packers["uncompressed"],
		"zstd frames":     packers["frames"],
	} {
		for _, holes := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, holes: %v", name, holes), func(t *testing.T) {
				t.Parallel()
				b := plainBench(t, largeFiles(), pack)
				b.start(t, importing, store.Options{BootID: "a"})
				b.lose(t, b.open(t), holes)
				b.start(t, importing, store.Options{BootID: "b"})
				l := b.open(t)
				at := extents(t, l)
				for _, f := range []file{b.files[13], b.files[7], b.files[22]} {
					b.Reset()
					if got := readAll(t, l, at[f.name], len(f.data)); !bytes.Equal(got, f.data) {
						t.Errorf("%s: other bytes", f.name)
					}
					// A stream is as long as the points are apart, and a block of deflate;
					// a file may be in two.
					if n := b.fetched(t); n < int64(len(f.data)) || n > 5*spacing/2 {
						t.Errorf("%s: %d bytes of a blob of %d were fetched, in %d requests", f.name, n, len(b.blob), b.Count())
					}
				}
				b.checkAll(t, l)
			})
		}
	}
}

// TestRandomReadsOfLostChunks reads a layer that has lost all of its bytes at any places, with
// the filler beside it, until all of it is there again.
func TestRandomReadsOfLostChunks(t *testing.T) {
	b := plainBench(t, largeFiles(), packers["gzip"])
	b.start(t, importing, store.Options{BootID: "a"})
	l := b.open(t)
	want := make([]byte, l.DataSize())
	if _, err := l.ReadAt(t.Context(), want, 0); err != nil {
		t.Fatal(err)
	}
	b.lose(t, l, true)
	opts := importing
	opts.NoFill, opts.FillDelay = false, time.Millisecond
	b.start(t, opts, store.Options{BootID: "b"})
	l = b.open(t)
	for off := int64(0); off < int64(len(want)); off += 1 << 20 {
		at := (off*7 + 12345) % (int64(len(want)) - 20_000)
		got := make([]byte, 20_000)
		if _, err := l.ReadAt(t.Context(), got, at); err != nil || !bytes.Equal(got, want[at:][:len(got)]) {
			t.Errorf("at %d: %v", at, err)
		}
	}
	b.checkAll(t, l)
	waitFor(t, l.Full)
}

// TestWrongBytesFromAPoint has hosts that send other bytes for the stream of a lost chunk: of
// two hosts the other one is asked, and if there is only this one, reads fail.
func TestWrongBytesFromAPoint(t *testing.T) {
	b := plainBench(t, largeFiles(), packers["gzip"])
	b.start(t, importing, store.Options{BootID: "a"})
	b.lose(t, b.open(t), false)
	liar := registrytest.New(t, registrytest.Options{})
	liar.AddBlob(b.blob)
	mirrored := fetch.Hosts(context.Background(), fetch.HostsOptions{Mirrors: map[string][]fetch.Mirror{
		b.Host(): {{Host: liar.Host(), Insecure: true}},
	}})
	liar.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Corrupt: true}))
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Corrupt: true}))
	opts := importing
	opts.ReadTimeout = 2 * time.Second
	b.startWith(t, fetch.New(mirrored, steady), opts, store.Options{BootID: "b"})
	l := b.open(t)
	f := b.files[13]
	at := extents(t, l)[f.name]
	if _, err := l.ReadAt(t.Context(), make([]byte, len(f.data)), at); !errors.Is(err, layer.ErrTimeout) {
		t.Errorf("both hosts send other bytes: %v", err)
	}
	b.SetFault(nil)
	eventually(t, func() error {
		got := make([]byte, len(f.data))
		_, err := l.ReadAt(t.Context(), got, at)
		if err == nil && !bytes.Equal(got, f.data) {
			t.Error("other bytes were read")
		}
		return err
	})
	if liar.Count(registrytest.Blob) == 0 {
		t.Error("the mirror was not asked")
	}
}

// damagedTable makes the store have the layer of the bench with another chunk table, and none
// of its bytes.
func (b *bench) damagedTable(t *testing.T, change func(table []byte) []byte) {
	t.Helper()
	b.start(t, importing, store.Options{})
	l := b.open(t)
	id, dir := l.ID(), filepath.Join(b.root, "layers", strconv.FormatUint(l.Number(), 10))
	content := store.Content{DataSize: l.DataSize(), Sources: []string{b.req.Source.Ref}}
	var err error
	if content.Chunks, err = os.ReadFile(filepath.Join(dir, "chunks")); err != nil {
		t.Fatal(err)
	}
	if content.Entries, err = os.ReadFile(filepath.Join(dir, "entries")); err != nil {
		t.Fatal(err)
	}
	content.NChunks, content.Chunks = layer.Chunks(l), change(content.Chunks)
	b.stop(t)
	b.root = filepath.Join(t.TempDir(), "store")
	b.start(t, importing, store.Options{})
	data, err := b.store.Add(id, content)
	if err != nil {
		t.Fatal(err)
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOldTableIsImportedAgain has a chunk table of a compression that there was before points.
func TestOldTableIsImportedAgain(t *testing.T) {
	b := plainBench(t, largeFiles(), packers["gzip"])
	b.damagedTable(t, func(table []byte) []byte {
		copy(table[24:32], "members\x00")
		return layer.Resum(table)
	})
	l := b.open(t)
	if !l.Full() {
		t.Error("it was not imported")
	}
	b.wantFiles(t, l)
	if n := len(b.store.Layers()); n != 1 {
		t.Errorf("%d layers", n)
	}
}

// TestDamagedPointsAreImportedAgain has a list of points that cannot be decoded, although its
// checksum is right: reads fail at once, and no host is asked again for it. The layer is
// imported when it is opened again.
func TestDamagedPointsAreImportedAgain(t *testing.T) {
	b := plainBench(t, largeFiles(), packers["gzip"])
	b.damagedTable(t, func(table []byte) []byte {
		for i := len(table) - 200; i < len(table)-12; i++ {
			table[i] ^= 0xff
		}
		return layer.Resum(table)
	})
	l := b.open(t)
	at := extents(t, l)
	failed := 0
	for _, f := range b.files {
		b.Reset()
		_, err := l.ReadAt(t.Context(), make([]byte, 1), at[f.name])
		if n := b.Count(); err != nil && n > 1 {
			t.Errorf("%s: %d requests", f.name, n)
		}
		got := make([]byte, len(f.data))
		if err == nil {
			_, err = l.ReadAt(t.Context(), got, at[f.name])
		}
		if err != nil {
			failed++
		} else if !bytes.Equal(got, f.data) {
			t.Errorf("%s: other bytes", f.name)
		}
		if errors.Is(err, layer.ErrTimeout) {
			t.Fatal(err)
		}
	}
	if failed == 0 {
		t.Error("all files could be read")
	}
	again := b.open(t)
	if again == l || !again.Full() {
		t.Error("it was not imported again")
	}
	b.wantFiles(t, again)
}
