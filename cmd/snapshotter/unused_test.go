package main

import (
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/snapshot"
	"github.com/ladle-dev/ladle/store"
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

// TestLayerOfKilledProcessIsDropped has a layer without a snapshot, and nobody who removes one.
func TestLayerOfKilledProcessIsDropped(t *testing.T) {
	st, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := st.Add(store.ID{Blob: digest.FromString("blob"), TOC: digest.FromString("toc")}, store.Content{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	set := layer.NewSet(st, fetch.New(nil, fetch.Options{}), layer.Options{NoFill: true})
	d := &daemon{store: st, layers: set, open: &closers{}}
	started := make(chan time.Time)
	d.dropUnused(t.Context(), snapshot.NewClaims(), started)
	if n := len(st.Layers()); n != 1 {
		t.Errorf("%d layers are there at the start", n)
	}
	started <- time.Now()
	waittest.For(t, "the layer to be dropped", func() bool { return len(st.Layers()) == 0 })
	if err := d.open.close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
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
