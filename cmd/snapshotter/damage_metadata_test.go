package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/metastore"
)

// endpointDir returns the directory of the only endpoint of a daemon.
func endpointDir(t *testing.T, d *process) string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(d.root, "e", "*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("endpoints: %q, %v", dirs, err)
	}
	return dirs[0]
}

// kill ends a daemon with SIGKILL when its metadata is saved.
func (d *process) kill() {
	d.t.Helper()
	dir := endpointDir(d.t, d)
	waittest.For(d.t, "the metadata to be saved", func() bool {
		db, err := os.ReadFile(filepath.Join(dir, metastore.DBFile))
		if err != nil {
			d.t.Fatal(err)
		}
		saved, err := os.ReadFile(filepath.Join(dir, metastore.SavedFile))
		return err == nil && bytes.HasPrefix(saved, db)
	})
	d.signal(syscall.SIGKILL)
	<-d.exited
}

// stored returns all snapshots of a client.
func stored(t *testing.T, client snapshots.Snapshotter) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := client.Walk(t.Context(), func(_ context.Context, info snapshots.Info) error {
		all[info.Name] = fmt.Sprint(info)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// Whatever file of the metadata is damaged while the daemon is down, after a kill or a
// stop, it starts with the snapshots of before.
func TestDamagedMetadata(t *testing.T) {
	for _, file := range []string{metastore.DBFile, metastore.SavedFile, metastore.StateFile} {
		t.Run(file, func(t *testing.T) {
			d := startDaemon(t, daemonOptions{config: quiet})
			client := connect(t, d.address)
			i := newImage(t)
			i.pull(t, client)
			if _, err := client.View(t.Context(), "view", "layer"); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Prepare(t.Context(), "active", "layer"); err != nil {
				t.Fatal(err)
			}
			want := stored(t, client)
			for n, damage := range damages {
				if n%2 == 0 {
					d.kill()
				} else {
					d.stop(t.Context())
				}
				if err := damage.do(filepath.Join(endpointDir(t, d), file)); err != nil {
					t.Fatal(err)
				}
				d = startDaemon(t, daemonOptions{root: d.root, address: d.address, config: quiet})
				client = connect(t, d.address)
				if got := stored(t, client); !maps.Equal(got, want) {
					t.Errorf("%s: %v, want %v", damage.name, got, want)
				}
				if file == metastore.DBFile && damage.name != "flipped" && !strings.Contains(d.output.String(), "metadata of snapshots is as it was last saved") {
					t.Errorf("%s: it says nothing", damage.name)
				}
				i.check(t, client, "view", len(i.large))
				i.check(t, client, "active", 1<<20)
				if t.Failed() {
					t.Fatalf("%s is %s", file, damage.name)
				}
			}
			d.stop(t.Context())
		})
	}
}

// If nothing is left that says which snapshots there are, the daemon does not start, and
// deletes nothing. It starts when the endpoint was moved away.
func TestLostMetadata(t *testing.T) {
	d := startDaemon(t, daemonOptions{config: quiet})
	client := connect(t, d.address)
	i := newImage(t)
	i.pull(t, client)
	if _, err := client.Prepare(t.Context(), "active", "layer"); err != nil {
		t.Fatal(err)
	}
	if err := client.Commit(t.Context(), "local", "active"); err != nil {
		t.Fatal(err)
	}
	d.kill()
	dir := endpointDir(t, d)
	upper, err := filepath.Glob(filepath.Join(dir, "snapshots/*/fs"))
	if err != nil || len(upper) != 1 {
		t.Fatalf("upper directories: %q, %v", upper, err)
	}
	remove := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused := func(what string) {
		t.Helper()
		d = launch(t, daemonOptions{root: d.root, address: d.address, config: quiet})
		waittest.For(t, "the daemon to end", func() bool {
			select {
			case <-d.exited:
				return true
			default:
				if d.notes.has("READY=1") {
					t.Fatalf("%s: it started:\n%s", what, d.output)
				}
				return false
			}
		})
		said := d.output.String()
		if d.err == nil || !strings.Contains(said, metastore.ErrDamaged.Error()) || !strings.Contains(said, dir) {
			t.Errorf("%s: it ended with %v:\n%s", what, d.err, said)
		}
		for _, path := range upper {
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		layers, err := filepath.Glob(filepath.Join(d.root, "store/layers/*"))
		if err != nil || len(layers) != 1 {
			t.Errorf("%s: layers %q, %v", what, layers, err)
		}
	}
	for _, name := range []string{metastore.DBFile, metastore.SavedFile} {
		if err := os.Truncate(filepath.Join(dir, name), 8192); err != nil {
			t.Fatal(err)
		}
	}
	refused("both are cut")
	remove(metastore.DBFile, metastore.SavedFile)
	refused("both are missing")
	remove(metastore.StateFile)
	refused("all are missing")
	if err := os.Rename(dir, dir+".damaged"); err != nil {
		t.Fatal(err)
	}
	d = startDaemon(t, daemonOptions{root: d.root, address: d.address, config: quiet})
	client = connect(t, d.address)
	if got := stored(t, client); len(got) > 0 {
		t.Errorf("snapshots of a new endpoint: %v", got)
	}
	i.pull(t, client)
	if _, err := client.View(t.Context(), "view", "layer"); err != nil {
		t.Fatal(err)
	}
	i.check(t, client, "view", len(i.large))
	d.stop(t.Context())
}
