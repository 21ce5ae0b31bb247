package tree_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// withDir is a difference that has a directory d with those attributes.
func withDir(mode uint32, xattrs map[string]string) *tree.Inode {
	root, d := tree.NewDir(0o755), tree.NewDir(mode)
	d.Xattrs = xattrs
	root.Dir.Add("d", d)
	return root
}

func TestStackAddsUpAttributes(t *testing.T) {
	a := withDir(0o755, map[string]string{"user.a": "1", "user.both": "1", tree.OriginXattr: ""})
	b := withDir(0o700, map[string]string{"user.both": "2"})
	gone := tree.NewDir(0o755)
	gone.Dir.Add("d", tree.NewWhiteout())
	for name, test := range map[string]struct {
		diffs []*tree.Inode
		want  map[string]string
	}{
		"both":            {[]*tree.Inode{a, b}, map[string]string{"user.a": "1", "user.both": "2"}},
		"both, reversed":  {[]*tree.Inode{b, a}, map[string]string{"user.a": "1", "user.both": "1"}},
		"removed between": {[]*tree.Inode{a, gone, b}, map[string]string{"user.both": "2"}},
	} {
		d := tree.Stack(test.diffs...).Dir.Lookup("d")
		if last := test.diffs[len(test.diffs)-1].Dir.Lookup("d"); !maps.Equal(d.Xattrs, test.want) || d.Mode != last.Mode {
			t.Errorf("%s: %o %q", name, d.Mode, d.Xattrs)
		}
		if wasGone := slices.Contains(test.diffs, gone); d.Dir.Opaque != wasGone {
			t.Errorf("%s: opaque %v", name, d.Dir.Opaque)
		}
	}
	if len(b.Dir.Lookup("d").Xattrs) != 1 || len(a.Dir.Lookup("d").Xattrs) != 3 {
		t.Error("a difference was changed")
	}
}

// What an upper mode makes of a lower access list is what chmod makes of it.
func TestStackMasksAccessLists(t *testing.T) {
	const name = "system.posix_acl_access"
	short := "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00\x07\x00\x00\x00" +
		"\x04\x00\x05\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff"
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []uint32{0o755, 0o710, 0o3077, 0o601} {
		if err := unix.Setxattr(dir, name, []byte(short), 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 100)
		n, err := unix.Getxattr(dir, name, want)
		if err != nil {
			t.Fatal(err)
		}
		d := tree.Stack(withDir(0o777, map[string]string{name: short}), withDir(mode, nil)).Dir.Lookup("d")
		if got := d.Xattrs[name]; got != string(want[:n]) {
			t.Errorf("%o: %q, want %q", mode, got, want[:n])
		}
	}
}

func TestNoteAttributed(t *testing.T) {
	root := tree.NewDir(0o755)
	var want []string
	for _, path := range []string{"b", "a"} {
		d, sub := tree.NewDir(0o755), tree.NewDir(0o755)
		d.Xattrs = map[string]string{tree.OriginXattr: ""}
		sub.Xattrs = map[string]string{"user.x": "1"}
		d.Dir.Add("sub", sub)
		root.Dir.Add(path, d)
		want = append(want, path+"/sub")
	}
	slices.Sort(want)
	tree.NoteAttributed(root)
	if got := tree.ParseAttributed(root.Xattrs[tree.AttributedXattr]); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	none := tree.NewDir(0o755)
	tree.NoteAttributed(none)
	if value, ok := none.Xattrs[tree.AttributedXattr]; !ok || tree.ParseAttributed(value) != nil {
		t.Errorf("%q, %v", value, ok)
	}
}
