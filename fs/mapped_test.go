package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// inPod returns a mapping as Kubernetes gives pods: 65536 ids, of which no two pods have one
// in common. Users and groups have other ids here.
func inPod(n uint32) idmap.Mapping {
	return idmap.Mapping{
		Users:  []idmap.Range{{Host: n << 20, Size: 65536}},
		Groups: []idmap.Range{{Host: n<<20 + 65536, Size: 65536}},
	}
}

// mappable returns root, changed to have owners that are mapped by inPod only: host's root may
// not read a file of nobody that is closed to others.
func mappable(t *testing.T, root *tree.Inode) *tree.Inode {
	t.Helper()
	err := tree.Walk(root, func(_ string, i *tree.Inode) error {
		i.UID, i.GID = i.UID%65536, i.GID%65536
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// mappedTree returns root, changed to what a clone of it shows: owners, the ids in access
// control lists, and the root of those that have a file's capabilities.
func mappedTree(t *testing.T, root *tree.Inode, ids idmap.Mapping) *tree.Inode {
	t.Helper()
	done := map[*tree.Inode]bool{}
	err := tree.Walk(root, func(_ string, i *tree.Inode) error {
		if done[i] {
			return nil
		}
		done[i] = true
		i.UID, i.GID = orNobody(ids.User(i.UID)), orNobody(ids.Group(i.GID))
		for name, value := range i.Xattrs {
			switch {
			case strings.HasPrefix(name, "system.posix_acl_"):
				i.Xattrs[name] = mappedACL(value, ids)
			case name == "security.capability":
				user, _ := ids.Root()
				const revision2, revision3 = 2, 3 // the last byte of the first number
				if value[3] == revision2 {
					value = value[:3] + string(rune(revision3)) + value[4:]
					i.Xattrs[name] = string(binary.LittleEndian.AppendUint32([]byte(value), user))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func orNobody(id uint32, ok bool) uint32 {
	if !ok {
		return 65534 // /proc/sys/kernel/overflowuid
	}
	return id
}

// mappedACL maps the users in the form of linux/posix_acl_xattr.h, version 2.
func mappedACL(acl string, ids idmap.Mapping) string {
	b := []byte(acl)
	for entry := b[4:]; len(entry) >= 8; entry = entry[8:] {
		const namedUser = 2
		if binary.LittleEndian.Uint16(entry) != namedUser {
			continue
		}
		id, ok := ids.User(binary.LittleEndian.Uint32(entry[4:]))
		if !ok {
			id = 1<<32 - 1
		}
		binary.LittleEndian.PutUint32(entry[4:], id)
	}
	return string(b)
}

func (l *lab) mountMapped(owner string, ids idmap.Mapping, layers ...store.ID) string {
	l.t.Helper()
	path, err := l.MountMapped(l.t.Context(), owner, over(layers...), ids)
	if err != nil {
		l.t.Fatal(err)
	}
	return path
}

// mountID identifies a mount as the kernel does.
func mountID(t *testing.T, path string) int {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	if err != nil || len(mounts) != 1 {
		t.Fatalf("mounts at %s: %v, %v", path, mounts, err)
	}
	return mounts[0].ID
}

// TestMapped: one tree is shown with the owners of two pods, and with its own.
func TestMapped(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		make := func() (*tree.Inode, treetest.Pattern) {
			root, data := random(3, treetest.Shape{Inodes: 300, MaxXattr: 50, OddNames: true})
			return mappable(t, root), data
		}
		root, data := make()
		id := l.add(t, "layer", root, data)
		one, two := l.mountMapped("one", inPod(1), id), l.mountMapped("two", inPod(2), id)
		plain := l.mount("plain", id)
		if err := l.CanMap(); err != nil {
			t.Error(err)
		}
		for path, ids := range map[string]idmap.Mapping{one: inPod(1), two: inPod(2)} {
			fresh, _ := make()
			compare(t, path, mappedTree(t, fresh, ids), data)
		}
		compare(t, plain, root, data)

		// The tree remains for as long as a clone of it.
		l.release("plain")
		l.release("one")
		if l.isMounted(one) || !l.isMounted(two) || !l.isMounted(plain) {
			t.Errorf("mounted: %v", l.mounts())
		}
		if l.mountMapped("again", inPod(2), id) != two {
			t.Error("a second clone with the same mapping")
		}
		l.release("two")
		fresh, _ := make()
		compare(t, two, mappedTree(t, fresh, inPod(2)), data)
		l.release("again")
		if l.isMounted(two) || l.isMounted(plain) {
			t.Errorf("mounted: %v", l.mounts())
		}
		if left, err := os.ReadDir(l.mappedDir()); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// TestMappedIsReadOnce: what was read through one clone is in the page cache for all others,
// and for the tree itself.
func TestMappedIsReadOnce(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		id := l.add(t, "layer", files(64<<10), treetest.Pattern(1))
		readAll := func(path string) {
			t.Helper()
			for _, name := range []string{"a", "b"} {
				if _, err := os.ReadFile(filepath.Join(path, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		readAll(l.mountMapped("one", inPod(1), id))
		n := l.book(id).reads.Load()
		readAll(l.mountMapped("two", inPod(2), id))
		readAll(l.mount("plain", id))
		if after := l.book(id).reads.Load(); after != n {
			t.Errorf("%d reads for the first clone, and %d for the others", n, after-n)
		}
	})
}

// TestMappedOverlay: what a container changes has its ids on the disk.
func TestMappedOverlay(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		lower, upper := imageLayers()
		ids := []store.ID{l.add(t, "lower", lower, treetest.Pattern(1)), l.add(t, "upper", upper, treetest.Pattern(2))}
		path := l.mountMapped("run", inPod(1), ids...)
		target, changes := writable(t, testDir(t), path)
		change(t, target, changes)
		var st unix.Stat_t
		if err := os.Chmod(filepath.Join(target, "dir"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Stat(filepath.Join(changes, "dir"), &st); err != nil || st.Uid != 1<<20 || st.Gid != 1<<20+65536 {
			t.Errorf("owner of a directory that was copied up: %d:%d, %v", st.Uid, st.Gid, err)
		}
	})
}

// TestMountDir: a clone of a directory has the files of that alone.
func TestMountDir(t *testing.T) {
	l := newLab(t, "erofs")
	dir := filepath.Join(testDir(t), "endpoint", "snapshots")
	if err := os.MkdirAll(filepath.Join(dir, "1", "fs", "mounted"), 0o755); err != nil {
		t.Fatal(err)
	}
	mountTmpfs(t, filepath.Join(dir, "1", "fs", "mounted"))
	if err := os.WriteFile(filepath.Join(dir, "1", "fs", "mounted", "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := l.MountDir(t.Context(), "o", dir, inPod(3))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(l.mappedDir(), inPod(3).Name(), "d-endpoint"); path != want {
		t.Errorf("mounted at %s, want %s", path, want)
	}
	// What is made later is there, too.
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "2", "fs"), 0o755), os.Chown(filepath.Join(dir, "2", "fs"), 5, 6)); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(path, "2", "fs"), &st); err != nil || st.Uid != 3<<20+5 || st.Gid != 3<<20+65536+6 {
		t.Errorf("owner %d:%d, %v", st.Uid, st.Gid, err)
	}
	if _, err := os.Stat(filepath.Join(path, "1", "fs", "mounted", "f")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is mounted in the directory is there: %v", err)
	}
	if _, err := l.MountDir(t.Context(), "o", "/proc", inPod(3)); !errors.Is(err, idmap.ErrUnsupported) {
		t.Errorf("a directory that has no clones: %v", err)
	}
	l.release("o")
	if l.isMounted(path) {
		t.Error("still mounted")
	}
}

// TestMappedAtOnce: calls for the same clones at the same time. Each has its clone until it
// releases it, and no clone is left.
func TestMappedAtOnce(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		layers := l.small(t, 2)
		var wrong atomic.Pointer[string]
		var g errgroup.Group
		for i := range 8 {
			g.Go(func() error {
				owner, ids := itoa(i), inPod(uint32(1+i%2))
				for j := range 6 {
					path, err := l.MountMapped(t.Context(), owner, over(layers[(i+j)%2]), ids)
					if err != nil {
						return err
					}
					var st unix.Stat_t
					if err := unix.Stat(path, &st); err != nil {
						return err
					}
					if st.Uid>>20 != uint32(1+i%2) && st.Uid != 65534 {
						what := fmt.Sprintf("owner %d in the clone of pod %d", st.Uid, 1+i%2)
						wrong.Store(&what)
					}
					if err := l.Release(t.Context(), owner); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if what := wrong.Load(); what != nil {
			t.Error(*what)
		}
		if points := l.mounts(); len(points) != 1 {
			t.Errorf("mounted without an owner: %v", points)
		}
		if n := len(l.clones.namespaces.mu.byName); n != 0 {
			t.Errorf("%d user namespaces are left", n)
		}
		for _, id := range layers {
			waittest.For(t, "layer closed", func() bool { return l.book(id).open.Load() == 0 })
		}
	})
}

// TestFUSEThatCannotBeMapped: on a connection without FUSE_ALLOW_IDMAP, as on each kernel
// before 6.12, the fuse driver says so, and mounts nothing. The other drivers need none.
func TestFUSEThatCannotBeMapped(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			s := newShelf(t, testDir(t))
			opts := s.options(driver)
			opts.notMapped = true
			f, err := New(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			l := &lab{FileSystem: f, shelf: s, t: t}
			t.Cleanup(l.end)
			root, data := random(1, treetest.Shape{Inodes: 20})
			id := l.add(t, "layer", root, data)
			path, err := l.MountMapped(t.Context(), "o", over(id), inPod(1))
			why := l.CanMap()
			if driver != string(metrics.DriverFUSE) {
				if err != nil || why != nil {
					t.Errorf("%v, %v", err, why)
				}
				return
			}
			if !errors.Is(err, idmap.ErrUnsupported) || path != "" {
				t.Errorf("mounted at %q, %v", path, err)
			}
			if !errors.Is(why, idmap.ErrUnsupported) || !strings.Contains(why.Error(), "the driver fuse cannot do it here") || !strings.Contains(why.Error(), "it needs Linux 6.12") {
				t.Errorf("the reason is %v", why)
			}
		})
	}
}

// TestTrustedNamesOfMapped: the names of attributes that overlayfs copies up are listed for
// it, on a connection on which requests do not say whose they are.
func TestTrustedNamesOfMapped(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		root := tree.NewDir(0o755)
		root.Dir.Add("f", &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: 10, Xattrs: map[string]string{"trusted.x": "y"}})
		path := l.mountMapped("o", inPod(1), l.add(t, "layer", root, treetest.Pattern(0)))
		target, changes := writable(t, testDir(t), path)
		if err := os.Chmod(filepath.Join(target, "f"), 0o600); err != nil {
			t.Fatal(err)
		}
		value := make([]byte, 10)
		n, err := unix.Getxattr(filepath.Join(changes, "f"), "trusted.x", value)
		if err != nil || string(value[:n]) != "y" {
			t.Errorf("the copied file has %q, %v", value[:max(n, 0)], err)
		}
	})
}

// BenchmarkMountMapped is what a container in a user namespace takes more than one without:
// a clone of a tree that is mounted, with a mapping that no other container has.
func BenchmarkMountMapped(b *testing.B) {
	benchEachDriver(b, func(b *testing.B, l *lab) {
		root, data := random(1, treetest.Shape{Inodes: 500})
		spec := over(l.add(b, "layer", root, data))
		l.mountSpec("other", spec)
		for pod := uint32(1); b.Loop(); pod = pod%4000 + 1 {
			if _, err := l.MountMapped(context.Background(), "o", spec, inPod(pod)); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			l.release("o")
			b.StartTimer()
		}
	})
}
