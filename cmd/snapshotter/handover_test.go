package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/servicetest"
)

// unit is a daemon that runs as a service, an image, and the root filesystem
// of a container on it.
type unit struct {
	t *testing.T
	*servicetest.Service
	*image
	root, address, config, rootfs string
	output                        *safeBuffer

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
	u := &unit{t: t, image: newImage(t), root: stateDir(t), output: new(safeBuffer),
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

// inFlight begins a read whose bytes the registry keeps, and returns when it
// was asked for them.
func (u *unit) inFlight(r *reader, what string) {
	u.t.Helper()
	u.hold.Store(true)
	before := u.held.Load()
	r.begin(what)
	waitFor(u.t, "the registry to be asked", func() bool { return u.held.Load() > before })
}

func (u *unit) mounted(t *testing.T) []string { return mountsBelow(t, u.root) }

func (u *unit) has(line string) bool { return strings.Contains(u.output.String(), line) }

const takenOver = "mounts of the process before are taken over"

// TestHandover ends daemons while a container reads, and starts others. The
// container sees nothing of it.
func TestHandover(t *testing.T) {
	for _, driver := range []string{"erofs", "loop", "fuse"} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(driver+"/"+sig.String(), func(t *testing.T) {
				u := newUnit(t, fmt.Sprintf("driver = %q\n", driver))
				mounts := u.mounted(t)
				before, after := startReader(t, u.rootfs+"/large"), startReader(t, u.rootfs+"/large")

				const size = 100_000
				u.inFlight(before, "read 0 100000")
				u.end(sig)
				// Nobody serves now. A read, a fault of the mapping,
				// and what the kernel has to look up first.
				before.begin("fault 6000000 100000")
				after.begin("read 3000000 100000")
				after.begin("whole " + u.rootfs + "/small")
				u.hold.Store(false)
				u.start()
				before.wants(u.image.want(0, size))
				before.wants(u.image.want(6_000_000, size))
				after.wants(u.image.want(3_000_000, size))
				after.wants(digested(u.small, nil))

				if got := u.mounted(t); !slices.Equal(got, mounts) {
					t.Errorf("mounted are %v, before %v", got, mounts)
				}
				if n := strings.Count(u.output.String(), takenOver); n != 1 {
					t.Errorf("taken over %d times", n)
				}
				u.run("another", filepath.Join(t.TempDir(), "rootfs"))
				u.end(syscall.SIGINT)
				if left := u.mounted(t); len(left) > 0 {
					t.Errorf("a clean stop leaves %v", left)
				}
			})
		}
	}
}

// TestHandoverAgainAndAgain restarts under a container that reads all the
// time, every piece once.
func TestHandoverAgainAndAgain(t *testing.T) {
	u := newUnit(t, "")
	u.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Slow: 6 << 20}))
	r := startReader(t, u.rootfs+"/large")
	const piece = 64 << 10
	answered := make(chan error, 1)
	begun := 0
	for off := int64(0); off < int64(len(u.large)); off += piece {
		verb := []string{"read", "fault"}[begun%2]
		r.begin(fmt.Sprintf("%s %d %d", verb, off, piece))
		begun++
	}
	go func() {
		for i := range int64(begun) {
			if got, want := r.answer(), u.image.want(i*piece, piece); got != want {
				answered <- fmt.Errorf("piece %d: %s", i, got)
				return
			}
		}
		answered <- nil
	}()
	for i := range 6 {
		u.end([]syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[i%2])
		u.start()
		client := connect(t, u.address)
		if _, err := client.Stat(t.Context(), "container"); err != nil {
			t.Error(err)
		}
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	u.end(syscall.SIGINT)
}

// TestNoSuccessor drops the connection, as systemd does when it gives the
// service up: readers get errors. The next start cleans up.
func TestNoSuccessor(t *testing.T) {
	u := newUnit(t, "")
	r := startReader(t, u.rootfs+"/large")
	u.inFlight(r, "read 0 100000")
	u.end(syscall.SIGTERM)
	if len(u.mounted(t)) == 0 {
		t.Error("nothing was left to a successor")
	}
	r.begin("read 3000000 100000")
	u.Drop()
	r.fails()
	r.fails()

	u.hold.Store(false)
	u.start()
	if u.has(takenOver) {
		t.Error("the daemon says that it took something over")
	}
	rootfs := filepath.Join(t.TempDir(), "rootfs")
	u.run("another", rootfs)
	again := startReader(t, rootfs+"/large")
	again.begin("read 3000000 100000")
	again.wants(u.image.want(3_000_000, 100_000))
	u.end(syscall.SIGINT)
	if left := u.mounted(t); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
}

