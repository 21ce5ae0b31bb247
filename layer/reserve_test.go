package layer_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/disktest"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// Background fetch and prefetch leave the reserve of the disk free. What is read
// comes all the same, and is stored. When there is space again the rest is fetched.
func TestReserve(t *testing.T) {
	var files []file
	for i := range 16 { // 48 MiB
		files = append(files, file{name: "large" + string(rune('a'+i)), data: someFiles(uint64(70+i), 0)[0].data})
	}
	for name, opts := range map[string]layer.Options{
		"background fetch": {NoPrefetch: true, FillDelay: time.Millisecond, FillRetry: time.Millisecond},
		"prefetch":         {PrefetchSize: 1 << 40, FillDelay: time.Millisecond, FillRetry: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			dir := disktest.New(t, "ext4", 224<<20)
			b := newBench(t, registrytest.Options{}, files)
			b.stop(t)
			ballast := filepath.Join(dir, "ballast")
			disktest.Allocate(t, ballast, 80<<20)
			reserve := freeBytes(t, dir) - 6<<20
			b.root = filepath.Join(dir, "store")
			b.start(t, opts, store.Options{Reserve: func(int64) int64 { return reserve }})
			l := b.open(t)
			waitFor(t, b.store.IsLow)
			waitFor(t, func() bool { return layer.Runs(l) == 0 })
			// How much is free is asked every 10 ms, in which a fast machine stores megabytes.
			if free := freeBytes(t, dir); free < reserve-30<<20 || l.Full() {
				t.Errorf("%d bytes are free, less than the reserve of %d; the layer is full: %v", free, reserve, l.Full())
			}

			// A reader that comes back finds on disk what it has read.
			last := files[len(files)-1]
			at := extents(t, l)
			for range 2 {
				b.Reset()
				if got := readAll(t, l, at[last.name], len(last.data)); string(got) != string(last.data) {
					t.Error("wrong bytes")
				}
			}
			if n := b.Count(); n > 0 {
				t.Errorf("%d requests for what was read before", n)
			}
			if l.Full() {
				t.Error("all was fetched for one reader")
			}

			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			waitFor(t, l.Full)
			b.checkAll(t, l)
		})
	}
}

func freeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	return int64(fs.Bavail) * fs.Bsize
}
