package hardlink_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
)

// mirrored returns the node that mirrors a directory, all of it.
func mirrored(t *testing.T, path string) *hardlink.Node {
	t.Helper()
	n := &hardlink.Node{From: path, Dir: &hardlink.Dir{}}
	list, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		child := filepath.Join(path, e.Name())
		switch {
		case e.IsDir():
			n.Dir.Add(e.Name(), mirrored(t, child))
		default:
			n.Dir.Add(e.Name(), &hardlink.Node{From: child, Anew: e.Type()&(os.ModeNamedPipe|os.ModeSocket) != 0})
		}
	}
	return n
}

func stat(t *testing.T, path string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return st
}

// example is a directory with one entry of each type, and odd attributes.
func example(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "from")
	at := func(name string) string { return filepath.Join(path, name) }
	capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	ts := []unix.Timespec{{Sec: 1_000_000_000, Nsec: 1}, {Sec: 1_500_000_000, Nsec: 123}}
	err := errors.Join(
		os.MkdirAll(at("dir/sub"), 0o755),
		os.WriteFile(at("dir/file"), []byte("content"), 0o644),
		os.Truncate(at("dir/file"), 1<<20),
		os.Link(at("dir/file"), at("linked")),
		os.Symlink("nowhere", at("symlink")),
		unix.Mkfifo(at("pipe"), 0o620),
		unix.Mknod(at("device"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 99))),
		os.Lchown(at("dir"), 3, 4), os.Lchown(at("symlink"), 5, 6), os.Chown(at("dir/file"), 7, 8),
		unix.Chmod(at("dir"), 0o3751), unix.Chmod(at("dir/file"), 0o4755),
		unix.Lsetxattr(at("dir"), "user.kept", []byte("k"), 0),
		unix.Lsetxattr(at("dir"), "trusted.overlay.impure", []byte("y"), 0),
		unix.Lsetxattr(at("dir/file"), "security.capability", capability, 0),
	)
	for _, name := range []string{"dir/file", "symlink", "pipe", "device", "dir/sub", "dir"} {
		err = errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, at(name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// compare checks that two directories show the same, inode numbers aside.
func compare(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(from, path)
		a, b := stat(t, path), stat(t, filepath.Join(to, name))
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Rdev != b.Rdev || a.Mtim != b.Mtim {
			t.Errorf("%s: %+v, want %+v", name, b, a)
		}
		for _, key := range []string{"user.kept", "security.capability"} {
			x, y := make([]byte, 64), make([]byte, 64)
			n, errX := unix.Lgetxattr(path, key, x)
			m, errY := unix.Lgetxattr(filepath.Join(to, name), key, y)
			if !errors.Is(errX, errY) || errX == nil && string(x[:n]) != string(y[:m]) {
				t.Errorf("%s: %s: %v, %v", name, key, errX, errY)
			}
		}
		if a.Mode&unix.S_IFMT == unix.S_IFREG {
			x, errX := os.ReadFile(path)
			y, errY := os.ReadFile(filepath.Join(to, name))
			if errX != nil || errY != nil || string(x) != string(y) {
				t.Errorf("%s: content differs (%v, %v)", name, errX, errY)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := unix.Lgetxattr(filepath.Join(to, "dir"), "trusted.overlay.impure", nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("a mark of overlayfs is mirrored: %v", err)
	}
}

func TestMakeLinks(t *testing.T) {
	dir := t.TempDir()
	from, to := example(t, dir), filepath.Join(dir, "to")
	made, err := hardlink.Make(t.Context(), to, mirrored(t, from), hardlink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// The pipe is the one copy.
	if made.Links != 4 || made.Copies != 1 || made.Bytes != 0 {
		t.Errorf("%+v", made)
	}
	compare(t, from, to)
	for name, shared := range map[string]bool{"dir/file": true, "linked": true, "symlink": true, "device": true, "pipe": false, "dir": false} {
		if same := stat(t, filepath.Join(from, name)).Ino == stat(t, filepath.Join(to, name)).Ino; same != shared {
			t.Errorf("%s: same inode is %v", name, same)
		}
	}
	bytes, inodes, err := hardlink.Usage(t.Context(), to)
	if err != nil || inodes != 4 || bytes > 3*4096 { // root, dir, sub, pipe
		t.Errorf("usage %d bytes, %d inodes, %v", bytes, inodes, err)
	}
	// The other names gone, all of it is its own.
	if err := os.RemoveAll(from); err != nil {
		t.Fatal(err)
	}
	if _, inodes, err := hardlink.Usage(t.Context(), to); err != nil || inodes != 7 {
		t.Errorf("usage %d inodes, %v", inodes, err)
	}
	if _, err := hardlink.Make(t.Context(), to, &hardlink.Node{Dir: &hardlink.Dir{}}, hardlink.Options{}); err == nil {
		t.Error("made over what is there")
	}
}

// On another filesystem files are copied, and link groups stay.
func TestMakeCopiesToAnotherFilesystem(t *testing.T) {
	from, mnt := example(t, t.TempDir()), tmpfs(t)
	to := filepath.Join(mnt, "to")
	made, err := hardlink.Make(t.Context(), to, mirrored(t, from), hardlink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if made.Links != 0 || made.Copies != 4 || made.Bytes != 1<<20 {
		t.Errorf("%+v", made)
	}
	// tmpfs takes user attributes since Linux 6.6; compare needs none else.
	compare(t, from, to)
	a, b := stat(t, filepath.Join(to, "dir/file")), stat(t, filepath.Join(to, "linked"))
	if a.Ino != b.Ino || a.Nlink != 2 {
		t.Errorf("the link group is not one: %d, %d, %d links", a.Ino, b.Ino, a.Nlink)
	}
}

func tmpfs(t *testing.T) string {
	t.Helper()
	mnt := t.TempDir()
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mnt, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return mnt
}

// TestMakeBeyondTheLinksOfAnInode: EMLINK, at 65,000 on ext4.
func TestMakeBeyondTheLinksOfAnInode(t *testing.T) {
	dir := ext4(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	links := filepath.Join(dir, "links")
	if err := os.Mkdir(links, 0o755); err != nil {
		t.Fatal(err)
	}
	const most = 65000
	for i := 1; i < most-1; i++ {
		if err := os.Link(file, filepath.Join(links, strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	root := &hardlink.Node{Dir: &hardlink.Dir{}}
	for _, name := range []string{"a", "b", "c"} {
		root.Dir.Add(name, &hardlink.Node{From: file})
	}
	made, err := hardlink.Make(t.Context(), filepath.Join(dir, "to"), root, hardlink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// The last link that there was, a copy, and a link to that.
	if made.Copies != 1 || made.Bytes != int64(len("content")) {
		t.Errorf("%+v", made)
	}
	inodes := map[uint64]int{}
	for _, name := range []string{"a", "b", "c"} {
		path := filepath.Join(dir, "to", name)
		if b, err := os.ReadFile(path); err != nil || string(b) != "content" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		inodes[stat(t, path).Ino]++
	}
	if len(inodes) != 2 {
		t.Errorf("inodes %v", inodes)
	}
}

// ext4 returns a new filesystem, on a loop device.
func ext4(t *testing.T) string {
	t.Helper()
	image, mnt := filepath.Join(t.TempDir(), "image"), t.TempDir()
	run(t, "truncate", "-s", "64M", image)
	run(t, "mkfs.ext4", "-q", "-F", image)
	run(t, "mount", "-o", "loop", image, mnt)
	t.Cleanup(func() { run(t, "umount", mnt) })
	return mnt
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// What fails leaves nothing, and says where it failed.
func TestMakeFails(t *testing.T) {
	dir := t.TempDir()
	missing := &hardlink.Node{Dir: &hardlink.Dir{}}
	missing.Dir.Add("f", &hardlink.Node{From: filepath.Join(dir, "missing")})
	_, err := hardlink.Make(t.Context(), filepath.Join(dir, "to"), missing, hardlink.Options{})
	var link *os.LinkError
	if !errors.Is(err, os.ErrNotExist) || !errors.As(err, &link) || !strings.HasSuffix(link.Old, "missing") {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hardlink.Make(ended, filepath.Join(dir, "to"), missing, hardlink.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestMakeMarks(t *testing.T) {
	dir := t.TempDir()
	root := &hardlink.Node{Dir: &hardlink.Dir{}}
	root.Dir.Add("opaque", &hardlink.Node{Dir: &hardlink.Dir{Opaque: true}})
	root.Dir.Add("gone", hardlink.Whiteout())
	for user, prefix := range map[bool]string{false: "trusted", true: "user"} {
		to := filepath.Join(dir, prefix)
		if _, err := hardlink.Make(t.Context(), to, root, hardlink.Options{UserXattr: user}); err != nil {
			t.Fatal(err)
		}
		value := make([]byte, 8)
		n, err := unix.Lgetxattr(filepath.Join(to, "opaque"), prefix+".overlay.opaque", value)
		if err != nil || string(value[:n]) != "y" {
			t.Errorf("%s: %q, %v", prefix, value[:n], err)
		}
		if n, err := unix.Lgetxattr(to, prefix+".overlay.origin", value); err != nil || n != 0 {
			t.Errorf("%s: directory with a whiteout: %d, %v", prefix, n, err)
		}
		if st := stat(t, filepath.Join(to, "gone")); st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
			t.Errorf("%s: whiteout is %o %d", prefix, st.Mode, st.Rdev)
		}
		if st := stat(t, to); st.Mode != unix.S_IFDIR|0o755 {
			t.Errorf("%s: root is %o", prefix, st.Mode)
		}
	}
}
