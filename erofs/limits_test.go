package erofs_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

func file(size, offset int64) *tree.Inode {
	return &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: size, Data: tree.Extent{Offset: offset}}
}

func under(name string, inode *tree.Inode) *tree.Inode {
	root, dir := tree.NewDir(0o755), tree.NewDir(0o755)
	root.Dir.Add("dir", dir)
	dir.Dir.Add(name, inode)
	return root
}

func withXattrs(attrs map[string]string) *tree.Inode {
	return &tree.Inode{Mode: unix.S_IFREG, Xattrs: attrs}
}

// manyXattrs returns attributes that take size bytes of a record.
func manyXattrs(size int) map[string]string {
	attrs := map[string]string{}
	left := size - 12 // the header
	for i := 0; left > 0; i++ {
		n := min(left, 60_000)
		left -= n
		attrs[fmt.Sprintf("user.%d", i)] = strings.Repeat("v", n-5)
	}
	return attrs
}

// TestRefused has trees that the format cannot hold, and such that make no
// sense. Each must be refused before anything is written, saying where and what.
func TestRefused(t *testing.T) {
	const tib = 1 << 40
	cases := []struct {
		name    string
		root    *tree.Inode
		opts    erofs.Options
		message string
	}{
		{"root is a file", file(0, 0), erofs.Options{}, "root is no directory"},
		{"long name", under(strings.Repeat("n", 256), file(0, 0)), erofs.Options{}, `"/dir": entry with the name "nnn`},
		{"empty name", under("", file(0, 0)), erofs.Options{}, `"/dir": entry with the name ""`},
		{"slash", under("a/b", file(0, 0)), erofs.Options{}, `entry with the name "a/b"`},
		{"dot", under(".", file(0, 0)), erofs.Options{}, `entry with the name ".`},
		{"dots", under("..", file(0, 0)), erofs.Options{}, `entry with the name ".."`},
		{"NUL", under("a\x00", file(0, 0)), erofs.Options{}, `entry with the name "a\x00"`},
		{"no type", under("f", &tree.Inode{Mode: 0o644}), erofs.Options{}, `"/dir/f": mode 0644`},
		{"directory without Dir", under("f", &tree.Inode{Mode: unix.S_IFDIR}), erofs.Options{}, "mode 040000"},
		{"wide mode", under("f", &tree.Inode{Mode: 1<<16 | unix.S_IFREG}), erofs.Options{}, "mode 0300000"},
		{"nanoseconds", under("f", &tree.Inode{Mode: unix.S_IFREG, Mtime: tree.Time{Nsec: 1e9}}), erofs.Options{}, "1000000000 nanoseconds"},
		{"empty link", under("l", &tree.Inode{Mode: unix.S_IFLNK}), erofs.Options{}, `"/dir/l": link to ""`},
		{"long link", under("l", &tree.Inode{Mode: unix.S_IFLNK, Target: strings.Repeat("t", 4096)}), erofs.Options{}, "link to 4096 bytes, more than 4095"},
		{"major", under("c", &tree.Inode{Mode: unix.S_IFCHR, Device: tree.Device{Major: 4096}}), erofs.Options{}, "device number 4096:0"},
		{"minor", under("b", &tree.Inode{Mode: unix.S_IFBLK, Device: tree.Device{Minor: 1 << 20}}), erofs.Options{}, "device number 0:1048576"},
		{"attribute value", under("f", withXattrs(map[string]string{"user.a": strings.Repeat("v", 65536)})), erofs.Options{}, `extended attribute "user.a" of 65536 bytes, more than 65535`},
		{"attribute name", under("f", withXattrs(map[string]string{"user." + strings.Repeat("n", 251): ""})), erofs.Options{}, `extended attribute with the name "user.nnn`},
		{"attribute sum", under("f", withXattrs(manyXattrs(262152))), erofs.Options{}, "extended attributes of 262152 bytes, more than 262148"},
		{"negative size", under("f", file(-1, 0)), erofs.Options{Devices: []int64{4096}}, "size -1"},
		{"no such layer", under("f", file(1, 0)), erofs.Options{}, "data in layer 0 of 0"},
		{"unaligned", under("f", file(1, 512)), erofs.Options{Devices: []int64{4096}}, "1 bytes at 512 of a data file of 4096"},
		{"before the device", under("f", file(1, -4096)), erofs.Options{Devices: []int64{4096}}, "1 bytes at -4096"},
		{"behind the device", under("f", file(1, 4096)), erofs.Options{Devices: []int64{4096}}, "1 bytes at 4096 of a data file of 4096"},
		{"over the end", under("f", file(8193, 4096)), erofs.Options{Devices: []int64{8192}}, "8193 bytes at 4096"},
		{"overflow", under("f", file(1<<63-1, 4096)), erofs.Options{Devices: []int64{8192}}, "9223372036854775807 bytes at 4096"},
		{"negative device", tree.NewDir(0o755), erofs.Options{Devices: []int64{-1}}, "data file 0 of -1 bytes"},
		{"huge device", tree.NewDir(0o755), erofs.Options{Devices: []int64{0, 16 * tib}}, "data file 1 of 17592186044416 bytes, more than 17592186040320"},
		{"devices before the root", tree.NewDir(0o755), erofs.Options{Devices: make([]int64, 16375)}, "root directory behind 16375 devices"},
		{"number of devices", tree.NewDir(0o755), erofs.Options{Devices: make([]int64, 65536)}, "65536 devices, more than 65535"},
		{"huge number", under("f", file(0, 0)), erofs.Options{FirstNID: 1 << 60}, "image of more than 2^32 blocks"},
		{"last number", under("f", file(0, 0)), erofs.Options{FirstNID: (1<<32-1)*128 - 1}, "image of more than 2^32 blocks"},
	}
	for _, c := range cases {
		size, err := erofs.Write(&failing{0}, c.root, c.opts)
		if err == nil || size != 0 || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %d, %v; want %q", c.name, size, err, c.message)
		}
	}
}

