package erofs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

// TestRandomTrees mounts images of random trees and compares what the kernel
// shows with them.
func TestRandomTrees(t *testing.T) {
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 2))
		root := treetest.Random(r, treetest.Shape{
			Inodes: r.IntN(1 << (2 + r.IntN(11))), Layer: true, OddNames: true, LongLinks: true,
			MaxXattr: []int{0, 100, 4000, 65535}[r.IntN(4)],
		})
		root.Dir.Opaque = r.IntN(2) == 0
		firstNID := uint64(r.IntN(3)) << 20
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			im := makeImage(t, root, 1, firstNID)
			compareMounted(t, mount(t, im), root, 1)
		})
	}
}

// TestUnderOverlayfs stacks images of layers with overlayfs: whiteouts and
// opaque directories in them must work, and all must be as Merge says.
func TestUnderOverlayfs(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 4))
			var layers []*tree.Inode
			var lower []string
			for n := range 4 {
				layer := treetest.Random(r, treetest.Shape{Inodes: 300, Layer: true, Collide: true, MaxXattr: 50})
				layers = append(layers, layer)
				im := makeImage(t, layer, 1, uint64(n)<<20)
				lower = append([]string{mount(t, im)}, lower...)
			}
			mnt := t.TempDir()
			options := "index=off,redirect_dir=off,lowerdir=" + strings.Join(lower, ":")
			if err := unix.Mount("overlay", mnt, "overlay", unix.MS_RDONLY, options); err != nil {
				t.Fatal(err)
			}
			unmountAtEnd(t, mnt)
			data := make([]io.ReaderAt, len(layers)) // each is layer 0 of its own image
			for n := range data {
				data[n] = treetest.Pattern(0)
			}
			compareWith(t, mnt, tree.Merge(layers...), data)
		})
	}
}

// TestMergedLayers mounts merged trees over many devices, of which the table
// ends in a later block.
func TestMergedLayers(t *testing.T) {
	for _, n := range []int{2, 22, 23, 24, 60, 200} {
		t.Run(fmt.Sprint(n, " layers"), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(n), 3))
			layers := make([]*tree.Inode, n)
			for i := range layers {
				layers[i] = treetest.Random(r, treetest.Shape{Inodes: 40, Layer: true, Collide: true, MaxXattr: 50})
			}
			root := tree.Merge(layers...)
			// Every layer has a file that only it can have the bytes of.
			for i := range layers {
				file := &tree.Inode{Mode: unix.S_IFREG | 0o600, Size: 10}
				file.Data = tree.Extent{Layer: i, Offset: treetest.DataSize(root, i)}
				root.Dir.Add(fmt.Sprint("only in ", i), file)
			}
			im := makeImage(t, root, n, 0)
			compareMounted(t, mount(t, im), root, n)
		})
	}
}

// TestMount2 mounts 60 devices with mount(2), whose options are one page.
func TestMount2(t *testing.T) {
	root := tree.NewDir(0o755)
	for i := range 60 {
		root.Dir.Add(fmt.Sprint(i), &tree.Inode{
			Mode: unix.S_IFREG | 0o644, Size: 9000, Data: tree.Extent{Layer: i, Offset: 4096},
		})
	}
	im := makeImage(t, root, 60, 0)
	t.Chdir(filepath.Dir(im.path))
	var options []string
	for n := range im.devices {
		options = append(options, fmt.Sprintf("device=%d", n))
	}
	mnt := t.TempDir()
	if err := unix.Mount("image", mnt, "erofs", unix.MS_RDONLY, strings.Join(options, ",")); err != nil {
		t.Fatal(err)
	}
	unmountAtEnd(t, mnt)
	compareMounted(t, mnt, root, 60)
}

