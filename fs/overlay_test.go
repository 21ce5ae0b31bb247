package fs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// imageLayers returns two layers as an image has them: the upper hides, replaces
// and adds.
func imageLayers() (lower, upper *tree.Inode) {
	file := func(size, offset int64) *tree.Inode {
		return &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: size, Data: tree.Extent{Offset: offset}}
	}
	lower = tree.NewDir(0o755)
	dir, hidden := tree.NewDir(0o755), tree.NewDir(0o700)
	linked := file(5000, 0)
	linked.Xattrs = map[string]string{"user.color": "blue"}
	dir.Dir.Add("one", linked)
	dir.Dir.Add("two", linked)
	dir.Dir.Add("gone", file(100, 8192))
	dir.Dir.Add("null", &tree.Inode{Mode: unix.S_IFCHR | 0o666, Device: tree.Device{Major: 1, Minor: 3}})
	hidden.Dir.Add("below", file(1, 12288))
	lower.Dir.Add("dir", dir)
	lower.Dir.Add("replaced", hidden)

	upper = tree.NewDir(0o755)
	over, opaque := tree.NewDir(0o750), tree.NewDir(0o711)
	over.Dir.Add("gone", tree.NewWhiteout())
	over.Dir.Add("new", file(10_000, 0))
	opaque.Dir.Opaque = true
	opaque.Dir.Add("above", file(7, 12288))
	upper.Dir.Add("dir", over)
	upper.Dir.Add("replaced", opaque)
	return lower, upper
}

// writable mounts an overlay with an upper directory on lowers, the lowest
// first, until the test ends.
func writable(t *testing.T, upperOn string, lowers ...string) (target, upper string) {
	t.Helper()
	upper, work := filepath.Join(upperOn, "upper"), filepath.Join(upperOn, "work")
	target = testDir(t)
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The root directory of an overlay is that of its upper.
	if err := os.Chtimes(upper, time.Unix(0, 0), time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	options := "upperdir=" + upper + ",workdir=" + work + ",lowerdir="
	for i := range lowers {
		if i > 0 {
			options += ":"
		}
		options += lowers[len(lowers)-1-i]
	}
	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	unmountAfter(t, target)
	return target, upper
}

func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	unmountAfter(t, dir)
}

func TestOverlay(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		lower, upper := imageLayers()
		ids := []store.ID{l.add(t, "lower", lower, treetest.Pattern(1)), l.add(t, "upper", upper, treetest.Pattern(2))}
		merged := tree.Merge(lower, upper)

		single, changes := writable(t, testDir(t), l.mount("view", ids[0]), l.mount("view", ids[1]))
		compare(t, single, merged, treetest.Pattern(1), treetest.Pattern(2))
		change(t, single, changes)

		run, changes := writable(t, testDir(t), l.mount("run", ids...))
		compare(t, run, merged, treetest.Pattern(1), treetest.Pattern(2))
		change(t, run, changes)
	})
}

// change does to an overlay what containers do, and looks at what became of it
// there and in its upper directory.
func change(t *testing.T, target, upper string) {
	t.Helper()
	in := func(path ...string) string { return filepath.Join(append([]string{target}, path...)...) }
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	want, err := os.ReadFile(in("dir", "two"))
	do(err)
	do(os.Chown(in("dir", "one"), 1, 2)) // copy-up
	do(os.Chmod(in("dir", "new"), 0o4755))
	got, err := os.ReadFile(in("dir", "one"))
	do(err)
	if string(got) != string(want) {
		t.Error("contents changed with the owner")
	}
	color := make([]byte, 10)
	n, err := unix.Getxattr(in("dir", "one"), "user.color", color)
	do(err)
	if string(color[:max(n, 0)]) != "blue" {
		t.Errorf("attribute after copy-up: %q", color[:max(n, 0)])
	}

	do(os.Remove(in("dir", "two"))) // whiteout
	if _, err := os.Lstat(in("dir", "two")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed file: %v", err)
	}
	var st unix.Stat_t
	do(unix.Lstat(filepath.Join(upper, "dir", "two"), &st))
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("no whiteout in the upper directory: mode %o", st.Mode)
	}

	do(os.RemoveAll(in("replaced"))) // opaque
	do(os.Mkdir(in("replaced"), 0o755))
	entries, err := os.ReadDir(in("replaced"))
	do(err)
	if len(entries) > 0 {
		t.Errorf("new directory has %v", entries)
	}
	mark := make([]byte, 10)
	if n, err := unix.Getxattr(filepath.Join(upper, "replaced"), tree.OpaqueXattr, mark); err != nil || string(mark[:n]) != "y" {
		t.Errorf("not opaque in the upper directory: %q %v", mark[:max(n, 0)], err)
	}

	do(os.WriteFile(in("dir", "null"), []byte("into the void"), 0))
	null, err := os.ReadFile(in("dir", "null"))
	do(err)
	if len(null) > 0 {
		t.Error("the null device is not one")
	}
}

