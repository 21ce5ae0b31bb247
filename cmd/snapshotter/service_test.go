package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/ladle-dev/ladle/internal/logtest"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/servicetest"
	"github.com/ladle-dev/ladle/internal/waittest"
)

// unit is a daemon that runs as a service, an image, and the root filesystem
// of a container on it.
type unit struct {
	t *testing.T
	*servicetest.Service
	*image
	root, address, config, rootfs string
	output                        *logtest.Buffer

	// hold makes the registry keep what is asked for until it is false.
	hold atomic.Bool
	held atomic.Int64 // requests kept
}

const onlyDemand = "noprefetch = true\nno_background_fetch = true\n"

// newUnit starts a daemon with lines of configuration, pulls the image and
// mounts the container's root.
func newUnit(t *testing.T, config string) *unit {
	t.Helper()
	requireRoot(t)
	dir := t.TempDir()
	u := &unit{t: t, image: newImage(t), root: stateDir(t), output: new(logtest.Buffer),
		address: filepath.Join(dir, "ladle.sock"), config: filepath.Join(dir, "config.toml"), rootfs: filepath.Join(dir, "rootfs")}
	u.configure(onlyDemand + config)
	u.SetFault(u.whileHeld)
	var err error
	u.Service, err = servicetest.New(servicetest.Options{
		Command: []string{testProgram(t), "serve", "--root", u.root, "--address", u.address, "--config", u.config, "--log-level", "debug"},
		Env:     []string{asLadle + "=1"},
		Output:  u.output, Socket: filepath.Join(dir, "notify"), StoreMax: 64,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.cleanup)
	u.start()
	u.pull(t, connect(t, u.address))
	u.run("container", u.rootfs)
	return u
}

func (u *unit) configure(text string) {
	u.t.Helper()
	if err := os.WriteFile(u.config, []byte(text), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// whileHeld is the registry's fault: none, but it may take long.
func (u *unit) whileHeld(q registrytest.Request) registrytest.Fault {
	if q.Kind == registrytest.Blob && u.hold.Load() {
		u.held.Add(1)
		for u.hold.Load() && u.t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
	return registrytest.Fault{}
}

// cleanup drops the connection first: what waits for it must not wait while
// the container's root is unmounted.
func (u *unit) cleanup() {
	u.hold.Store(false)
	if err := u.Close(); err != nil {
		u.t.Error(err)
	}
	if u.t.Failed() {
		u.t.Logf("ladle said:\n%s", u.output)
	}
}

// start starts a daemon and waits until it is ready.
func (u *unit) start() {
	u.t.Helper()
	if err := u.Launch(); err != nil {
		u.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(u.t.Context(), time.Minute)
	defer cancel()
	if err := u.Ready(ctx); err != nil {
		u.t.Fatal(err)
	}
}

// end ends the daemon and expects that it exits with 0, unless it is killed.
func (u *unit) end(sig syscall.Signal) {
	u.t.Helper()
	if sig == syscall.SIGKILL {
		u.Kill()
		return
	}
	ctx, cancel := context.WithTimeout(u.t.Context(), time.Minute)
	defer cancel()
	if err := u.Signal(ctx, sig); err != nil {
		u.t.Fatalf("it ended with %v", err)
	}
}

// run mounts a container's root at dir, which is unmounted when the test ends.
func (u *unit) run(key, dir string) {
	u.t.Helper()
	mounts, err := connect(u.t, u.address).Prepare(u.t.Context(), key, "layer")
	if err != nil {
		u.t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		u.t.Fatal(err)
	}
	if err := mount.All(mounts, dir); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		u.Drop() // see cleanup; readers were killed before
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			u.t.Error(err)
		}
	})
}

// inFlight begins a read, and returns when the registry has its request, which it does not
// answer.
func (u *unit) inFlight(r *reader, what string) {
	u.t.Helper()
	u.hold.Store(true)
	before := u.held.Load()
	r.begin(what)
	waittest.For(u.t, "the registry to be asked", func() bool { return u.held.Load() > before })
}

func (u *unit) mounted(t *testing.T) []string { return mountsBelow(t, u.root) }

func (u *unit) has(line string) bool { return strings.Contains(u.output.String(), line) }