// TestAtTheLimits has what the format can just hold.
func TestAtTheLimits(t *testing.T) {
	root := tree.NewDir(0o755)
	root.Xattrs = manyXattrs(20_000)
	root.Dir.Add("value", withXattrs(map[string]string{"user.a": strings.Repeat("v", 65535)}))
	root.Dir.Add("name", withXattrs(map[string]string{"user." + strings.Repeat("n", 250): "x"}))
	root.Dir.Add("sum", withXattrs(manyXattrs(262148)))
	root.Dir.Add("device", &tree.Inode{Mode: unix.S_IFBLK, Device: tree.Device{Major: 4095, Minor: 1<<20 - 1}})
	root.Dir.Add("owner", &tree.Inode{Mode: unix.S_IFIFO, UID: 1<<32 - 2, GID: 1<<32 - 2})
	big := tree.NewDir(0o755)
	big.Xattrs = manyXattrs(4095 - 64)
	root.Dir.Add("dir", big)
	im := makeImage(t, root, 0, 0)
	compareMounted(t, mount(t, im), root, 0)
}

// TestLongestTable has as many devices as there may be before the root
// directory, all but the last without a block. fsck.erofs 1.5 is not asked: it
// crashes on so many.
func TestLongestTable(t *testing.T) {
	const devices = 16374
	root := under("f", file(10, 0))
	root.Dir.Lookup("dir").Dir.Lookup("f").Data.Layer = devices - 1
	opts := erofs.Options{Devices: make([]int64, devices)}
	opts.Devices[devices-1] = tree.BlockSize

	dir := t.TempDir()
	im := image{path: filepath.Join(dir, "image")}
	writeImage(t, im.path, root, opts)
	empty, last := filepath.Join(dir, "empty"), filepath.Join(dir, "last")
	writeData(t, empty, 0, 0)
	writeData(t, last, devices-1, tree.BlockSize)
	for range devices - 1 {
		im.devices = append(im.devices, empty)
	}
	im.devices = append(im.devices, last)
	compareMounted(t, mount(t, im), root, devices)
}

// TestHugeFiles reads files of more than 4 GiB at both ends, up to the end of
// the largest device.
func TestHugeFiles(t *testing.T) {
	const gib, tib = 1 << 30, 1 << 40
	const end = 16*tib - 4096 // 2^32-1 blocks; also ext4's largest file
	root := tree.NewDir(0o755)
	root.Dir.Add("5 GiB", file(5*gib+1, 4096))
	root.Dir.Add("8 TiB", file(8*tib, 4096))
	root.Dir.Add("9 TiB", file(9*tib+4097, 8*gib))
	root.Dir.Add("whole device", file(end, 0))
	root.Dir.Add("last block", file(3, end-4096))

	im := image{path: filepath.Join(t.TempDir(), "image")}
	im.devices = []string{filepath.Join(t.TempDir(), "data")}
	data, err := os.Create(im.devices[0])
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	if err := data.Truncate(end); err != nil {
		t.Fatal(err)
	}
	type mark struct {
		name string
		at   int64 // bytes from the start of the file
	}
	var marks []mark
	for _, e := range root.Dir.Entries() {
		size := e.Inode.Size
		for _, at := range []int64{0, size / 2, 8*tib - 1, 8 * tib, size - 1} {
			if at < size {
				marks = append(marks, mark{e.Name, at})
				off := e.Inode.Data.Offset + at
				if _, err := data.WriteAt(patternByte(off), off); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	writeImage(t, im.path, root, erofs.Options{Devices: []int64{end}})
	mnt := mount(t, im)
	for _, m := range marks {
		f, err := os.Open(filepath.Join(mnt, m.name))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1)
		want := patternByte(root.Dir.Lookup(m.name).Data.Offset + m.at)
		if _, err := f.ReadAt(got, m.at); err != nil || got[0] != want[0] {
			t.Errorf("%s at %d: %x, want %x, %v", m.name, m.at, got, want, err)
		}
		if n, err := f.ReadAt(got, root.Dir.Lookup(m.name).Size); n != 0 || err != io.EOF {
			t.Errorf("%s: read %d bytes at the end, %v", m.name, n, err)
		}
		f.Close()
	}
}

func patternByte(off int64) []byte {
	b := make([]byte, 1)
	_, _ = treetest.Pattern(9).ReadAt(b, off)
	return b
}