// TestNestedOverlay is a container in a container.
func TestNestedOverlay(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		lower, upper := imageLayers()
		ids := []store.ID{l.add(t, "lower", lower, treetest.Pattern(1)), l.add(t, "upper", upper, treetest.Pattern(2))}
		outer, _ := writable(t, testDir(t), l.mount("run", ids...))
		memory := testDir(t)
		mountTmpfs(t, memory)
		inner, changes := writable(t, memory, outer)
		compare(t, inner, tree.Merge(lower, upper), treetest.Pattern(1), treetest.Pattern(2))
		change(t, inner, changes)
	})
}

// TestMountFlags reads a tree that is mounted as a read-only container
// has it, without an overlay: devices and setuid programs work there.
func TestMountFlags(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		lower, _ := imageLayers()
		path := l.mount("o", l.add(t, "layer", lower, treetest.Pattern(1)))
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err != nil {
			t.Fatal(err)
		}
		if st.Flags&unix.ST_RDONLY == 0 {
			t.Error("mounted writable")
		}
		if st.Flags&(unix.ST_NODEV|unix.ST_NOSUID|unix.ST_NOEXEC) != 0 {
			t.Errorf("flags %x", st.Flags)
		}
		if b, err := os.ReadFile(filepath.Join(path, "dir", "null")); err != nil || len(b) > 0 {
			t.Errorf("null device: %d bytes, %v", len(b), err)
		}
		if err := os.Mkdir(filepath.Join(path, "x"), 0o755); !errors.Is(err, unix.EROFS) {
			t.Errorf("mkdir: %v", err)
		}
	})
}

// TestPermissions: the kernel enforces modes and access control lists for other users
// than root.
func TestPermissions(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		root := tree.NewDir(0o755)
		add := func(name string, perm uint32, xattrs map[string]string) {
			root.Dir.Add(name, &tree.Inode{Mode: unix.S_IFREG | perm, Size: 10_000, Xattrs: xattrs})
		}
		add("open", 0o644, nil)
		add("closed", 0o600, nil)
		// user::rw-, user:4711:r--, group::---, mask::r--, other::---
		acl := "\x02\x00\x00\x00" +
			"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\x67\x12\x00\x00" +
			"\x04\x00\x00\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" +
			"\x20\x00\x00\x00\xff\xff\xff\xff"
		add("listed", 0o640, map[string]string{"system.posix_acl_access": acl})
		path := l.mount("o", l.add(t, "layer", root, treetest.Pattern(0)))
		// The way there is root's alone: bind the tree elsewhere.
		public := testDir(t)
		if err := os.Chmod(public, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(path, public, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		unmountAfter(t, public)
		for name, want := range map[string]map[int]bool{
			"open": {4711: true, 4712: true}, "closed": {}, "listed": {4711: true},
		} {
			for _, uid := range []int{4711, 4712} {
				if got := readableBy(t, filepath.Join(public, name), uid); got != want[uid] {
					t.Errorf("%s readable by %d: %v", name, uid, got)
				}
			}
		}
	})
}
