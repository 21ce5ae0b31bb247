package tree_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

// sameData knows the contents of files of nearby: all are of one Pattern.
func sameData(lower, upper *tree.Inode) bool { return lower.Data.Offset == upper.Data.Offset }

// nearby returns a random tree of few names, attributes and contents, so that
// several such trees have equal and nearly equal entries.
func nearby(r *rand.Rand) *tree.Inode {
	root := treetest.Random(r, treetest.Shape{Inodes: 20 + r.IntN(100), Layer: true, Collide: true, MaxXattr: 5})
	pick := func(of ...uint32) uint32 { return of[r.IntN(len(of))] }
	_ = tree.Walk(root, func(_ string, i *tree.Inode) error {
		if i.IsWhiteout() {
			return nil
		}
		i.Mode, i.UID, i.GID = i.Type()|pick(0o644, 0o644, 0o755), pick(0, 0, 0, 1), 0
		i.Mtime = tree.Time{Sec: int64(pick(100, 100, 101)), Nsec: pick(0, 0, 7)}
		cap := i.Xattrs["security.capability"]
		// A disk makes the mode agree with the one, and BuildKit lets the
		// other spread to what it creates there.
		delete(i.Xattrs, "system.posix_acl_access")
		delete(i.Xattrs, "system.posix_acl_default")
		switch i.Type() {
		case unix.S_IFDIR:
			return nil
		case unix.S_IFREG:
			i.Size, i.Data.Offset = int64(pick(0, 5, 5, 5000)), tree.BlockSize*int64(r.IntN(2))
			i.Xattrs = nil
			if cap != "" && r.IntN(2) == 0 {
				i.Xattrs = map[string]string{"security.capability": cap, "user.x": fmt.Sprint(r.IntN(2))}
			}
		case unix.S_IFLNK:
			i.Mode |= 0o777
			i.Target = []string{"x", "y", "yy"}[r.IntN(3)]
		case unix.S_IFCHR, unix.S_IFBLK:
			i.Device = tree.Device{Major: 1, Minor: pick(3, 5)}
		}
		return nil
	})
	return root
}

// altered returns such a tree again, with some inodes changed in one point.
func altered(r *rand.Rand, root *tree.Inode) *tree.Inode {
	_ = tree.Walk(root, func(_ string, i *tree.Inode) error {
		if i.IsWhiteout() || r.IntN(3) > 0 {
			return nil
		}
		switch r.IntN(8) {
		case 0:
			if i.Type() != unix.S_IFLNK {
				i.Mode ^= 0o100
			}
		case 1:
			i.UID, i.GID = i.GID, i.UID
		case 2:
			i.Mtime.Sec++
		case 3:
			i.Mtime.Nsec ^= 7
		case 4:
			i.Data.Offset ^= tree.BlockSize
		case 5:
			if i.IsRegular() {
				i.Size ^= 1
			}
			i.Target = strings.ToUpper(i.Target)
		case 6:
			if i.Device.Minor > 0 {
				i.Device.Minor++
			}
		case 7:
			if c := []byte(i.Xattrs["security.capability"]); len(c) > 4 && r.IntN(2) == 0 {
				c[4] ^= 1
				i.Xattrs["security.capability"] = string(c)
			} else if i.Xattrs["user.x"] != "" {
				i.Xattrs["user.x"] += "x"
			}
		}
		return nil
	})
	return root
}

// TestDiffAsBuildKit takes BuildKit's rules, applied to directories, as the
// oracle: any stack of differences over any tree must show what they make of it.
func TestDiffAsBuildKit(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 15
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			pairs := 1 + r.IntN(3)
			pool := make([]*tree.Inode, 5)
			for i := range pool {
				same := rand.New(rand.NewPCG(seed, uint64(i%2)))
				pool[i] = altered(r, nearby(same))
			}
			some := func() (layers []*tree.Inode) {
				for range r.IntN(4) {
					layers = append(layers, pool[r.IntN(len(pool))])
				}
				return layers
			}
			c := newDiffCase(t, tree.Merge(some()...))
			for range pairs {
				lower, upper := some(), some()
				if r.IntN(2) == 0 {
					upper = append(lower[:len(lower):len(lower)], upper...)
				}
				c.add(tree.Merge(lower...), tree.Merge(upper...))
			}
			c.check()
		})
	}
}

