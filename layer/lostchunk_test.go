package layer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// loseOnly stops the bench, and overwrites size bytes at off of the layer's data file with zeros.
func (b *bench) loseOnly(t *testing.T, l *layer.Layer, off int64, size int) {
	t.Helper()
	path := filepath.Join(b.root, "layers", strconv.FormatUint(l.Number(), 10), "data")
	b.stop(t)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, size), off); err != nil {
		t.Fatal(err)
	}
}

// TestLostChunkAlone loses one file in the middle of a layer: only the bytes of the streams that
// its chunks are in are fetched, which in an uncompressed layer are the file's own.
func TestLostChunkAlone(t *testing.T) {
	for name, most := range map[string]int64{"uncompressed": 0, "frames": 2 * 310_000, "gzip": 5 * spacing / 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := plainBench(t, largeFiles(), packers[name])
			b.start(t, importing, store.Options{BootID: "a"})
			l := b.open(t)
			f := b.files[13]
			at := extents(t, l)[f.name]
			b.loseOnly(t, l, at, len(f.data))
			b.start(t, importing, store.Options{BootID: "b"})
			l = b.open(t)
			b.Reset()
			b.wantFiles(t, l)
			n := b.fetched(t)
			if most == 0 {
				most = int64(len(f.data))
				first, _ := rangeOf(t, b.Log()[0])
				if want := int64(bytes.Index(b.blob, f.data)); first != want {
					t.Errorf("fetched from %d of the blob, the file is at %d", first, want)
				}
			}
			if n == 0 || n > most {
				t.Errorf("%d bytes were fetched, want at most %d, in %d requests", n, most, b.Count())
			}
		})
	}
}
