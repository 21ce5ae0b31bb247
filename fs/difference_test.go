package fs

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// sample is a layer: a random tree, and its data from some way into a pattern.
// Equal seeds give equal trees.
type sample struct {
	name    string
	seed    uint64
	shift   int64
	noTable bool
}

func (s sample) root() *tree.Inode {
	root, _ := random(s.seed, treetest.Shape{Inodes: 150, Layer: true, Collide: true, MaxXattr: 50})
	done := map[*tree.Inode]bool{}
	_ = tree.Walk(root, func(_ string, i *tree.Inode) error {
		if !done[i] {
			done[i] = true
			i.Data.Offset += s.shift
			i.Mtime.Nsec = 0 // so that contents are compared
		}
		return nil
	})
	return root
}

func (s sample) ReadAt(p []byte, off int64) (int, error) {
	return treetest.Pattern(s.seed).ReadAt(p, off-s.shift)
}

// table has chunks of 3000 bytes at most.
func (s sample) table(t *testing.T) []byte {
	t.Helper()
	var x index.Index
	x.Compression = index.Gzip
	root := s.root()
	done := map[*tree.Inode]bool{}
	var files []*tree.Inode
	_ = tree.Walk(root, func(_ string, i *tree.Inode) error {
		if i.IsRegular() && !done[i] {
			done[i] = true
			files = append(files, i)
		}
		return nil
	})
	slices.SortFunc(files, func(a, b *tree.Inode) int { return int(a.Data.Offset - b.Data.Offset) })
	for _, f := range files {
		for at := int64(0); at < f.Size; at += 3000 {
			c := index.Chunk{DataOffset: f.Data.Offset + at, Size: min(3000, f.Size-at)}
			c.BlobOffset, c.BlobEnd = c.DataOffset, c.DataOffset+c.Size
			h := sha256.New()
			if _, err := io.Copy(h, io.NewSectionReader(s, c.DataOffset, c.Size)); err != nil {
				t.Fatal(err)
			}
			h.Sum(c.Digest[:0])
			x.Chunks = append(x.Chunks, c)
		}
	}
	return index.EncodeTable(&x)
}

// diffs are pairs of stacks of samples, by number.
var (
	samples = []sample{
		{name: "base", seed: 1}, {name: "above", seed: 2}, {name: "copy of base", seed: 1, shift: 3 << 20},
		{name: "third", seed: 3}, {name: "no table", seed: 1, shift: 1 << 20, noTable: true},
	}
	diffs = []struct {
		name         string
		lower, upper []int
		devices      int
	}{
		{"adjacent", []int{0}, []int{0, 1}, 1},
		{"adjacent, two", []int{0}, []int{0, 1, 3}, 2},
		{"from nothing", nil, []int{0, 1}, 2},
		{"back", []int{0, 1}, []int{0}, 1},
		{"nothing", []int{0, 1}, []int{0, 1}, 2},
		{"content elsewhere", []int{0}, []int{2}, 1},
		{"content elsewhere, and more", []int{0}, []int{2, 1}, 2},
		{"apart", []int{0, 1}, []int{3, 1}, 2},
	}
)

