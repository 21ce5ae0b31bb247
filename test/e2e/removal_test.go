package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

// An image that is removed while a container of it runs stays until the
// container is removed, too; then nothing of it is left, mounted or on disk.
func TestRemovedImageIsFreed(t *testing.T) {
	onDrivers(t, func(t *testing.T, c stack.Containerd, driver string) {
		l := newLabOn(t, c, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n%s", driver, onlyDemand)))
		root := l.Node.Daemon("ladle").Root
		ref := l.Push("debian-python", image.EStargz)
		l.Pull("ladle", ref)
		id := l.detached("ladle", ref)
		l.Ctr("images", "rm", "--sync", ref)
		if sum := l.shell(id, "sha256sum < "+unreadFile); !strings.HasPrefix(sum, unreadSum) {
			t.Errorf("after the removal of its image, the file has digest %s; want %s", sum, unreadSum)
		}
		if n := len(subdirs(t, root, "store/layers")); n != 3 {
			t.Errorf("the store has %d layers", n)
		}
		if err := l.Node.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		l.collect()
		// Of clean diffs there is always the empty one.
		for dir, want := range map[string][]string{"store/layers": nil, "store/trees": nil, "e/main/snapshots": {"d"}, "e/main/snapshots/d": {"0"}} {
			wait(t, fmt.Sprintf("%s has %q", dir, want), func() bool { return slices.Equal(subdirs(t, root, dir), want) })
		}
		if left := mountsBelow(t, filepath.Join(root, "l")); len(left) > 0 {
			t.Errorf("left mounted: %q", left)
		}
		if left := subdirs(t, root, "l"); len(left) > 0 {
			t.Errorf("left in l: %q", left)
		}
	})
}

// Containers are removed while they wait for bytes: that neither holds up their
// removal nor harms the daemon or the next container.
func TestReadingContainerIsRemoved(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l := newLab(t, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n%s", driver, onlyDemand)))
			d := l.Node.Daemon("ladle")
			pid := d.PID()
			ref := l.Push("debian-python", image.EStargz)
			l.Pull("ladle", ref)
			for range 3 {
				l.Link.SetProfile(link.Profile{})
				id := l.detachedWith("ladle", ref, "sh", "-c", `for dir in /usr/lib/* /usr/share/* /usr/bin /opt; do find $dir -type f -exec cat {} + > /dev/null & done; wait`)
				l.Link.SetProfile(link.Profile{RTT: 200 * time.Millisecond, Bandwidth: 20e6})
				l.Link.Reset()
				wait(t, "the container reads", func() bool { return l.Link.Counters().Requests > 3 })
				if err := l.Node.Remove(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				l.Ctr("images", "rm", "--sync", ref)
				if left := l.snapshots("ladle"); len(left) > 0 {
					t.Errorf("%d snapshots are left", len(left))
				}
				l.Link.SetProfile(link.Profile{})
				l.Pull("ladle", ref)
			}
			if d.PID() != pid || syscall.Kill(pid, 0) != nil {
				t.Error("the daemon did not survive")
			}
			want, began := l.overlayfs("debian-python")
			l.same(began, want, l.list("ladle", ref))
		})
	}
}

// Images share the layers that they have in common, and each keeps them.
func TestImagesShareLayers(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", onlyDemand))
	root := l.Node.Daemon("ladle").Root
	one, other := l.Push("hostile-parents", image.EStargz), l.Push("hostile-names", image.EStargz)
	shared := l.image("hostile-parents", image.EStargz)
	l.Pull("ladle", one)
	l.Run("ladle", one, "sh", "-c", "find / -xdev -type f -exec cat {} + | wc -c")
	l.Link.Reset()
	l.Pull("ladle", other)
	lowest, err := layerOf(shared, 0)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := lowest.Layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range l.Link.Requests() {
		if strings.Contains(request.Path, digest.String()) {
			t.Errorf("the shared layer is asked for again: %s %s %s", request.Method, request.Path, request.Range)
		}
	}
	layers := func() int { return len(subdirs(t, root, "store/layers")) }
	if n := layers(); n != 4 {
		t.Errorf("the store has %d layers; want the shared one, two and one", n)
	}
	l.Ctr("images", "rm", "--sync", one)
	wait(t, "the layers of the removed image are gone", func() bool { return layers() == 2 })
	l.Run("ladle", other, "sh", "-exc", `test -f /names/tab*; cat /names/* > /dev/null || true; busybox true`)
	l.Ctr("images", "rm", "--sync", other)
	wait(t, "all layers are gone", func() bool { return layers() == 0 })
}

// What a snapshot is said to use is what its layer takes on disk, before and
// after its contents were read.
func TestUsageIsWhatIsOnDisk(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", onlyDemand))
	root := l.Node.Daemon("ladle").Root
	ref := l.Push("debian-python", image.EStargz)
	l.Pull("ladle", ref)
	check := func() (total int64) {
		t.Helper()
		syncAll(t, root) // what a file takes changes when it is written to disk
		for _, chain := range l.chains(l.image("debian-python", image.EStargz)) {
			total += l.usage("ladle", chain)
		}
		var disk int64
		for _, layer := range subdirs(t, root, "store/layers") {
			disk += allocated(t, filepath.Join(root, "store/layers", layer))
		}
		t.Logf("%d bytes", total)
		if total != disk {
			t.Errorf("usage is %d; on disk are %d", total, disk)
		}
		return total
	}
	before := check()
	l.list("ladle", ref)
	if after := check(); after < before+10e6 {
		t.Errorf("usage grew from %d to %d when everything was read", before, after)
	}
}

// syncAll writes the filesystem that dir is on to disk.
func syncAll(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
}

// usage is the size in bytes that ctr prints of a snapshot.
func (l lab) usage(snapshotter, key string) int64 {
	l.Helper()
	out := l.Ctr("snapshots", "--snapshotter", snapshotter, "usage", "-b", key)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	fields := strings.Fields(lines[len(lines)-1])
	if len(fields) != 3 {
		l.Fatalf("ctr printed %q", out)
	}
	bytes, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		l.Fatal(err)
	}
	return bytes
}

// collect makes containerd collect its garbage.
func (l lab) collect() {
	l.Helper()
	ref := l.Push("pause", image.Gzip)
	l.Pull("overlayfs", ref)
	l.Ctr("images", "rm", "--sync", ref)
}

// subdirs are the names of the directories in a directory.
func subdirs(t testing.TB, elem ...string) []string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// allocated is the bytes that a directory takes on disk.
func allocated(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		bytes += st.Blocks * 512
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}
