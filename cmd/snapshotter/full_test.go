package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/disktest"
)

// A daemon that is killed or stopped on a full disk starts again, serves the snapshots of
// before, answers ResourceExhausted to calls that need space, and works when there is space
// again.
func TestRestartOnAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	requireRoot(t)
	exhaust := func(t *testing.T, dir string) func() { return disktest.Exhaust(t, dir) }
	for name, test := range map[string]struct {
		kind    string
		args    []string
		exhaust func(t *testing.T, dir string) (free func())
		dirs    bool // there may be space for a directory, which is not for files
		overlay bool // the kernel needs no space to mount an overlay
	}{
		"ext4":        {"ext4", nil, exhaust, false, true},
		"xfs":         {"xfs", nil, exhaust, false, true},
		"btrfs":       {"btrfs", nil, exhaust, true, true},
		"ext4 inodes": {"ext4", []string{"-N", "200"}, func(t *testing.T, dir string) func() { return disktest.ExhaustInodes(t, dir) }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(disktest.New(t, test.kind, 48<<20, test.args...), "r")
			config := quiet
			d := startDaemon(t, daemonOptions{root: root, config: config})
			client := connect(t, d.address)
			i := newImage(t)
			i.pull(t, client)
			prepare := func(key string) ([]mount.Mount, error) { return client.Prepare(t.Context(), key, "layer") }
			for _, key := range []string{"active", "committed", "removed"} {
				if _, err := prepare(key); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := client.View(t.Context(), "view", "layer"); err != nil {
				t.Fatal(err)
			}
			if err := client.Commit(t.Context(), "name", "committed"); err != nil {
				t.Fatal(err)
			}
			i.check(t, client, "active", 1<<20)
			free := test.exhaust(t, filepath.Dir(root))

			restart := func(end func()) {
				t.Helper()
				end()
				<-d.exited
				d = startDaemon(t, daemonOptions{root: root, address: d.address, config: config})
				client = connect(t, d.address)
				if info, err := client.Stat(t.Context(), "name"); err != nil || info.Kind != snapshots.KindCommitted {
					t.Errorf("Stat: %+v, %v", info, err)
				}
				i.check(t, client, "view", len(i.large))
				if test.overlay {
					i.check(t, client, "active", len(i.large))
				}
			}
			kill := func() { d.signal(syscall.SIGKILL) }
			restart(kill)
			_, err := prepare("new")
			if err == nil && test.dirs {
				err = client.Remove(t.Context(), "new")
			} else if errdefs.IsResourceExhausted(err) {
				err = nil
			}
			if err != nil {
				t.Errorf("Prepare on a full disk: %v", err)
			}
			if _, err := client.Stat(t.Context(), "new"); !errdefs.IsNotFound(err) {
				t.Errorf("half made: %v", err)
			}
			i.pull(t, client) // it is there
			restart(kill)
			restart(func() { d.stop(context.WithoutCancel(t.Context())) })
			if err := client.Remove(t.Context(), "removed"); err != nil {
				t.Error(err)
			}
			if err := client.(snapshots.Cleaner).Cleanup(t.Context()); err != nil {
				t.Error(err)
			}

			free()
			if _, err := prepare("new"); err != nil {
				t.Error(err)
			}
			test.overlay = true
			restart(kill)
			i.check(t, client, "new", len(i.large))
			d.stop(t.Context())
		})
	}
}

// check mounts the snapshot key, compares the first bytes of /large, and unmounts it.
func (i *image) check(t *testing.T, client snapshots.Snapshotter, key string, n int) {
	t.Helper()
	mounts, err := client.Mounts(t.Context(), key)
	if err != nil {
		t.Errorf("mounts of %s: %v", key, err)
		return
	}
	dir := t.TempDir()
	if err := mount.All(mounts, dir); err != nil {
		t.Errorf("mount %s: %v", key, err)
		return
	}
	defer func() {
		if err := mount.UnmountAll(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", key, err)
		}
	}()
	got := make([]byte, n)
	f, err := os.Open(filepath.Join(dir, "large"))
	if err == nil {
		_, err = f.Read(got)
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // for the next reader
		f.Close()
	}
	if err != nil || !bytes.Equal(got, i.large[:n]) {
		t.Errorf("%s has wrong bytes: %v", key, err)
	}
}
