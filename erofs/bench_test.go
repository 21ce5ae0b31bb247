package erofs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

// imageTree is like the tree of a large image: 40 000 inodes, nine of ten of
// them files, in directories of nine files each.
func imageTree() *tree.Inode {
	root := tree.NewDir(0o755)
	var offset int64
	for i := range 4000 {
		parent := root
		if i >= 20 {
			parent = root.Dir.Lookup(fmt.Sprint("directory", i%20))
		}
		dir := tree.NewDir(0o755)
		parent.Dir.Add(fmt.Sprint("directory", i), dir)
		for j := range 9 {
			f := file(int64(i*j%100_000), offset)
			f.Mtime = tree.Time{Sec: int64(1_700_000_000 + i)}
			if j == 8 {
				f = &tree.Inode{Mode: unix.S_IFLNK | 0o777, Target: "../some/file.so.1"}
			}
			offset += (f.Size + tree.BlockSize - 1) &^ (tree.BlockSize - 1)
			dir.Dir.Add(fmt.Sprintf("some_module_name_%d.py", j), f)
		}
	}
	return root
}

func BenchmarkWrite(b *testing.B) {
	root := imageTree()
	opts := erofs.Options{Devices: []int64{treetest.DataSize(root, 0)}}
	f, err := os.Create(filepath.Join(b.TempDir(), "image"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.ReportAllocs()
	var size int64
	for b.Loop() {
		if err := f.Truncate(0); err != nil {
			b.Fatal(err)
		}
		if size, err = erofs.Write(f, root, opts); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/40_000, "ns/inode")
	b.ReportMetric(float64(size)/40_000, "B/inode")
}
