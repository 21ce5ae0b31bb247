package metastore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const thisBoot = "this boot"

// open opens the store in dir, and closes it when the test ends.
func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, Options{BootID: thisBoot})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// commit makes a committed snapshot.
func commit(t testing.TB, s *Store, name, parent string, opts ...snapshots.Opt) {
	t.Helper()
	must(t, s.WithTransaction(context.WithoutCancel(t.Context()), true, func(ctx context.Context) error {
		if _, err := storage.CreateSnapshot(ctx, snapshots.KindActive, name+" active", parent); err != nil {
			return err
		}
		_, err := storage.CommitActive(ctx, name+" active", name, snapshots.Usage{Size: 5}, opts...)
		return err
	}))
}

// list returns all that the store has of each snapshot, by key.
func list(t testing.TB, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := s.WithTransaction(context.WithoutCancel(t.Context()), false, func(ctx context.Context) error {
		return storage.WalkInfo(ctx, func(ctx context.Context, info snapshots.Info) error {
			id, info, usage, err := storage.GetInfo(ctx, info.Name)
			all[info.Name] = fmt.Sprint(id, info, usage)
			return err
		})
	})
	if !errdefs.IsNotFound(err) {
		must(t, err)
	}
	return all
}

func keys(of map[string]string) []string { return slices.Sorted(maps.Keys(of)) }

// Many write, and what is saved meanwhile is a database each time.
func TestSavedWhileWritten(t *testing.T) {
	s := open(t, t.TempDir())
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 60 && err == nil; i++ {
			err = s.WithTransaction(context.WithoutCancel(t.Context()), true, func(ctx context.Context) error {
				_, err := storage.CreateSnapshot(ctx, snapshots.KindActive, fmt.Sprint("key", i), "")
				return err
			})
		}
		done <- err
	}()
	for range 5 {
		if err := s.save(t.Context()); err != nil {
			t.Error(err)
		}
		// It is the state after one of the calls: the first so many.
		saved := savedKeys(t, s)
		for i := range saved {
			if !slices.Contains(saved, fmt.Sprint("key", i)) {
				t.Errorf("of %d snapshots there is no %d", len(saved), i)
			}
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// savedKeys returns the snapshots of the saved file.
func savedKeys(t *testing.T, s *Store) []string {
	t.Helper()
	dir := t.TempDir()
	b, err := os.ReadFile(s.path(SavedFile))
	must(t, errors.Join(err, os.WriteFile(filepath.Join(dir, SavedFile), b, 0o600),
		os.WriteFile(filepath.Join(dir, StateFile), []byte("another boot\n"), 0o600)))
	copied, err := Open(t.Context(), dir, Options{BootID: thisBoot})
	must(t, err)
	saved := keys(list(t, copied))
	must(t, copied.Close())
	return saved
}
