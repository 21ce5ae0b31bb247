package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// damages are what can happen to a file while no daemon runs, each also after the one
// before it if nothing mended that.
var damages = []struct {
	name string
	do   func(path string) error
}{
	{"flipped", flip},
	{"truncated", func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()-1)
	}},
	{"empty", func(path string) error { return os.Truncate(path, 0) }},
	{"a directory", func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }},
	{"missing", os.Remove},
}

// flip changes one bit of the file at path.
func flip(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b, off := make([]byte, 1), min(info.Size()/2, 1500) // images are large and sparse
	if _, err := f.ReadAt(b, off); err != nil {
		return err
	}
	b[0] ^= 4
	_, err = f.WriteAt(b, off)
	return err
}

// Whatever file of a layer or of a tree image is damaged while the daemon is down, the
// snapshots over it can be mounted and show the right bytes.
func TestDamagedStore(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	for _, file := range []string{
		"layers/*/meta.json", "layers/*/chunks", "layers/*/entries", "layers/*/data", "layers/*/present",
		"trees/*/image", "trees/*/meta.json", "numbers", "format",
	} {
		t.Run(strings.ReplaceAll(file, "*", "N"), func(t *testing.T) {
			d := startDaemon(t, daemonOptions{config: quiet})
			client := connect(t, d.address)
			i := newImage(t)
			i.pull(t, client)
			if _, err := client.View(t.Context(), "view", "layer"); err != nil {
				t.Fatal(err)
			}
			for _, damage := range damages {
				if strings.HasSuffix(file, "data") && damage.name == "flipped" {
					continue // bytes are verified before they are stored, and not again
				}
				i.check(t, client, "view", 1<<20)
				d.signal(syscall.SIGKILL)
				<-d.exited
				damageFiles(t, filepath.Join(d.root, "store"), file, damage.do)
				d = startDaemon(t, daemonOptions{root: d.root, address: d.address, config: quiet})
				client = connect(t, d.address)
				i.check(t, client, "view", len(i.large))
				if _, err := client.Prepare(t.Context(), damage.name, "layer"); err != nil {
					t.Errorf("%s: %v", damage.name, err)
				}
				i.check(t, client, damage.name, len(i.large))
				if t.Failed() {
					t.Fatalf("%s is %s", file, damage.name)
				}
			}
			d.stop(t.Context())
		})
	}
}

// quiet is the configuration of a daemon that fetches nothing ahead.
const quiet = "no_background_fetch = true\nnoprefetch = true\n"

func damageFiles(t *testing.T, dir, file string, damage func(string) error) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, file))
	if err != nil || len(paths) == 0 && file != "numbers" { // it is made when a number is taken
		t.Fatalf("no %s: %v", file, err)
	}
	for _, path := range paths {
		if err := damage(path); err != nil {
			t.Fatal(err)
		}
	}
	if strings.HasSuffix(file, "entries") { // they are read when a tree image is made
		if err := os.RemoveAll(filepath.Join(dir, "trees")); err != nil {
			t.Fatal(err)
		}
	}
}

// Without a registry the error names the layer and the image, and when the registry is
// back the next call succeeds, though the client pulls nothing.
func TestDamagedStoreOffline(t *testing.T) {
	d := startDaemon(t, daemonOptions{config: quiet})
	client := connect(t, d.address)
	i := newImage(t)
	i.pull(t, client)
	if _, err := client.Prepare(t.Context(), "active", "layer"); err != nil {
		t.Fatal(err)
	}
	d.stop(context.WithoutCancel(t.Context()))
	damageFiles(t, filepath.Join(d.root, "store"), "layers/*/meta.json", flip)
	i.SetFault(func(registrytest.Request) registrytest.Fault {
		return registrytest.Fault{Status: http.StatusServiceUnavailable}
	})
	d = startDaemon(t, daemonOptions{root: d.root, address: d.address, config: quiet + "mount_timeout_sec = 5\n"})
	client = connect(t, d.address)
	blob := i.labels["containerd.io/snapshot/cri.layer-digest"]
	for call, err := range map[string]error{
		"Mounts":  second(client.Mounts(t.Context(), "active")),
		"Prepare": second(client.Prepare(t.Context(), "new", "layer")),
	} {
		if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), blob) || !strings.Contains(err.Error(), i.Ref("app:1")) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if _, err := client.Stat(t.Context(), "new"); !errdefs.IsNotFound(err) {
		t.Errorf("half made: %v", err)
	}
	i.SetFault(nil)
	i.check(t, client, "active", len(i.large))
	if err := client.Walk(t.Context(), func(_ context.Context, info snapshots.Info) error {
		if info.Name == "layer" && info.Kind != snapshots.KindCommitted {
			t.Errorf("the layer's snapshot is %+v", info)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	d.stop(t.Context())
}

func second[T any](_ T, err error) error { return err }