// diffCase is a stack of differences over a tree, made in both ways.
type diffCase struct {
	*testing.T
	dir    string
	dirs   int
	lowers []string // the stack, the lowest first
	diffs  []*tree.Inode
	merge  merging
}

func newDiffCase(t *testing.T, base *tree.Inode) *diffCase {
	c := &diffCase{T: t, dir: t.TempDir()}
	c.lowers = []string{c.put(base)}
	c.merge.upper, c.merge.lowers = c.put(tree.NewDir(0o755)), c.lowers[:1:1]
	return c
}

// put makes a directory of a tree.
func (c *diffCase) put(root *tree.Inode) string {
	c.Helper()
	c.dirs++
	dir := filepath.Join(c.dir, fmt.Sprint(c.dirs))
	data := make([]io.ReaderAt, 16)
	for i := range data {
		data[i] = treetest.Pattern(0)
	}
	if err := treetest.ToDir(dir, root, data...); err != nil {
		c.Fatal(err)
	}
	return dir
}

// add lays what differs between two trees on top.
func (c *diffCase) add(lower, upper *tree.Inode) {
	c.Helper()
	diff := tree.Diff(lower, upper, sameData)
	c.merge.apply(c.T, c.put(lower), c.put(upper))
	_ = tree.Walk(diff, func(path string, i *tree.Inode) error {
		if i.IsDir() && i.Dir.Opaque {
			c.Errorf("%q is opaque", path)
		}
		return nil
	})
	c.lowers, c.diffs = append(c.lowers, c.put(diff)), append(c.diffs, diff)
}

// check compares what is made so far, and the same with one tree of all
// differences.
func (c *diffCase) check() {
	c.Helper()
	c.merge.finish(c.T)
	applied := mountOverlay(c.T, append(c.merge.lowers, c.merge.upper))
	// BuildKit adds up the attributes of a directory that several differences
	// have.
	c.compare(applied, mountOverlay(c.T, c.lowers), len(c.diffs) == 1)
	c.compare(applied, mountOverlay(c.T, []string{c.lowers[0], c.put(tree.Stack(c.diffs...))}), true)
}

func (c *diffCase) compare(applied, stacked string, dirXattrs bool) {
	c.Helper()
	checkListed(c.T, stacked)
	want, err := treetest.FromDir(applied)
	if err != nil {
		c.Fatal(err)
	}
	got, err := treetest.FromDir(stacked)
	if err != nil {
		c.Fatal(err)
	}
	for _, d := range treetest.Diff(want, got) {
		switch {
		case d.Path == "": // nobody applies the root's attributes
		case d.Field == treetest.FieldNlink && len(c.diffs) > 1:
			// A name that an upper difference hides still counts.
		case d.Field == treetest.FieldXattrs && !dirXattrs && isDir(filepath.Join(applied, d.Path)):
		default:
			c.Errorf("BuildKit, the stack: %v", d)
		}
	}
	_ = tree.Walk(want, func(path string, i *tree.Inode) error {
		if !i.IsRegular() {
			return nil
		}
		a, errA := os.ReadFile(filepath.Join(applied, path))
		b, errB := os.ReadFile(filepath.Join(stacked, path))
		if errA != nil || errB != nil || string(a) != string(b) {
			c.Errorf("%q: unequal content: %v, %v", path, errA, errB)
		}
		return nil
	})
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// checkListed makes sure that every name that is listed is there.
func checkListed(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			_, err = os.Lstat(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is listed: %v", path, err)
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
