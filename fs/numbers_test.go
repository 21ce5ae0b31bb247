package fs

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
)

// TestInodeNumbers: a number of an inode is that of no other inode of any tree,
// is below 2^32 and above those of upper directories, and is what directories
// say. The root of a tree has a number of its own with the fuse driver only, and
// other trees are other filesystems with the others.
func TestInodeNumbers(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		one, data := random(11, treetest.Shape{Inodes: 3000, Layer: true})
		a := l.add(t, "a", one, data)
		other, data := random(12, treetest.Shape{Inodes: 10, Layer: true})
		b := l.add(t, "b", other, data)
		seen := map[uint64]string{}
		for name, spec := range map[string]store.Spec{
			"merged":           over(a, b),
			"lowest":           {Kind: store.Lowest, Layers: []store.ID{a}},
			"layer":            over(a),
			"the same":         {Layers: []store.ID{a}, Again: 1},
			"other":            over(b),
			"difference":       {Kind: store.Diff, Layers: []store.ID{a, b}, Lower: []store.ID{a}},
			"stack":            store.StackOf(store.Spec{Kind: store.Diff, Layers: []store.ID{a}}),
			"merged otherwise": over(b, a),
		} {
			root := l.mountSpec("o", spec)
			for path, number := range numbersBelow(t, root) {
				if path == "." && l.Driver() != "fuse" {
					continue
				}
				if number < 1<<31 || number >= 1<<32 {
					t.Errorf("%s of %s has the number %d", path, name, number)
				}
				if there, ok := seen[number]; ok {
					t.Errorf("%s of %s has the number of %s, %d", path, name, there, number)
				}
				seen[number] = path + " of " + name
			}
		}
	})
}

// outdatedImages are as an earlier version left them.
type outdatedImages struct{ Images }

func (i outdatedImages) AddTree(ctx context.Context, spec store.Spec, inodes uint64, write func(*os.File, store.TreeImage) error) (store.TreeImage, error) {
	image, err := i.Images.AddTree(ctx, spec, inodes, write)
	image.FirstInode = 0
	return image, err
}

// TestInodeNumbersOfBefore: of a tree that an earlier version served the kernel may
// remember numbers, and gets the same ones.
func TestInodeNumbersOfBefore(t *testing.T) {
	l := newLab(t, "fuse")
	l.opts.Images = outdatedImages{l.opts.Images}
	root, data := random(11, treetest.Shape{Inodes: 30})
	path := l.mount("o", l.add(t, "layer", root, data))
	tree, err := strconv.ParseUint(filepath.Base(path), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	for name, number := range numbersBelow(t, path) {
		if number>>32 != tree+1 || name == "." && uint32(number) != rootInode {
			t.Errorf("%s has the number %#x", name, number)
		}
	}
}

// numbersBelow returns st_ino of all that is below root, one path for each
// inode. It checks that directories say the same.
func numbersBelow(t *testing.T, root string) map[string]uint64 {
	t.Helper()
	numbers, known := map[string]uint64{}, map[uint64]bool{}
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if e.IsDir() {
			checkEntries(t, path, st.Ino)
		}
		if !known[st.Ino] {
			name, _ := filepath.Rel(root, path)
			numbers[name] = st.Ino
		}
		known[st.Ino] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return numbers
}

// checkEntries compares d_ino with st_ino for the entries of dir; self is the number of
// dir.
func checkEntries(t *testing.T, dir string, self uint64) {
	t.Helper()
	entries, err := entriesOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, number := range entries {
		if name == ".." {
			continue // of a root, it is what it is mounted on
		}
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Ino != number || name == "." && number != self {
			t.Errorf("%s: %s has the number %d, and says %d", dir, name, st.Ino, number)
		}
	}
}

// entriesOf returns the numbers that a directory says its entries have
// (getdents64(2), struct linux_dirent64).
func entriesOf(dir string) (map[string]uint64, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries := map[string]uint64{}
	for buf := make([]byte, 32<<10); ; {
		n, err := unix.Getdents(int(f.Fd()), buf)
		if n <= 0 || err != nil {
			return entries, err
		}
		for rest := buf[:n]; len(rest) > 0; {
			size := int(rest[16]) | int(rest[17])<<8
			if size < 19 || size > len(rest) {
				return nil, fmt.Errorf("entry of %d bytes", size)
			}
			entries[unix.ByteSliceToString(rest[19:size])] = binary.LittleEndian.Uint64(rest)
			rest = rest[size:]
		}
	}
}
