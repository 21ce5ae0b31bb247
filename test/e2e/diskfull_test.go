package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// On a disk that is too small for the image, a container reads the right bytes
// all the same; what finds no room fails with the reason; and what is freed is
// of use.
func TestDiskIsFull(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", onlyDemand))
	d := l.Node.Daemon("ladle")
	l.onSmallDisk(d, 160<<20)
	ref := l.Push("debian-python", image.EStargz)
	l.Pull("ladle", ref)
	want, _ := l.overlayfs("debian-python")
	flags, args := listing()
	began := time.Now()
	id, err := l.Node.RunDetached(t.Context(), stack.Container{Snapshotter: "ladle", Ref: ref, Flags: flags, Args: []string{"sleep", "100000"}})
	if err != nil {
		t.Fatal(err)
	}
	// Listed twice: what found no room is fetched again.
	for _, what := range []string{"on a disk that gets full", "on a full disk"} {
		out, err := l.Node.Exec(t.Context(), id, args...)
		if err != nil {
			t.Fatal(err)
		}
		l.same(began, want, l.parse(what, began, out))
		fillUp(t, d.Root)
	}
	if out, err := l.Node.Exec(t.Context(), id, "sh", "-c", "seq 100000 > /root/new"); err == nil || !strings.Contains(err.Error(), "No space left on device") {
		t.Errorf("writing to the full disk: %q, %v", out, err)
	}

	// A daemon that is killed starts on the full disk, and so does the container.
	d.Kill()
	l.start(d)
	l.restart(id)
	out, err := l.Node.Exec(t.Context(), id, args...)
	if err != nil {
		t.Fatal(err)
	}
	l.same(began, want, l.parse("restarted on a full disk", began, out))

	// The next image finds no room for anything.
	next := l.Push("hostile-names", image.EStargz)
	err = l.Node.Pull(t.Context(), "ladle", next)
	if err == nil {
		t.Error("pulled onto a full disk")
	} else if !strings.Contains(err.Error(), "no space left on device") {
		t.Error(err)
	}

	if err := os.Remove(filepath.Join(d.Root, "filler")); err != nil {
		t.Fatal(err)
	}
	if err := l.Node.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	l.Ctr("images", "rm", "--sync", ref)
	wait(t, "the layers are gone", func() bool { return len(subdirs(t, d.Root, "store/layers")) == 0 })
	l.Pull("ladle", next)
	l.Run("ladle", next, "sh", "-ec", "cat /names/year*")
}

// onSmallDisk gives a daemon a disk of its own, from a file.
func (l lab) onSmallDisk(d *stack.RunningDaemon, size int64) {
	l.Helper()
	if err := d.Stop(); err != nil {
		l.Fatal(err)
	}
	file := filepath.Join(l.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		l.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		l.Fatal(err)
	}
	run := func(name string, args ...string) {
		l.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			l.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("mkfs.ext4", "-q", "-m", "0", file)
	run("mount", "-o", "loop", file, d.Root)
	l.Cleanup(func() { // before that of the stack, to which the disk is a mount left behind
		ctx := context.WithoutCancel(l.Context())
		ids, err := l.Node.Ctr(ctx, "container", "ls", "-q")
		for _, id := range strings.Fields(ids) {
			err = errors.Join(err, l.Node.Remove(ctx, id))
		}
		if err := errors.Join(err, d.Stop(), unix.Unmount(d.Root, 0)); err != nil {
			l.Errorf("taking the disk away: %v", err)
		}
	})
	l.start(d)
}

// fillUp takes all the room that is left on the disk of dir.
func fillUp(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zeros := make([]byte, 1<<20)
	for size := len(zeros); size > 0; size /= 2 {
		for err == nil {
			_, err = f.Write(zeros[:size])
		}
		if !strings.Contains(err.Error(), "no space") {
			t.Fatal(err)
		}
		err = nil
	}
	unix.Sync()
}
