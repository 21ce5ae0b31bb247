package erofs_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/tree"
)

// TestUUID: equal images have equal UUIDs, and others have others, also those of
// empty trees, of which only Options.FirstNID tells what they are for.
func TestUUID(t *testing.T) {
	one, other := tree.NewDir(0o755), tree.NewDir(0o755)
	one.Dir.Add("f", &tree.Inode{Mode: unix.S_IFREG | 0o644})
	other.Dir.Add("f", &tree.Inode{Mode: unix.S_IFREG | 0o644, Mtime: tree.Time{Sec: 1}})
	seen := map[[16]byte]string{}
	for _, test := range []struct {
		name     string
		root     *tree.Inode
		firstNID uint64
		devices  []int64
	}{
		{"one", one, 0, nil},
		{"other", other, 0, nil},
		{"one with a device", one, 0, []int64{4096}},
		{"one, numbered otherwise", one, 1 << 31, nil},
		{"empty", tree.NewDir(0o755), 0, nil},
		{"empty, numbered otherwise", tree.NewDir(0o755), 1 << 31, nil},
		{"another root", tree.NewDir(0o700), 0, nil},
	} {
		opts := erofs.Options{FirstNID: test.firstNID, Devices: test.devices}
		id := uuidOf(t, test.root, opts)
		if id == ([16]byte{}) {
			t.Errorf("%s: no UUID", test.name)
		}
		if id[6]>>4 != 8 || id[8]>>6 != 2 {
			t.Errorf("%s: %x is not of version 8", test.name, id)
		}
		if again := uuidOf(t, test.root, opts); again != id {
			t.Errorf("%s: %x, and again %x", test.name, id, again)
		}
		if same, ok := seen[id]; ok {
			t.Errorf("%s and %s: %x", test.name, same, id)
		}
		seen[id] = test.name
	}
}

// uuidOf returns what is at the place of the UUID (Linux fs/erofs/erofs_fs.h,
// struct erofs_super_block).
func uuidOf(t *testing.T, root *tree.Inode, opts erofs.Options) (id [16]byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	writeImage(t, path, root, opts)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(id[:], 1024+48); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestNumbers: an image has no inode number above those that it said it would
// use, wherever they begin.
func TestNumbers(t *testing.T) {
	for _, inodes := range []int{0, 1, 40, 5000} {
		root := tree.NewDir(0o755)
		for i := range inodes {
			root.Dir.Add(string(rune('a'+i%26))+string(rune('0'+i/26)), &tree.Inode{
				Mode: unix.S_IFLNK | 0o777, Target: "target",
			})
		}
		for _, firstNID := range []uint64{1 << 20, 1<<31 + 128*77} {
			im, err := erofs.Plan(root, nil)
			if err != nil {
				t.Fatal(err)
			}
			numbers := im.Numbers()
			size, err := im.Write(discard{}, firstNID)
			if err != nil {
				t.Fatal(err)
			}
			if end := max(uint64(size)/32, firstNID); end != firstNID+numbers {
				t.Errorf("%d inodes from %d on: %d numbers, but the image ends at %d", inodes, firstNID, numbers, end)
			}
		}
	}
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
