package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

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
