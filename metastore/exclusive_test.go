package metastore

import (
	"context"
	"errors"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// Exclusively excludes what writes, and writes nothing, also if it fails.
func TestExclusively(t *testing.T) {
	s := open(t, t.TempDir())
	commit(t, s, "before", "")
	written := s.count.written.Load()
	for _, want := range []error{nil, errors.New("failed")} {
		beside := make(chan error, 1)
		err := s.Exclusively(t.Context(), func(ctx context.Context) error {
			if _, err := storage.CreateSnapshot(ctx, snapshots.KindActive, "rolled back", ""); err != nil {
				return err
			}
			go func() {
				beside <- s.WithTransaction(context.WithoutCancel(t.Context()), true, func(ctx context.Context) error {
					_, _, _, err := storage.GetInfo(ctx, "rolled back")
					return err
				})
			}()
			return want
		})
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if err := <-beside; err == nil {
			t.Error("a transaction that waited finds what was rolled back")
		}
	}
	if n := s.count.written.Load(); n != written {
		t.Errorf("%d transactions count as written", n-written)
	}
}
