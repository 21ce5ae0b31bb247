package fs

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// drivers are all drivers; each works on the machines that run these tests.
var drivers = []string{"erofs", "loop", "fuse"}

// onEachDriver runs test with a FileSystem of each driver.
func onEachDriver(t *testing.T, test func(t *testing.T, l *lab)) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			test(t, newLab(t, driver))
		})
	}
}

// lab is a FileSystem over a store of layers with local data. It is closed when the test
// ends, and then nothing of it may be left.
type lab struct {
	*FileSystem
	*shelf
	t       testing.TB
	counted *prometheus.Registry
}

// shelf is the layers of a lab, and where they are.
type shelf struct {
	root  string
	store *store.Store
	mu    struct {
		sync.Mutex
		books map[store.ID]*book
	}
}

// book is a layer on the shelf. Its Number is the store's.
type book struct {
	*store.Layer // nil Entries, and most often nil Chunks
	root         *tree.Inode
	data         io.ReaderAt
	open         atomic.Int64 // how many have it open
	reads        atomic.Int64
	// whole: all bytes of the layer are in its data file, too.
	whole bool
	// hook, if not nil, is called before a read; an error is the read's.
	hook atomic.Pointer[func(ctx context.Context, off int64, n int) error]
}

func (b *book) Tree() (*tree.Inode, error) { return b.root, nil }

func (b *book) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	b.reads.Add(1)
	if off+int64(len(p)) > b.DataSize() || len(p) == 0 {
		return 0, fmt.Errorf("read of %d bytes from %d of %d", len(p), off, b.DataSize())
	}
	if hook := b.hook.Load(); hook != nil {
		if err := (*hook)(ctx, off, len(p)); err != nil {
			return 0, err
		}
	}
	return b.data.ReadAt(p, off)
}

// onRead sets the hook.
func (b *book) onRead(hook func(ctx context.Context, off int64, n int) error) { b.hook.Store(&hook) }

func (b *book) Close() error {
	if b.open.Add(-1) < 0 {
		panic("layer closed more often than opened")
	}
	return nil
}

