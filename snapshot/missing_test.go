package snapshot

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
)

// If the directory of a snapshot is gone, that one and what is above it cannot be used,
// and all others can. It can be removed.
func TestMissingDirectories(t *testing.T) {
	s := newCopying(t)
	s.commit("whole", "", "file")
	s.commit("broken", "", "lost/file")
	s.commit("child", "broken", "more")
	s.copy("copied", "whole", "broken", "/lost:/to")
	mustPrepare(t, s.Snapshotter, "above", "child")
	mustPrepare(t, s.Snapshotter, "beside", "whole")
	mustPrepare(t, s.Snapshotter, "itself", "whole")
	mustMerge(t, s.Snapshotter, "merged", "whole", "broken child")
	must(t, os.RemoveAll(filepath.Dir(s.upper(idOfKey(t, s.Snapshotter, "broken")))))
	must(t, os.RemoveAll(filepath.Dir(s.upper(idOfKey(t, s.Snapshotter, "itself")))))
	must(t, s.w.Close())
	must(t, s.Close())
	opts := s.opts
	var err error
	s.Snapshotter, err = New(t.Context(), opts)
	must(t, err)
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		for _, key := range []string{"above", "beside", "itself", "over merged"} {
			must(t, s.Remove(ctx, key))
		}
		must(t, s.Close())
	})
	for _, key := range []string{"above", "itself"} {
		if _, err := s.Mounts(t.Context(), key); !errdefs.IsDataLoss(err) {
			t.Errorf("mounts of %s: %v", key, err)
		}
	}
	for _, parent := range []string{"broken", "child"} {
		if _, err := s.View(t.Context(), "view", parent); !errdefs.IsDataLoss(err) {
			t.Errorf("view of %s: %v", parent, err)
		}
		if _, err := s.Prepare(t.Context(), "over", parent); !errdefs.IsDataLoss(err) {
			t.Errorf("prepared over %s: %v", parent, err)
		}
	}
	if _, err := s.Prepare(t.Context(), "merge", "", asMerge("whole child")); err == nil {
		t.Error("merged what is not there")
	}
	if _, err := s.tryCopy("copy", "whole", "broken", "/lost:/to"); err == nil {
		t.Error("copied what is not there")
	}
	if _, err := s.Mounts(t.Context(), "beside"); err != nil {
		t.Error(err)
	}
	s.view("whole", func(dir string) {
		if _, err := os.Lstat(filepath.Join(dir, "file")); err != nil {
			t.Error(err)
		}
	})
	s.view("copied", func(dir string) {
		if _, err := os.Lstat(filepath.Join(dir, "to/file")); err != nil {
			t.Error(err)
		}
	})
	mustPrepare(t, s.Snapshotter, "over merged", "merged")
	must(t, s.Cleanup(t.Context()))
}
