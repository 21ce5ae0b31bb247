package e2e

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/identity"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// identityOf runs the script of package identity in a container while the
// machine forgets its dentries.
func (l lab) identityOf(snapshotter, ref string) identity.Report {
	l.Helper()
	ctx, end := context.WithCancel(l.Context())
	forgot := make(chan error, 1)
	go func() { forgot <- identity.Forget(ctx) }()
	out, err := l.Node.Run(l.Context(), stack.Container{
		Snapshotter: snapshotter, Ref: ref, Args: []string{"python3", "-c", identity.Script},
	})
	end()
	if err := errors.Join(err, <-forgot); err != nil {
		l.Fatal(err)
	}
	report, err := identity.Parse(out)
	if err != nil {
		l.Fatal(err)
	}
	return report
}

// Files are in a container what they are on overlayfs: on one device, with
// numbers that remain, and linked as they were, also while they are copied up.
func TestIdentityOfFiles(t *testing.T) {
	l := newLab(t, oneOfEach("")...)
	plain := l.Push("debian-python", image.Gzip)
	l.Pull("overlayfs", plain)
	want := l.identityOf("overlayfs", plain)
	if wrong := want.Wrong(); len(wrong) > 0 || len(want.Links) == 0 {
		t.Errorf("overlayfs: want, is: %s; %d hard link groups", strings.Join(wrong, "\n"), len(want.Links))
	}
	ref := l.Push("debian-python", image.EStargz)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l := l.as(t)
			l.Pull("ladle-"+driver, ref)
			if differ := identity.Diff(want, l.identityOf("ladle-"+driver, ref)); len(differ) > 0 {
				t.Errorf("overlayfs, ladle:\n%s", strings.Join(differ, "\n"))
			}
			l.viewAtPath("ladle-" + driver)
		})
	}
}

// Without xino every file has a number that 32-bit programs can read.
func TestInodeNumbersWithoutXino(t *testing.T) {
	l := newLab(t, oneOfEach("xino = \"off\"\n")...)
	ref := l.Push("debian-python", image.EStargz)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l := l.as(t)
			l.Pull("ladle-"+driver, ref)
			out := l.Run("ladle-"+driver, ref, "find", "/", "-xdev", "-printf", "%i %p\n")
			n := 0
			for line := range strings.Lines(out) {
				number, path, _ := strings.Cut(strings.TrimSpace(line), " ")
				if ino, err := strconv.ParseUint(number, 10, 64); err != nil || ino >= 1<<32 {
					t.Errorf("%s has the number %s", path, number)
				}
				n++
			}
			if n < 1000 {
				t.Errorf("%d files", n)
			}
		})
	}
}

// viewAtPath: a view that a client mounts at the path that is its key, as ctr images
// mount does, is one device, too. Its image has layers twice.
func (l lab) viewAtPath(snapshotter string) {
	l.Helper()
	l.Pull(snapshotter, l.Push("twice", image.EStargz))
	chains := l.chains(l.image("twice", image.EStargz))
	ctx, c := l.client()
	sn := c.SnapshotService(snapshotter)
	mounts, err := sn.View(ctx, "/mnt/image", chains[len(chains)-1])
	if err != nil {
		l.Fatal(err)
	}
	defer l.remove(ctx, sn, "/mnt/image")
	if err := mount.WithTempMount(ctx, mounts, l.oneDevice); err != nil {
		l.Error(err)
	}
}

// oneDevice looks at all that is below dir.
func (l lab) oneDevice(dir string) error {
	l.Helper()
	devices := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		devices[st.Dev] = path
		return err
	})
	if len(devices) != 1 {
		l.Errorf("there are files of the devices %v", devices)
	}
	return err
}