func newShelf(t testing.TB, root string) *shelf {
	t.Helper()
	st, err := store.Open(t.Context(), filepath.Join(root, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{root: root, store: st}
	s.mu.books = map[store.ID]*book{}
	t.Cleanup(func() {
		for _, b := range s.mu.books {
			if err := b.Layer.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// add puts a layer with the tree root and contents from data on the shelf.
func (s *shelf) add(t testing.TB, name string, root *tree.Inode, data io.ReaderAt) store.ID {
	t.Helper()
	id, err := s.put(name, root, data)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (s *shelf) put(name string, root *tree.Inode, data io.ReaderAt) (store.ID, error) {
	return s.putWith(name, root, data, nil)
}

func (s *shelf) putWith(name string, root *tree.Inode, data io.ReaderAt, chunks []byte) (store.ID, error) {
	id := store.ID{Blob: digest.FromString(name), TOC: digest.FromString("TOC of " + name)}
	// Data files need not end with a block.
	var size int64
	_ = tree.Walk(root, func(_ string, i *tree.Inode) error {
		if i.IsRegular() && i.Size > 0 {
			size = max(size, i.Data.Offset+i.Size)
		}
		return nil
	})
	layer, err := s.store.Add(id, store.Content{DataSize: size, Chunks: chunks})
	if err != nil {
		return id, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.books[id] = &book{Layer: layer, root: root, data: data}
	return id, nil
}

func (s *shelf) Layer(id store.ID) (*book, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.mu.books[id]
	if b == nil {
		return nil, store.ErrNotFound
	}
	b.open.Add(1)
	return b, nil
}

// book returns a layer without opening it.
func (s *shelf) book(id store.ID) *book {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.books[id]
}

func (s *shelf) options(driver string) Options {
	return Options{Root: s.root, Images: s.store, Layers: LayersOf(s), Driver: driver}
}

func newLab(t testing.TB, driver string) *lab {
	t.Helper()
	return newLabIn(t, testDir(t), driver)
}

// newLabIn makes a lab in a directory in which one was before.
func newLabIn(t testing.TB, root, driver string) *lab {
	t.Helper()
	s := newShelf(t, root)
	opts, counted := s.options(driver), prometheus.NewRegistry()
	opts.Requests = metrics.New(counted).Requests
	f, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{FileSystem: f, shelf: s, t: t, counted: counted}
	t.Cleanup(l.end)
	return l
}

// requests returns how many requests the kernel has sent, by operation; every
// operation is there.
func (l *lab) requests() map[metrics.Op]float64 {
	l.t.Helper()
	families, err := l.counted.Gather()
	if err != nil {
		l.t.Fatal(err)
	}
	n := map[metrics.Op]float64{}
	for _, f := range families {
		if f.GetName() != "ladle_fuse_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			n[metrics.Op(m.GetLabel()[0].GetValue())] = m.GetCounter().GetValue()
		}
	}
	if len(n) != len(metrics.AllOps) {
		l.t.Fatalf("requests are counted by %d operations of %d", len(n), len(metrics.AllOps))
	}
	return n
}

// end closes the FileSystem and looks for what is left.
func (l *lab) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t.Context has ended
	defer cancel()
	if err := l.Close(ctx); err != nil {
		l.t.Error(err)
	}
	checkNothingLeft(l.t, l.shelf.root)
	for id, b := range l.shelf.mu.books {
		if n := b.open.Load(); n != 0 {
			l.t.Errorf("layer %s is still open %d times", id.Blob, n)
		}
	}
}

// checkNothingLeft fails the test for mounts, directories and loop devices
// below root.
func checkNothingLeft(t testing.TB, root string) {
	t.Helper()
	points, err := mountsBelow(root)
	if err != nil || len(points) > 0 {
		t.Errorf("left mounted: %v (%v)", points, err)
		for _, p := range slices.Backward(points) {
			_ = unix.Unmount(p, unix.MNT_DETACH)
		}
	}
	for _, dir := range []string{"f", "l/*", "m/*/*", "probe/tree", "probe/first", "probe/mapped"} {
		dirs, err := filepath.Glob(filepath.Join(root, dir, "*"))
		if err != nil || len(dirs) > 0 {
			t.Errorf("left: %v (%v)", dirs, err)
		}
	}
	// The kernel clears loop devices some time after the last close.
	waittest.For(t, "loop devices cleared", func() bool { return len(loopsBelow(root)) == 0 })
}

// loopsBelow returns the loop devices on files below root.
func loopsBelow(root string) (devices []string) {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(b), root+"/") {
			devices = append(devices, file)
		}
	}
	return devices
}

// testDir returns a directory that is removed after the test. Unlike
// t.TempDir it has a short name, and is not emptied through a mount that was
// left.
func testDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		points, err := mountsBelow(dir)
		if err != nil || len(points) > 0 {
			t.Errorf("%s not removed, as there are mounts: %v (%v)", dir, points, err)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// over returns the tree of a layer as it is, or of several with nothing below.
func over(layers ...store.ID) store.Spec {
	spec := store.Spec{Layers: layers}
	if len(layers) != 1 {
		spec.Kind = store.Lowest
	}
	return spec
}

// mount mounts the tree over layers for owner or fails the test.
func (l *lab) mount(owner string, layers ...store.ID) string {
	l.t.Helper()
	return l.mountSpec(owner, over(layers...))
}

func (l *lab) mountSpec(owner string, spec store.Spec) string {
	l.t.Helper()
	path, err := l.Mount(l.t.Context(), owner, spec)
	if err != nil {
		l.t.Fatal(err)
	}
	return path
}

func (l *lab) release(owner string) {
	l.t.Helper()
	if err := l.Release(l.t.Context(), owner); err != nil {
		l.t.Fatal(err)
	}
}
