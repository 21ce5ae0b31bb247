package cold

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

func TestMeasureCost(t *testing.T) {
	cache, err := image.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	img, err := cache.Image(t.Context(), "steady-small", image.Uncompressed)
	if err != nil {
		t.Fatal(err)
	}
	size, err := img.UncompressedSize()
	if err != nil {
		t.Fatal(err)
	}
	r, name := registryWith(t, "steady-small", image.Uncompressed)
	for _, s := range []Start{
		{Snapshotter: "overlayfs"},
		{Snapshotter: "ladle", Daemons: []stack.Daemon{stack.Ladle("ladle", "")}},
	} {
		t.Run(s.Snapshotter, func(t *testing.T) {
			s.Image = name
			var called atomic.Bool
			got, err := MeasureCost(t.Context(), r.Addr, link.Profile{}, s, func(ctx context.Context) {
				called.Store(true)
				<-ctx.Done()
			})
			if err != nil {
				t.Fatal(err)
			}
			if !called.Load() || got.Took <= 0 || got.Memory < 10<<20 || got.DiskMost < got.Disk || got.Counters.BytesDown < size {
				t.Errorf("measured %+v", got)
			}
			// The files are there, and for overlayfs the blobs besides.
			if least := size * int64(2-len(s.Daemons)); got.Disk < least || got.Disk > 4*size {
				t.Errorf("%d bytes on disk, want at least %d", got.Disk, least)
			}
		})
	}
}

// Hard links count once, and holes do not.
func TestDiskUsage(t *testing.T) {
	dir := t.TempDir()
	before, err := diskUsage(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "file"), 1<<30); err != nil {
		t.Fatal(err)
	}
	after, err := diskUsage(dir)
	if used := after - before; err != nil || used < 1<<20 || used > 2<<20 {
		t.Errorf("%d bytes, %v", used, err)
	}
}
