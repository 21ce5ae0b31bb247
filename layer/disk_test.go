package layer_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/disktest"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// moveTo goes on with a new store at root.
func (b *bench) moveTo(t *testing.T, root string) *layer.Layer {
	t.Helper()
	b.stop(t)
	b.root = root
	b.start(t, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: patient}, store.Options{})
	return b.open(t)
}

// While the disk is full reads go on, without a request for each of them, and
// nothing is damaged. When there is space again it is used.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := disktest.New(t, "ext4", 16<<20)
	b := newBench(t, registrytest.Options{}, someFiles(30, 300))
	l := b.moveTo(t, filepath.Join(dir, "store"))
	large := extents(t, l)["large"]
	readAll(t, l, large, 200_000) // some chunks are on the disk
	free := disktest.Exhaust(t, dir)

	b.Reset()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { b.checkAll(t, l) })
	}
	wg.Wait()
	if n, chunks := b.Count(), len(b.files); n > chunks/4 {
		t.Errorf("%d requests for %d files", n, chunks)
	}
	if l.Full() {
		t.Error("the disk was not full")
	}
	free()
	// What was kept in memory comes to the disk only when it is forgotten.
	waitFor(t, func() bool {
		b.checkAll(t, l)
		return l.Full()
	})
	b.stop(t)
	b.Close()
	b.start(t, layer.Options{NoFill: true}, store.Options{})
	b.checkAll(t, b.open(t))
}

// A disk that takes bytes and then cannot keep them, such as a thin volume
// without space, costs requests, but gives no zeros.
func TestLostWrites(t *testing.T) {
	t.Parallel()
	thin := disktest.Tmpfs(t, 32<<20)
	dir := disktest.Thin(t, thin, 64<<20)
	b := newBench(t, registrytest.Options{}, someFiles(31, 100))
	l := b.moveTo(t, filepath.Join(dir, "store"))
	readAll(t, l, extents(t, l)["large"], 100_000)
	unix.Sync()
	data, err := os.Open(dataFile(t, b.root)) // it is told of all that is lost from now on
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	free := disktest.Exhaust(t, thin)
	b.checkAll(t, l)
	if data.Sync() == nil {
		t.Fatal("the disk kept what it had no space for")
	}
	// What was lost may still be cached.
	if err := unix.Fadvise(int(data.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	b.checkAll(t, l)
	free()
	_ = data.Sync() // tells of what was lost until now
	waitFor(t, func() bool {
		b.checkAll(t, l)
		return l.Full()
	})
	if err := data.Sync(); err != nil {
		t.Error(err)
	}
}