// TestFailingSuccessors has successors that do not come to serve. The
// connection waits for one that does, but not for ever.
func TestFailingSuccessors(t *testing.T) {
	u := newUnit(t, "")
	r := startReader(t, u.rootfs+"/large")
	u.end(syscall.SIGTERM)
	u.configure("nonsense = true\n")
	for range 2 {
		if err := u.Launch(); err != nil {
			t.Fatal(err)
		}
		if err := u.Wait(t.Context()); err == nil {
			t.Fatal("it started with a wrong configuration")
		}
	}
	if !slices.Contains(u.Stored(), deviceName) {
		t.Fatalf("kept are %v", u.Stored())
	}
	r.begin("read 0 100000")

	// One that does comes in time.
	u.configure(onlyDemand)
	u.start()
	r.wants(u.image.want(0, 100_000))
	u.end(syscall.SIGKILL)

	// One that does not, and one that comes too late.
	u.configure("nonsense = true\n")
	if err := u.Launch(); err != nil {
		t.Fatal(err)
	}
	if err := u.Wait(t.Context()); err == nil {
		t.Fatal("it started with a wrong configuration")
	}
	r.begin("read 3000000 100000")
	u.configure(onlyDemand)
	u.Env(asLadle+"=1", testPatience+"=1ns")
	u.start()
	r.fails()
	if !u.has("it was not served for") {
		t.Error("the log does not say why")
	}
	u.run("another", filepath.Join(t.TempDir(), "rootfs"))
	u.end(syscall.SIGINT)
}

// TestOtherTerms starts successors that cannot serve what was left.
func TestOtherTerms(t *testing.T) {
	for _, test := range []struct{ name, config, env, why string }{
		{"driver", "driver = \"fuse\"\n", "", "its driver is erofs, and now it is fuse"},
		{"format", "", testFormat + "=1000", "it is of format 1, and this version of ladle has 1000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newUnit(t, "driver = \"erofs\"\n")
			r := startReader(t, u.rootfs+"/large")
			u.end(syscall.SIGTERM)
			r.begin("read 0 100000")
			u.configure(onlyDemand + test.config)
			u.Env(asLadle+"=1", test.env)
			u.start()
			r.fails()
			if !u.has(test.why) || u.has(takenOver) {
				t.Errorf("the log does not say %q", test.why)
			}
			rootfs := filepath.Join(t.TempDir(), "rootfs")
			u.run("another", rootfs)
			again := startReader(t, rootfs+"/large")
			again.begin("read 0 100000")
			again.wants(u.image.want(0, 100_000))
			u.end(syscall.SIGINT)
		})
	}
}

// TestNoStore has a service without room for descriptors: SIGTERM is a clean
// stop.
func TestNoStore(t *testing.T) {
	u := newUnit(t, "")
	u.Drop()
	u.end(syscall.SIGTERM)
	if left := u.mounted(t); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
}

// TestCleanStop leaves nothing, neither mounted nor with systemd.
func TestCleanStop(t *testing.T) {
	u := newUnit(t, "")
	if got, want := u.Stored(), []string{termsName, deviceName, proofName, endpointPrefix + "main"}; !slices.Equal(got, want) {
		t.Errorf("kept are %v, want %v", got, want)
	}
	u.end(syscall.SIGINT)
	if left := u.mounted(t); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
	waitFor(t, "systemd to have nothing left", func() bool { return len(u.Stored()) == 0 })
	if _, err := os.Lstat(u.address); err == nil {
		t.Error("the socket is still there")
	}
}

// TestCallsWaitForTheSuccessor calls while there is no daemon.
func TestCallsWaitForTheSuccessor(t *testing.T) {
	u := newUnit(t, "")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		u.end(sig)
		answered := make(chan error, 1)
		client := connect(t, u.address)
		go func() {
			_, err := client.Stat(t.Context(), "container")
			answered <- err
		}()
		u.start()
		if err := <-answered; err != nil {
			t.Errorf("a call after %v: %v", sig, err)
		}
	}
	old := u.address
	u.address = filepath.Join(t.TempDir(), "other.sock")
	u.end(syscall.SIGTERM)
	u.configure(onlyDemand + fmt.Sprintf("[[endpoint]]\nname = \"second\"\naddress = %q\n", u.address))
	u.start()
	if _, err := connect(t, u.address).Stat(t.Context(), "container"); !errdefs.IsNotFound(err) {
		t.Errorf("a call to the second endpoint: %v", err)
	}
	u.end(syscall.SIGTERM)
	u.configure(onlyDemand)
	u.start()
	if _, err := os.Lstat(u.address); err == nil {
		t.Error("the socket of an endpoint that is no more is still there")
	}
	u.address = old
	if _, err := connect(t, u.address).Stat(t.Context(), "container"); err != nil {
		t.Error(err)
	}
	u.end(syscall.SIGINT)
}