// shelveSamples returns the identities of the samples.
func (l *lab) shelveSamples(t *testing.T) []store.ID {
	t.Helper()
	ids := make([]store.ID, len(samples))
	for i, s := range samples {
		var table []byte
		if !s.noTable {
			table = s.table(t)
		}
		var err error
		if ids[i], err = l.putWith(s.name, s.root(), s, table); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// wantDiff is what the tree is to be, and where its contents are.
func wantDiff(lower, upper []int) (*tree.Inode, []io.ReaderAt) {
	merge := func(places []int) *tree.Inode {
		var roots []*tree.Inode
		for _, n := range places {
			roots = append(roots, samples[n].root())
		}
		return tree.Merge(roots...)
	}
	var data []io.ReaderAt
	for _, n := range upper {
		data = append(data, samples[n])
	}
	root := tree.Diff(merge(lower), merge(upper), func(a, b *tree.Inode) bool {
		s, t := samples[lower[a.Data.Layer]], samples[upper[b.Data.Layer]]
		return s.seed == t.seed && a.Data.Offset-s.shift == b.Data.Offset-t.shift
	})
	tree.NoteAttributed(root)
	return root, data
}

func pick(ids []store.ID, places []int) (picked []store.ID) {
	for _, n := range places {
		picked = append(picked, ids[n])
	}
	return picked
}

// TestDiffTrees mounts differences. No data is read for that.
func TestDiffTrees(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	onEachDriver(t, func(t *testing.T, l *lab) {
		ids := l.shelveSamples(t)
		base := l.mountSpec("below", store.Spec{Kind: store.Lowest, Layers: ids[3:4]})
		for _, d := range diffs {
			t.Run(d.name, func(t *testing.T) {
				spec := store.Spec{Kind: store.Diff, Layers: pick(ids, d.upper), Lower: pick(ids, d.lower)}
				if n := len(devicesOf(spec)); n != d.devices {
					t.Errorf("%d devices, want %d", n, d.devices)
				}
				want, data := wantDiff(d.lower, d.upper)
				compareStacked(t, []string{base, l.mountUnread(t, spec, want, ids)}, want, data)
				for _, id := range ids {
					l.book(id).reads.Store(0)
				}
			})
		}
	})
}

// mountUnread mounts spec, and compares the mount with want, for which no data of ids may be
// read.
func (l *lab) mountUnread(t *testing.T, spec store.Spec, want *tree.Inode, ids []store.ID) (path string) {
	t.Helper()
	path = l.mountSpec("o", spec)
	got, err := treetest.FromDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if n := l.book(id).reads.Load(); n > 0 {
			t.Errorf("%d reads of %s", n, id.Blob)
		}
	}
	if diffs := treetest.Diff(want, got); len(diffs) > 0 {
		t.Errorf("tree (a) and mount (b) differ:%s", treetest.Lines(diffs, 20))
	}
	return path
}

// compareStacked compares a tree that is stacked with one in a directory that
// is stacked on the same.
func compareStacked(t *testing.T, stack []string, top *tree.Inode, data []io.ReaderAt) {
	t.Helper()
	dir := filepath.Join(testDir(t), "top")
	if err := treetest.ToDir(dir, top, data...); err != nil {
		t.Fatal(err)
	}
	a, b := overlayOf(t, []string{stack[0], dir}), overlayOf(t, stack)
	want, err := treetest.FromDir(a)
	if err != nil {
		t.Fatal(err)
	}
	got, err := treetest.FromDir(b)
	if err != nil {
		t.Fatal(err)
	}
	if diffs := treetest.Diff(want, got); len(diffs) > 0 {
		t.Errorf("stacked on disk (a) and as mounted (b):%s", treetest.Lines(diffs, 20))
	}
	err = filepath.WalkDir(b, func(path string, d os.DirEntry, err error) error {
		if err == nil {
			_, err = os.Lstat(path) // no whiteout is listed
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		fromA, errA := os.ReadFile(a + path[len(b):])
		fromB, errB := os.ReadFile(path)
		if string(fromA) != string(fromB) {
			t.Errorf("%s: unequal content", path)
		}
		return errors.Join(errA, errB)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDiffTreeStays over restarts under its path, and is made again if its
// image is lost.
func TestDiffTreeStays(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			root := testDir(t)
			var first string
			want, data := wantDiff([]int{0}, []int{0, 1})
			for _, life := range []string{"first", "restarted", "image lost"} {
				t.Run(life, func(t *testing.T) {
					if life == "image lost" {
						if err := os.Remove(filepath.Join(root, "store/trees", filepath.Base(first), "image")); err != nil {
							t.Fatal(err)
						}
					}
					l := newLabIn(t, root, driver)
					ids := l.shelveSamples(t)
					path := l.mountSpec("o", store.Spec{Kind: store.Diff, Layers: ids[:2], Lower: ids[:1]})
					compare(t, path, want, data...)
					if life == "first" {
						first = path
					}
					if (path == first) != (life != "image lost") {
						t.Errorf("%s, first %s", path, first)
					}
				})
			}
		})
	}
}

// TestDiffWithoutTable fails: a chunk table that cannot be read is no answer.
func TestDiffWithoutTable(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		ids := l.shelveSamples(t)
		spec := store.Spec{Kind: store.Diff, Layers: ids[:1], Lower: ids[4:]}
		if path, err := l.Mount(t.Context(), "o", spec); err == nil {
			t.Errorf("mounted at %s", path)
		}
		spec.Lower = []store.ID{ids[1], {Blob: "sha256:absent"}}
		if _, err := l.Mount(t.Context(), "o", spec); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("from a layer that is not there: %v", err)
		}
	})
}

// bareWhiteout mounts a difference with a directory of nothing but a whiteout,
// and a tree that has no such directory, for an overlay in which the directory
// must be empty.
func bareWhiteout(ctx context.Context, f *FileSystem, s *shelf) (above, below string, err error) {
	var ids [3]store.ID
	for i, name := range []string{"has it", "has it not", "other"} {
		root, d := tree.NewDir(0o755), tree.NewDir(0o755)
		file := tree.NewWhiteout()
		if i == 0 {
			file = &tree.Inode{Mode: unix.S_IFREG | 0o644}
		}
		d.Dir.Add("a", file)
		if i < 2 {
			root.Dir.Add("d", d)
		}
		if ids[i], err = s.put(name, root, treetest.Pattern(0)); err != nil {
			return "", "", err
		}
	}
	if above, err = f.Mount(ctx, "o", store.Spec{Kind: store.Diff, Layers: ids[:2], Lower: ids[:1]}); err != nil {
		return "", "", err
	}
	below, err = f.Mount(ctx, "o", over(ids[2]))
	return above, below, err
}

// TestBareWhiteout: overlayfs lists the whiteouts of a directory that is not
// merged, unless it is told that there are some.
func TestBareWhiteout(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		above, below, err := bareWhiteout(t.Context(), l.FileSystem, l.shelf)
		if err != nil {
			t.Fatal(err)
		}
		if listed, err := os.ReadDir(overlayOf(t, []string{below, above}) + "/d"); err != nil || len(listed) > 0 {
			t.Errorf("listed: %v, %v", listed, err)
		}
		if listed, err := os.ReadDir(above + "/d"); err != nil || len(listed) != 1 {
			t.Errorf("not in the diff: %v, %v", listed, err)
		}
	})
}
