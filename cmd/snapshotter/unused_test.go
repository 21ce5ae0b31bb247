package main

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ladle-dev/ladle/internal/waittest"
)

// TestUnusedLayerIsDropped: a layer that is read while its last snapshot is removed remains
// until the reader has closed its file, and is then dropped without another Cleanup.
func TestUnusedLayerIsDropped(t *testing.T) {
	for _, driver := range []string{"erofs", "loop", "fuse"} {
		t.Run(driver, func(t *testing.T) {
			i := newImage(t)
			d := startDaemon(t, daemonOptions{config: onlyDemand + "driver = \"" + driver + "\"\n"})
			client := connect(t, d.address)
			i.pull(t, client)
			mounts, err := client.View(t.Context(), "view", "layer")
			if err != nil {
				t.Fatal(err)
			}
			if len(mounts) != 1 || mounts[0].Type != "bind" {
				t.Fatalf("mounts are %v", mounts)
			}
			r := startReader(t, filepath.Join(mounts[0].Source, "large"))
			for _, key := range []string{"view", "layer"} {
				if err := client.Remove(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
			if err := client.(snapshots.Cleaner).Cleanup(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.begin("read 1000000 1000")
			r.wants(i.want(1_000_000, 1000))
			if err := r.in.(io.Closer).Close(); err != nil { // which ends it
				t.Fatal(err)
			}
			waittest.For(t, "the layer to be dropped", func() bool { return len(d.stored(t)) == 0 })
			d.stop(t.Context())
		})
	}
}

// stored is the directories of the layers and tree images that a daemon has.
func (d *process) stored(t *testing.T) (all []string) {
	t.Helper()
	for _, kind := range []string{"layers", "trees"} {
		found, err := filepath.Glob(filepath.Join(d.root, "store", kind, "*"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}
