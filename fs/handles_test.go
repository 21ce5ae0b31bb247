package fs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// TestIdentityAcrossCopyUp: with the option xino, a file has the device and number
// after it was copied up, and forgotten, that it had before; a directory, too. The
// kernel's own choice, which administrators can set, is no if a filesystem has no
// UUID: FUSE has none.
func TestIdentityAcrossCopyUp(t *testing.T) {
	for _, xino := range []string{"on", "auto"} {
		t.Run(xino, func(t *testing.T) {
			onEachDriver(t, func(t *testing.T, l *lab) {
				if xino == "auto" && l.Driver() == "fuse" {
					return
				}
				merged := l.overlayWith(t, "xino="+xino)
				before := identities(t, merged)
				for _, name := range []string{"f", "sub/f"} {
					if err := os.Chmod(filepath.Join(merged, name), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
					t.Fatal(err)
				}
				for name, after := range identities(t, merged) {
					if was := before[name]; after != was || after[0] != before[""][0] {
						t.Errorf("device and number of %q were %d, and are %d", name, was, after)
					}
				}
			})
		})
	}
}

// overlayWith mounts an overlay over two trees, and a directory on the filesystem of
// the upper one, until the test ends.
func (l *lab) overlayWith(t *testing.T, option string) string {
	t.Helper()
	layer := func(name string) store.ID {
		root, sub := tree.NewDir(0o755), tree.NewDir(0o755)
		sub.Dir.Add("of "+name, &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: 10})
		sub.Dir.Add("f", &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: 10})
		root.Dir.Add("sub", sub)
		root.Dir.Add("f", &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: 10})
		return l.add(t, name, root, treetest.Pattern(1))
	}
	lower := l.mountSpec("o", store.Spec{Kind: store.Lowest, Layers: []store.ID{layer("lower")}})
	above := l.mountSpec("o", store.Spec{Layers: []store.ID{layer("upper")}})
	dir := newDisk(t)
	for _, name := range []string{"upper", "work", "merged", "local", "local/sub"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(dir, "merged")
	options := option + ",index=off,lowerdir=" + dir + "/local:" + above + ":" + lower + ",upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	unmountAfter(t, merged)
	return merged
}

// newDisk returns a directory on a filesystem of its own, until the test ends. It has
// a UUID, which that of the machine may lack: overlayfs could not tell it from FUSE.
func newDisk(t *testing.T) string {
	t.Helper()
	image, target := filepath.Join(testDir(t), "image"), testDir(t)
	for _, args := range [][]string{{"mkfs.ext4", "-q", image, "16M"}, {"mount", "-o", "loop", image, target}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	unmountAfter(t, target)
	return target
}

// identities returns device and number of what overlayWith shows.
func identities(t *testing.T, merged string) map[string][2]uint64 {
	t.Helper()
	all := map[string][2]uint64{}
	for _, name := range []string{"", "f", "sub", "sub/f", "sub/of lower", "sub/of upper"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(merged, name), &st); err != nil {
			t.Fatal(err)
		}
		all[name] = [2]uint64{st.Dev, st.Ino}
	}
	return all
}
