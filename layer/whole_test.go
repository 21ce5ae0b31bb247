package layer_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// wholeFile waits until a layer has a data file to read, and reads it.
func wholeFile(t *testing.T, l *layer.Layer) []byte {
	t.Helper()
	var path string
	waitFor(t, func() (ok bool) {
		path, ok = l.DataFile(t.Context())
		return ok
	})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantDataFile compares the data file of a layer with the files that it is to have.
func (b *bench) wantDataFile(t *testing.T, l *layer.Layer) {
	t.Helper()
	data := wholeFile(t, l)
	at := extents(t, l)
	for _, f := range b.files {
		if off := at[f.name]; !bytes.Equal(data[off:off+int64(len(f.data))], f.data) {
			t.Errorf("%s differs in the data file", f.name)
		}
	}
}

// TestDataFile: an imported layer has a data file to read at once, a lazy one when all of
// it was fetched, and after a reset of the machine both have when all of it was verified.
func TestDataFile(t *testing.T) {
	imported := plainBench(t, someFiles(1, 30), packers["gzip"])
	imported.start(t, importing, store.Options{BootID: "a"})
	imported.wantDataFile(t, imported.open(t))

	lazy := newBench(t, registrytest.Options{}, someFiles(2, 30))
	l := lazy.open(t)
	if path, ok := l.DataFile(t.Context()); ok {
		t.Errorf("%s is given out before anything was fetched", path)
	}
	readAll(t, l, 0, int(l.DataSize()))
	lazy.wantDataFile(t, l)

	for _, b := range []*bench{imported, lazy} {
		b.stop(t)
		b.start(t, importing, store.Options{BootID: "b"})
		l := b.open(t)
		if path, ok := l.DataFile(t.Context()); ok {
			t.Errorf("%s is given out after a reset, before it was verified", path)
		}
		readAll(t, l, 0, int(l.DataSize()))
		b.wantDataFile(t, l)
	}
}
