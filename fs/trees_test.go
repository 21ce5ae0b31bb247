package fs

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// shapes are the trees that every driver must show as they are.
var shapes = []struct {
	name  string
	shape treetest.Shape
}{
	{"plain", treetest.Shape{Inodes: 300}},
	{"change set", treetest.Shape{Inodes: 600, Layer: true, MaxXattr: 1500, OddNames: true, Collide: true}},
	{"odd", treetest.Shape{Inodes: 400, MaxXattr: 300, OddNames: true, LongLinks: true}},
	{"large files", treetest.Shape{Inodes: 60, MaxFile: 6 << 20}},
	{"empty", treetest.Shape{}},
}

func random(seed uint64, s treetest.Shape) (*tree.Inode, treetest.Pattern) {
	return treetest.Random(rand.New(rand.NewPCG(seed, 0)), s), treetest.Pattern(seed)
}

// compare fails the test if what is mounted at path is not the tree root with
// contents from data.
func compare(t *testing.T, path string, root *tree.Inode, data ...io.ReaderAt) {
	t.Helper()
	got, err := treetest.FromDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if diffs := treetest.Diff(root, got); len(diffs) > 0 {
		t.Errorf("tree (a) and mount (b) differ:%s", treetest.Lines(diffs, 20))
	}
	if err := treetest.CompareData(path, root, data...); err != nil {
		t.Error(err)
	}
}

func TestSingleLayer(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		for i, s := range shapes {
			t.Run(s.name, func(t *testing.T) {
				root, data := random(uint64(i), s.shape)
				compare(t, l.mount(s.name, l.add(t, s.name, root, data)), root, data)
			})
		}
	})
}

// TestLowestLayer: a layer with nothing below has no whiteouts, nor is
// anything opaque, where it is all that there is.
func TestLowestLayer(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		root, data := random(9, treetest.Shape{Inodes: 300, Layer: true, Collide: true, MaxXattr: 100})
		id := l.add(t, "layer", root, data)
		compare(t, l.mountSpec("o", store.Spec{Kind: store.Lowest, Layers: []store.ID{id}}), tree.Merge(root), data)
		compare(t, l.mount("o", id), root, data)
	})
}

// TestAgainstDisk compares with the same tree on a disk filesystem, which
// knows better than a test what a file looks like.
func TestAgainstDisk(t *testing.T) {
	root, data := random(7, treetest.Shape{Inodes: 500, MaxXattr: 1500, OddNames: true})
	onEachDriver(t, func(t *testing.T, l *lab) {
		disk := filepath.Join(testDir(t), "tree")
		if err := treetest.ToDir(disk, root, data); err != nil {
			t.Fatal(err)
		}
		want, err := treetest.FromDir(disk)
		if err != nil {
			t.Fatal(err)
		}
		got, err := treetest.FromDir(l.mount("o", l.add(t, "layer", root, data)))
		if err != nil {
			t.Fatal(err)
		}
		if diffs := treetest.Diff(want, got); len(diffs) > 0 {
			t.Errorf("disk (a) and mount (b) differ:%s", treetest.Lines(diffs, 20))
		}
	})
}

// lateImages numbers inodes as a store does that is full.
type lateImages struct{ Images }

func (l lateImages) AddTree(ctx context.Context, spec store.Spec, inodes uint64, write func(*os.File, store.TreeImage) error) (store.TreeImage, error) {
	return l.Images.AddTree(ctx, spec, inodes, func(f *os.File, image store.TreeImage) error {
		image.FirstInode = 1<<37 - (inodes+127)/128*128
		return write(f, image)
	})
}

// TestLastInodes: the image with the last numbers is a sparse file of 4 TiB.
func TestLastInodes(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		l.opts.Images = lateImages{l.opts.Images}
		root, data := random(1, treetest.Shape{Inodes: 100, MaxXattr: 100})
		compare(t, l.mount("o", l.add(t, "layer", root, data)), root, data)
	})
}

func TestMergedLayers(t *testing.T) {
	const layers = 60
	onEachDriver(t, func(t *testing.T, l *lab) {
		var ids []store.ID
		var roots []*tree.Inode
		var data []io.ReaderAt
		for i := range layers {
			root, pattern := random(uint64(i), treetest.Shape{Inodes: 120, Layer: true, Collide: true, MaxXattr: 200})
			roots, data = append(roots, root), append(data, pattern)
			ids = append(ids, l.add(t, fmt.Sprint(i), root, pattern))
		}
		merged := l.mount("run", ids...)
		compare(t, merged, tree.Merge(roots...), data...)

		var lowers []string
		for i, id := range ids {
			path := l.mount("view", id)
			compare(t, path, roots[i], data[i])
			lowers = append(lowers, path)
		}
		if n := len(l.mounts()); n != 1+1+layers {
			t.Errorf("%d mounts for the export, one merged and %d single trees", n, layers)
		}
		// As overlayfs stacks them, they show what the merged tree shows.
		stacked := overlayOf(t, lowers)
		got, err := treetest.FromDir(stacked)
		if err != nil {
			t.Fatal(err)
		}
		diffs := treetest.Diff(tree.Merge(roots...), got)
		if len(diffs) > 0 {
			t.Errorf("merged (a) and stacked (b) differ:%s", treetest.Lines(diffs, 20))
		}
	})
}

// mounts returns all mount points of the lab.
func (l *lab) mounts() []string {
	l.t.Helper()
	points, err := mountsBelow(l.shelf.root)
	if err != nil {
		l.t.Fatal(err)
	}
	return points
}

// overlayOf mounts a read-only overlay of lowers, the lowest first, until the
// test ends.
func overlayOf(t *testing.T, lowers []string) string {
	t.Helper()
	target := testDir(t)
	fsfd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fsfd)
	for i := range lowers {
		if err := unix.FsconfigSetString(fsfd, "lowerdir+", lowers[len(lowers)-1-i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		t.Fatalf("overlay: %v%s", err, kernelLog(fsfd))
	}
	mfd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(mfd)
	if err := unix.MoveMount(mfd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		t.Fatal(err)
	}
	unmountAfter(t, target)
	return target
}

func unmountAfter(t *testing.T, target string) {
	t.Cleanup(func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Errorf("unmount %s: %v", target, err)
			_ = unix.Unmount(target, unix.MNT_DETACH)
		}
	})
}

// TestDriversAgree compares what treetest leaves out: link counts of
// directories, sizes on disk, times and numbers of inodes.
func TestDriversAgree(t *testing.T) {
	root, data := random(3, treetest.Shape{Inodes: 800, OddNames: true, MaxXattr: 50})
	seen := map[string]string{}
	onEachDriver(t, func(t *testing.T, l *lab) {
		path := l.mount("o", l.add(t, "layer", root, data))
		listing := list(t, path)
		if want, ok := seen["first"]; ok && listing != want {
			t.Errorf("differs from driver %s: %s", drivers[0], firstDifference(want, listing))
		}
		seen["first"] = listing
	})
}

func list(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			st.Size, st.Blocks = 0, 0 // EROFS has its own idea
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			st.Blocks = 0
		}
		fmt.Fprintf(&b, "%q %o %d %d %d %x %d %d %d %v %v %v\n", strings.TrimPrefix(path, root), st.Mode,
			st.Nlink, st.Uid, st.Gid, st.Rdev, st.Size, st.Blocks, st.Blksize, st.Atim, st.Mtim, st.Ctim)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return as[i] + " / " + bs[i]
		}
	}
	return "length"
}
