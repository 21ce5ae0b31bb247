package snapshot

import (
	"context"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// Every snapshot that is stored is known by its names and its number, whatever
// became of others.
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
			for id, key := range stored {
				if got, err := s.known.keyOf(ctx, id); err != nil || got != key {
					t.Errorf("%s: number %s is of %q, %v; it is of %q", when, id, got, err, key)
				}
				if !slices.Contains(s.known.of(key), key) {
					t.Errorf("%s: %q is not known", when, key)
				}
			}
			if got, err := s.known.keyOf(ctx, "999"); got != "" || err != nil {
				t.Errorf("%s: number 999 is of %q, %v", when, got, err)
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
	old := idOfKey(t, s, "a")
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
	if got, err := keyOf(t, s, old); got != "" || err != nil {
		t.Errorf("the number of a removed snapshot is of %q, %v", got, err)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("swept", "target", "a")
	s = reopen(t, d, s)
	check("after a restart", "target", "a")
	wantFiles(t, "merge", mustPrepare(t, s, "merge", "", asMerge(" target", " a")), map[string]string{"a": "new", "f": "lazy"})
}

func keyOf(t *testing.T, s *Snapshotter, id string) (key string, err error) {
	t.Helper()
	err = s.meta.WithTransaction(t.Context(), false, func(ctx context.Context) (err error) {
		key, err = s.known.keyOf(ctx, id)
		return err
	})
	return key, err
}
