package sametree_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/sametree"
)

var epoch = time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)

// plant makes a tree with one file of each kind.
func plant(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, err := range []error{
		os.Mkdir(at("dir"), 0o750),
		os.WriteFile(at("dir/file"), []byte("content\n"), 0o644),
		os.WriteFile(at("other"), []byte("content\n"), 0o644),
		os.WriteFile(at("new\nline\t"), nil, 0o600),
		os.Link(at("dir/file"), at("linked")),
		os.Symlink("dir/file", at("link")),
		unix.Mkfifo(at("fifo"), 0o600),
		unix.Mknod(at("device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
		unix.Lsetxattr(at("other"), "user.one", []byte("1\n"), 0),
		unix.Lsetxattr(at("dir"), "trusted.two", []byte("2"), 0),
		os.WriteFile(at("large"), []byte("start"), 0o644),
		os.Truncate(at("large"), 3<<30),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dir/file", "other", "new\nline\t", "link", "fifo", "device", "large", "dir", "."} {
		setTime(t, at(name), epoch)
	}
	return root
}

func setTime(t *testing.T, path string, when time.Time) {
	t.Helper()
	times := []unix.Timespec{unix.NsecToTimespec(when.UnixNano()), unix.NsecToTimespec(when.UnixNano())}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, root string) sametree.Listing {
	t.Helper()
	var b strings.Builder
	if err := sametree.List(&b, root, sametree.Options{}); err != nil {
		t.Fatal(err)
	}
	l, err := sametree.Parse(b.String())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEqualTreesAreTheSame(t *testing.T) {
	one, other := list(t, plant(t)), list(t, plant(t))
	if report := sametree.Report(sametree.Diff(one, other)); report != "" {
		t.Error(report)
	}
	want := "1 char, 2 dir, 1 fifo, 5 file, 1 symlink, 2 xattrs, 1 link groups"
	if got := one.Counts(); got != want {
		t.Errorf("counts are %s; want %s", got, want)
	}
}

// Each kind of change is seen, at its path and in its attribute.
func TestEveryDifferenceIsSeen(t *testing.T) {
	original := list(t, plant(t))
	for _, c := range []struct {
		path, attribute string
		change          func(root string) error
	}{
		{"/dir", "mode", func(r string) error { return os.Chmod(r+"/dir", 0o755) }},
		{"/link", "owner", func(r string) error { return os.Lchown(r+"/link", 1, 0) }},
		{"/link", "target", func(r string) error {
			return replace(r+"/link", func(p string) error { return os.Symlink("dir/gone", p) })
		}},
		{"/other", "mtime", func(r string) error { return os.Chtimes(r+"/other", epoch, epoch.Add(1)) }},
		{"/other", "content", func(r string) error { return write(r+"/other", 0, "Content\n") }},
		{"/large", "content", func(r string) error { return write(r+"/large", 2<<30, "x") }},
		{"/large", "size", func(r string) error { return os.Truncate(r+"/large", 3<<30-1) }},
		{"/other", `xattr "user.one"`, func(r string) error { return unix.Setxattr(r+"/other", "user.one", nil, 0) }},
		{"/other", `xattr "user.new"`, func(r string) error { return unix.Setxattr(r+"/other", "user.new", nil, 0) }},
		{"/dir", `xattr "trusted.two"`, func(r string) error { return unix.Removexattr(r+"/dir", "trusted.two") }},
		{"/dir/file", "links", func(r string) error { return os.Rename(r+"/linked", r+"/renamed") }},
		{"/dir/file", "links", func(r string) error {
			return replace(r+"/linked", func(p string) error { return os.WriteFile(p, []byte("content\n"), 0o644) })
		}},
		{"/device", "device", func(r string) error {
			return replace(r+"/device", func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) })
		}},
		{"/device", "type", func(r string) error {
			return replace(r+"/device", func(p string) error { return unix.Mknod(p, unix.S_IFBLK|0o600, int(unix.Mkdev(1, 3))) })
		}},
		{"/new\nline\t", "only in the first", func(r string) error { return os.Remove(r + "/new\nline\t") }},
		{"/added", "only in the second", func(r string) error { return os.Mkdir(r+"/added", 0o755) }},
	} {
		root := plant(t)
		if err := c.change(root); err != nil {
			t.Fatal(err)
		}
		if !seen(sametree.Diff(original, list(t, root)), c.path, c.attribute) {
			t.Errorf("%q: a change of %s is not seen", c.path, c.attribute)
		}
	}
}

func seen(differences []sametree.Difference, path, attribute string) bool {
	for _, d := range differences {
		for _, a := range d.Attributes {
			if d.Path == path && strings.HasPrefix(a, attribute) {
				return true
			}
		}
	}
	return false
}

func replace(path string, make func(string) error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return make(path)
}

func write(path string, off int64, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte(text), off)
	return err
}

// What is mounted below the root is no part of it.
func TestMountPointsAreLeftOut(t *testing.T) {
	root := plant(t)
	if err := unix.Mount("tmpfs", root+"/dir", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(root+"/dir", unix.MNT_DETACH)
	if err := os.WriteFile(root+"/dir/mounted", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l := list(t, root)
	if got := l["/dir"]["type"]; got != "mounted" {
		t.Errorf("the mount point is a %s", got)
	}
	if _, ok := l["/dir/mounted"]; ok {
		t.Error("what is mounted is listed")
	}
}