// TestBigDirectories has directories of many blocks: below the root and the
// root itself, with names of every length.
func TestBigDirectories(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	root, big := tree.NewDir(0o755), tree.NewDir(0o755)
	empty := func() *tree.Inode { return &tree.Inode{Mode: unix.S_IFREG | 0o600} }
	for i := range 100_000 {
		big.Dir.Add(fmt.Sprintf("file %d", i), empty())
	}
	for i := range 3000 {
		root.Dir.Add(fmt.Sprint(i, strings.Repeat("n", i%252)), empty())
	}
	root.Dir.Add("big", big)
	im := makeImage(t, root, 0, 0)
	compareMounted(t, mount(t, im), root, 0)
}

// TestDirectorySizes goes through the sizes at which a directory's entries
// move from the record into a block and into the next.
func TestDirectorySizes(t *testing.T) {
	root := tree.NewDir(0o755)
	for size := 3900; size < 4300; size++ {
		d := tree.NewDir(0o755)
		for left := size - 27; left > 0; { // "." and ".." take 27 bytes
			n := min(left, 200)
			if rest := left - n; rest > 0 && rest < 20 {
				n -= 20
			}
			left -= n
			name := strings.Repeat("x", max(n-12-4, 1))
			d.Dir.Add(fmt.Sprintf("%s%04d", name, left), &tree.Inode{Mode: unix.S_IFIFO})
		}
		root.Dir.Add(fmt.Sprint(size), d)
	}
	im := makeImage(t, root, 0, 0)
	compareMounted(t, mount(t, im), root, 0)
}

// TestLinkSizes does the same for symbolic links, with and without attributes.
func TestLinkSizes(t *testing.T) {
	root := tree.NewDir(0o755)
	for _, value := range []int{-1, 0, 100, 3900, 9000} {
		for size := 1; size <= 4095; size += 1 + size/1000*10 {
			link := &tree.Inode{Mode: unix.S_IFLNK | 0o777, Target: strings.Repeat("t", size)}
			if value >= 0 {
				link.Xattrs = map[string]string{"trusted.a": strings.Repeat("v", value)}
			}
			root.Dir.Add(fmt.Sprint(value, " ", size), link)
		}
	}
	im := makeImage(t, root, 0, 0)
	compareMounted(t, mount(t, im), root, 0)
}

// TestEnds has last records that end at all distances from the image's end.
func TestEnds(t *testing.T) {
	for n := range 160 {
		root := tree.NewDir(0o755)
		for i := range n {
			root.Dir.Add(fmt.Sprint(i), &tree.Inode{Mode: unix.S_IFIFO, UID: uint32(i)})
		}
		makeImage(t, root, 0, 0)
	}
}

func TestEmptyTree(t *testing.T) {
	for _, firstNID := range []uint64{0, 5 << 20} {
		im := makeImage(t, tree.NewDir(0o1777), 0, firstNID)
		if im.size != tree.BlockSize {
			t.Errorf("%d bytes", im.size)
		}
		compareMounted(t, mount(t, im), tree.NewDir(0o1777), 0)
	}
}

// TestTimes has times that ext4 cannot store, so that no oracle is at hand.
func TestTimes(t *testing.T) {
	root := tree.NewDir(0o755)
	for _, sec := range []int64{0, -1, -1 << 31, 1<<31 - 1, 1 << 31, 1 << 40, -1 << 40} {
		for _, nsec := range []uint32{0, 1, 999_999_999} {
			root.Dir.Add(fmt.Sprint(sec, " ", nsec), &tree.Inode{
				Mode: unix.S_IFREG | 0o644, Mtime: tree.Time{Sec: sec, Nsec: nsec},
			})
		}
	}
	im := makeImage(t, root, 0, 0)
	compareMounted(t, mount(t, im), root, 0)
}

// TestForeignXattrs has names that Linux file systems do not store.
func TestForeignXattrs(t *testing.T) {
	root := tree.NewDir(0o755)
	root.Xattrs = map[string]string{
		"com.apple.provenance": "x", "user.": "x", "system.nfs4_acl": "x", "system.posix_acl_accessx": "x", "": "x",
	}
	im := makeImage(t, root, 0, 0)
	root.Xattrs = nil
	mnt := mount(t, im)
	compareMounted(t, mnt, root, 0)
}

