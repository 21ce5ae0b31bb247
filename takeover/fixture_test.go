package takeover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/logtest"
	"github.com/ladle-dev/ladle/internal/servicetest"
	"github.com/ladle-dev/ladle/internal/waittest"
)

// life is one service: what systemd stores for it, and the processes that follow each
// other, which are all in the test's own process. They say in log what they log.
type life struct {
	t       *testing.T
	systemd *servicetest.Service
	store   descriptorStore
	ctx     context.Context
	log     *logtest.Buffer
}

// newLife makes a service with room for max descriptors.
func newLife(t *testing.T, max int) *life {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "notify")
	systemd, err := servicetest.New(servicetest.Options{Socket: socket, StoreMax: max})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := systemd.Close(); err != nil {
			t.Error(err)
		}
	})
	l := &life{t: t, systemd: systemd, store: descriptorStore{socket}, log: new(logtest.Buffer)}
	logger := logrus.New()
	logger.SetOutput(l.log)
	l.ctx = log.WithLogger(context.Background(), logrus.NewEntry(logger))
	return l
}

// start begins a process, which readers wait for as long as timeout.
func (l *life) start(timeout time.Duration) Received {
	l.t.Helper()
	files, err := l.systemd.Pass()
	if err != nil {
		l.t.Fatal(err)
	}
	return receive(l.ctx, l.store, files, timeout)
}

// stores waits until systemd has descriptors of these names, in any order.
func (l *life) stores(want ...string) {
	l.t.Helper()
	waittest.For(l.t, fmt.Sprintf("systemd to have %q", want), func() bool { return sameNames(l.systemd.Stored(), want) })
}

func sameNames(got, want []string) bool {
	count := map[string]int{}
	for _, name := range got {
		count[name]++
	}
	for _, name := range want {
		count[name]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// terms reads the terms that systemd has.
func (l *life) terms() (text string) {
	l.t.Helper()
	l.withTerms(func(f *os.File) error {
		b := make([]byte, maxTerms)
		n, _ := f.ReadAt(b, 0) // to its end
		text = string(b[:n])
		return nil
	})
	return text
}

func (l *life) withTerms(do func(f *os.File) error) {
	l.t.Helper()
	files, err := l.systemd.Pass()
	for _, f := range files {
		if f.Name() == termsName && err == nil {
			err = do(f)
		}
		f.Close()
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// served begins a process that serves a new connection, and returns what it is.
func (l *life) served() (Received, *server) {
	l.t.Helper()
	r, s := l.start(time.Hour), newServer(l.t)
	if err := r.Mounts.Serve(l.ctx, own, s); err != nil {
		l.t.Fatal(err)
	}
	l.stores(termsName, deviceName, proofName)
	return r, s
}

// kill ends a process that serves s, or nothing yet if s is nil: its descriptors are
// closed, and nothing else happens.
func kill(r Received, s *server) {
	if s != nil {
		s.device.Close()
		r.Mounts.mu.proof.end.Close()
	}
	if c := r.Mounts.mu.inherited; c != nil {
		c.refuseTimer.Stop()
		c.close()
	}
}

// own are the terms of all processes.
var own = Terms{Format: 7, Root: "/root", Driver: "auto"}

// server is a Server as far as Mounts is concerned: it has a connection open. It does
// not answer what the kernel asks.
type server struct {
	t       *testing.T
	refuses error // what TakeOver fails with

	taken     *Connection // what TakeOver succeeded with
	connected string      // where Connect mounted its connection
	device    *os.File    // of either
}

func newServer(t *testing.T) *server { return &server{t: t} }

func (s *server) TakeOver(_ context.Context, c Connection) error {
	if s.refuses != nil {
		return errors.Join(s.refuses, c.Device.Close())
	}
	s.taken, s.device = &c, c.Device
	s.t.Cleanup(func() { c.Device.Close() })
	return nil
}

func (s *server) Connect(context.Context) error {
	s.device, s.connected = mountFUSE(s.t)
	return nil
}

func (s *server) Connection() (Connection, error) {
	return Connection{s.device, []byte{1, 2, 3}, "erofs"}, nil
}

// mountFUSE makes a connection and returns where it is mounted.
func mountFUSE(t *testing.T) (device *os.File, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("root is needed")
	}
	dir = t.TempDir()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	device = os.NewFile(uintptr(fd), "/dev/fuse")
	t.Cleanup(func() { device.Close() })
	if err := unix.Mount("takeover", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) { // it is not mounted any more
			t.Error(err)
		}
	})
	return device, dir
}

// ended waits until readers of the connection that is mounted at dir get errors. A
// child reads, as a reader may wait for ever.
func ended(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "stat", dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not connected") {
		t.Errorf("a reader of the connection gets %v, %q", err, out)
	}
}

// lives reports whether the kernel still sends requests to device.
func lives(t *testing.T, device *os.File) bool {
	t.Helper()
	if _, err := device.Stat(); err != nil { // it is closed
		t.Fatal(err)
	}
	events, err := poll(device)
	if err != nil {
		t.Fatal(err)
	}
	return events&unix.POLLERR == 0
}
