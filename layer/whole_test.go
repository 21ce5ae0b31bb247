package layer_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
// it was fetched and proved, and after a reset of the machine both have when all of it was
// verified.
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
	if path, ok := l.DataFile(t.Context()); ok || !l.Full() {
		t.Errorf("%q is given out before the layer is proved; full is %v", path, l.Full())
	}
	lazy.restart(t, filler)
	l = lazy.open(t)
	waitFor(t, func() bool { return lazy.store.Proof(l.ID()).DiffID != "" })
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

// TestWrongLayerHasNoDataFile: a layer that was taken out of service can be read by nobody.
func TestWrongLayerHasNoDataFile(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(1, 3))
	l := b.open(t)
	readAll(t, l, 0, int(l.DataSize()))
	stored, err := b.store.Layer(l.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	for _, c := range []struct {
		wrong string
		want  bool
	}{{"", true}, {"by the test", false}} {
		if err := stored.SetProof(store.Proof{DiffID: l.ID().Blob, Wrong: c.wrong}); err != nil {
			t.Fatal(err)
		}
		if c.want {
			b.wantDataFile(t, l)
		} else if path, ok := l.DataFile(t.Context()); ok {
			t.Errorf("%s is given out", path)
		}
	}
}

// filler fetches, verifies and proves at once what nobody reads.
var filler = layer.Options{FillDelay: time.Millisecond, FillRetry: time.Millisecond, ReadTimeout: time.Minute, Importing: layer.Importing{Enable: true}}

// TestFillerVerifies: after a reset of the machine the filler verifies what nobody reads,
// without a registry, and fetches what is wrong.
func TestFillerVerifies(t *testing.T) {
	b := plainBench(t, someFiles(1, 30), packers["uncompressed"])
	b.start(t, importing, store.Options{BootID: "a"})
	b.wantDataFile(t, b.open(t))
	b.SetFault(func(registrytest.Request) registrytest.Fault { return registrytest.Fault{Status: http.StatusNotFound} })
	b.stop(t)
	b.start(t, filler, store.Options{BootID: "b"})
	l := b.open(t)
	b.wantDataFile(t, l)
	b.stop(t)

	b.SetFault(nil)
	file, err := os.OpenFile(filepath.Join(b.root, "layers", strconv.FormatUint(l.Number(), 10), "data"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("not what was there"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	b.start(t, filler, store.Options{BootID: "c"})
	b.wantDataFile(t, b.open(t))
}

// TestWholeLayerIsNotCachedTwice: the kernel keeps no pages of a data file that it reads
// itself for the trees above.
func TestWholeLayerIsNotCachedTwice(t *testing.T) {
	b := plainBench(t, someFiles(1, 30), packers["uncompressed"])
	b.start(t, filler, store.Options{})
	l := b.open(t)
	b.wantDataFile(t, l) // reads all of it
	path, ok := l.DataFile(t.Context())
	if !ok {
		t.Fatal("not whole any more")
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	waitFor(t, func() bool {
		stat, all := unix.Cachestat_t{}, unix.CachestatRange{}
		err := unix.Cachestat(uint(file.Fd()), &all, &stat, 0)
		if errors.Is(err, unix.ENOSYS) {
			t.Skip("the kernel does not tell what it caches (Linux 6.5)")
		}
		if err != nil {
			t.Fatal(err)
		}
		return stat.Cache == 0
	})
}
