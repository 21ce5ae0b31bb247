package snapshot

import (
	"context"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// Every snapshot that is stored is known by its names, whatever became of
// others.
func TestAllSnapshotsAreKnown(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	check := func(when string, want ...string) {
		t.Helper()
		err := s.meta.WithTransaction(t.Context(), false, func(ctx context.Context) error {
			stored, err := storage.IDMap(ctx)
			if err != nil {
				return err
			}
			for _, key := range stored {
				if !slices.Contains(s.clientKeys.of(key), key) {
					t.Errorf("%s: %q is not known", when, key)
				}
			}
			if len(stored) != len(want) {
				t.Errorf("%s: stored are %v, want %v", when, stored, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	id := d.addLayer(t, "layer", map[string]string{"f": "lazy"})
	if _, err := s.Prepare(t.Context(), "extract", "", snapshots.WithLabels(lazyLabels("target", id))); !errdefs.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	commitFiles(t, s, "a", "", map[string]string{"a": "old"})
	mustPrepare(t, s, "active", "a")
	check("made", "target", "a", "active")
	if err := s.Commit(t.Context(), "a", "active"); !errdefs.IsAlreadyExists(err) {
		t.Fatalf("two snapshots are called a: %v", err)
	}
	check("commit failed", "target", "a", "active")
	for _, key := range []string{"active", "a"} {
		if err := s.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	commitFiles(t, s, "a", "", map[string]string{"a": "new"})
	check("made again", "target", "a")
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("swept", "target", "a")
	s = reopen(t, d, s)
	check("after a restart", "target", "a")
	wantFiles(t, "merge", mustPrepare(t, s, "merge", "", asMerge(" target", " a")), map[string]string{"a": "new", "f": "lazy"})
}