// TestDisjointNumbers mounts layers with ranges of inode numbers of their own.
func TestDisjointNumbers(t *testing.T) {
	owner := map[uint64]uint64{}
	for layer := range uint64(3) {
		first := layer << 20
		root := treetest.Random(rand.New(rand.NewPCG(layer, 5)), treetest.Shape{Inodes: 2000, MaxXattr: 100})
		im := makeImage(t, root, 1, first)
		mnt := mount(t, im)
		seen := map[*tree.Inode]bool{}
		err := tree.Walk(root, func(path string, inode *tree.Inode) error {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(mnt, path), &st); err != nil || path == "" || seen[inode] {
				return err
			}
			seen[inode] = true
			if other, ok := owner[st.Ino]; ok {
				t.Errorf("inode %d of layer %d is in layer %d, too", st.Ino, layer, other)
			}
			owner[st.Ino] = layer
			if st.Ino < first || st.Ino >= uint64(im.size)/32 {
				t.Errorf("inode %d is not from %d on, or behind the end", st.Ino, first)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(im.path, &st); err != nil || st.Blocks*512 > 2<<20 {
			t.Errorf("image takes %d bytes on disk, %v", st.Blocks*512, err)
		}
	}
}

// TestDirectoryLinks looks at what Diff leaves out.
func TestDirectoryLinks(t *testing.T) {
	root, dir := tree.NewDir(0o755), tree.NewDir(0o755)
	root.Dir.Add("file", file(0, 0))
	root.Dir.Add("dir", dir)
	dir.Dir.Add("a", tree.NewDir(0o755))
	dir.Dir.Add("b", tree.NewDir(0o755))
	mnt := mount(t, makeImage(t, root, 0, 0))
	for path, want := range map[string]uint64{"": 3, "dir": 4, "dir/a": 2, "dir/b/../..": 3} {
		var st unix.Stat_t
		if err := unix.Stat(mnt+"/"+path, &st); err != nil || st.Nlink != want {
			t.Errorf("%q has %d links, want %d, %v", path, st.Nlink, want, err)
		}
	}
}

// TestLargestNumbers has an image that ends near 16 TiB, nearly all a hole.
func TestLargestNumbers(t *testing.T) {
	root := treetest.Random(rand.New(rand.NewPCG(1, 7)), treetest.Shape{Inodes: 500, MaxXattr: 100})
	im := makeImage(t, root, 1, 1<<39-1<<20)
	compareMounted(t, mount(t, im), root, 1)
}

func TestReproducible(t *testing.T) {
	write := func(backwards bool) []byte {
		root := treetest.Random(rand.New(rand.NewPCG(1, 6)), treetest.Shape{Inodes: 3000, OddNames: true, MaxXattr: 500})
		entries := root.Dir.Entries()
		for i := range entries { // other orders of the same additions
			if backwards {
				i = len(entries) - 1 - i
			}
			root.Dir.Remove(entries[i].Name)
			root.Dir.Add(entries[i].Name, entries[i].Inode)
		}
		path := filepath.Join(t.TempDir(), "image")
		writeImage(t, path, root, erofs.Options{Devices: []int64{treetest.DataSize(root, 0)}})
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(write(false), write(true)) {
		t.Error("equal trees, unequal images")
	}
}

// failing fails from the n-th write on.
type failing struct{ n int }

var errFull = errors.New("full")

func (f *failing) WriteAt(p []byte, _ int64) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	root := treetest.Random(rand.New(rand.NewPCG(1, 6)), treetest.Shape{Inodes: 9000, OddNames: true})
	devices := []int64{treetest.DataSize(root, 0)}
	for n := 0; ; n++ {
		_, err := erofs.Write(&failing{n}, root, erofs.Options{Devices: devices})
		if err == nil {
			if n < 4 {
				t.Errorf("only %d writes", n)
			}
			return
		}
		if !errors.Is(err, errFull) {
			t.Fatal(err)
		}
	}
}
