package merge_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/merge"
)

// The tests of this file are the traps of overlay stacks as merge views: what
// is right for a layer in its place is wrong over something else.

func TestOpaqueOnNewDirectory(t *testing.T) {
	own := layer(t, "d opaque", "d/f new")
	dir, diff := scan(t, own)
	if diff.AsIs || diff.Whiteouts {
		t.Errorf("as it is %v, whiteouts %v", diff.AsIs, diff.Whiteouts)
	}
	equal(t, "clean diff", read(t, dir), "d/f file")
	equal(t, "over another", shows(t, dir, layer(t, "d/other o")), "d dir 755", "d/f new", "d/other o")
}

func TestOpaqueOverDirectory(t *testing.T) {
	lower := layer(t, "d/gone g", "d/same s", "d/sub/x x", "d/f old content")
	own := layer(t, "d opaque", "d/f new", "d/same s", "d/stale whiteout")
	dir, _ := scan(t, own, lower)
	equal(t, "clean diff", read(t, dir), "d/f file", "d/gone whiteout", "d/sub whiteout")
	equal(t, "over another", shows(t, dir, layer(t, "d/gone 1", "d/other o", "d/same s")),
		"d dir 755", "d/f new", "d/other o", "d/same s")
}

func TestUnmodifiedCopyUp(t *testing.T) {
	lower := layer(t, "d/f f", "e/g g")
	own := layer(t, "d/f f", "e dir", "new n")
	dir, _ := scan(t, own, lower)
	equal(t, "clean diff", read(t, dir), "new file")
	other := layer(t, "d/f of the other")
	if err := os.Chmod(filepath.Join(other, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	equal(t, "over another", shows(t, dir, other), "d dir 700", "d/f of the other", "new n")
}

func TestUnmodifiedWithTruncatedTimes(t *testing.T) {
	lower, own := layer(t, "same s", "other 1", "link -> a", "turned -> a"), layer(t, "same s", "other 2", "link -> a", "turned -> b")
	for _, dir := range []string{lower, own} {
		setTimes(t, dir, unix.Timespec{Sec: stamp.Sec})
	}
	dir, _ := scan(t, own, lower)
	equal(t, "clean diff", read(t, dir), "other file", "turned file")
}

func TestChangedOwnerIsAChange(t *testing.T) {
	lower, own := layer(t, "f f", "d dir"), layer(t, "f f", "d dir")
	for _, name := range []string{"f", "d"} {
		if err := os.Chown(filepath.Join(own, name), 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	if dir, diff := scan(t, own, lower); !diff.AsIs {
		t.Errorf("%q is not stacked as it is", read(t, dir))
	}
}

func TestWhiteouts(t *testing.T) {
	lower := layer(t, "d/f f", "gone g")
	own := layer(t, "d/f whiteout", "gone whiteout")
	if dir, diff := scan(t, own, lower); !diff.AsIs || !diff.Whiteouts {
		t.Errorf("%q: as it is %v, whiteouts %v", read(t, dir), diff.AsIs, diff.Whiteouts)
	}
}

func TestStaleWhiteouts(t *testing.T) {
	own := layer(t, "stale whiteout", "d/stale whiteout", "d/f f", "alone/stale whiteout")
	dir, diff := scan(t, own, layer(t, "d/x x", "alone dir"))
	if diff.Whiteouts {
		t.Error("a stale whiteout is kept")
	}
	equal(t, "clean diff", read(t, dir), "d/f file")
	equal(t, "over another", shows(t, dir, layer(t, "stale s", "d/stale s")), "d dir 755", "d/f f", "d/stale s", "stale s")
}

func TestXattrWhiteouts(t *testing.T) {
	own := layer(t, "d xwhiteouts", "d/gone mark", "d/f f")
	dir, _ := scan(t, own, layer(t, "d/gone g"))
	equal(t, "clean diff", read(t, dir), "d/f file", "d/gone whiteout")
}

func TestFileBecomesDirectory(t *testing.T) {
	lower := layer(t, "x file", "y/f f")
	own := layer(t, "x opaque", "x/a a", "y file now")
	dir, _ := scan(t, own, lower)
	equal(t, "clean diff", read(t, dir), "x/a file", "y file")
	equal(t, "over its own lower", shows(t, dir, lower), "x dir 755", "x/a a", "y file now")
	equal(t, "over another", shows(t, dir, layer(t, "x/b b")), "x dir 755", "x/a a", "x/b b", "y file now")
}

func TestDeletesInsideAbsentDirectory(t *testing.T) {
	lower := layer(t, "d/f f", "d/g g")
	own := layer(t, "d/f whiteout")
	dir, _ := scan(t, own, lower)
	// The directory is there, and the whiteout is not listed in it.
	equal(t, "over nothing", shows(t, dir), "d dir 755")
}

func TestDeletesWithoutOrigin(t *testing.T) {
	own := layer(t, "d dir", "keep k")
	if err := unix.Mknod(filepath.Join(own, "d/f"), unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
	dir, diff := scan(t, own, layer(t, "d/f f"))
	if diff.AsIs {
		t.Error("the kernel would list its whiteouts, and it is stacked as it is")
	}
	equal(t, "over nothing", shows(t, dir), "d dir 755", "keep k")
}

func TestRootIsNoPart(t *testing.T) {
	own := layer(t, "f f")
	if err := os.Chmod(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, diff := scan(t, own); !diff.AsIs {
		t.Error("a root's mode makes a layer unclean")
	}
	empty, diff := scan(t, layer(t), layer(t, "f f"))
	if !diff.Empty() {
		t.Errorf("%q: not empty", read(t, empty))
	}
}

func TestParentMetadata(t *testing.T) {
	lower, own := layer(t, "a/b/f f"), layer(t, "a/b/g g")
	if err := os.Chmod(filepath.Join(own, "a"), 0o711); err != nil {
		t.Fatal(err)
	}
	dir, _ := scan(t, own, lower)
	equal(t, "over another", shows(t, dir, layer(t, "a/z z")), "a dir 711", "a/b dir 755", "a/b/g g", "a/z z")
}

func TestRedirectIsRefused(t *testing.T) {
	own := layer(t, "d/f f")
	if err := mark(filepath.Join(own, "d"), "redirect", "/elsewhere"); err != nil {
		t.Fatal(err)
	}
	if _, err := merge.Scan(t.Context(), own, nil, merge.Options{}); !errors.Is(err, merge.ErrRedirect) {
		t.Errorf("%v", err)
	}
}

func TestMarksAreNotMirrored(t *testing.T) {
	own := layer(t, "d/f f", "stale whiteout")
	for _, name := range []string{"origin", "impure", "uuid", "nlink"} {
		if err := mark(filepath.Join(own, "d"), name, "z"); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Lsetxattr(filepath.Join(own, "d"), "user.kept", []byte("k"), 0); err != nil {
		t.Fatal(err)
	}
	dir, _ := scan(t, own)
	list := make([]byte, 200)
	n, err := unix.Llistxattr(filepath.Join(dir, "d"), list)
	if err != nil || string(list[:n]) != "user.kept\x00" {
		t.Errorf("%q, %v", list[:n], err)
	}
}

func TestHardLinks(t *testing.T) {
	own := layer(t, "a a", "b = a", "pipe fifo", "stale whiteout")
	dir, _ := scan(t, own)
	inode := func(dir, name string) (st unix.Stat_t) {
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	if inode(dir, "a").Ino != inode(own, "a").Ino || inode(dir, "b").Ino != inode(dir, "a").Ino {
		t.Error("files are not links")
	}
	if inode(dir, "pipe").Ino == inode(own, "pipe").Ino || inode(dir, "pipe").Mode != inode(own, "pipe").Mode {
		t.Error("a pipe is shared, or not what it was")
	}
}

func TestDirectoryTimes(t *testing.T) {
	own := layer(t, "d/e/f f", "d/stale whiteout")
	dir, _ := scan(t, own)
	var st unix.Stat_t
	for _, name := range []string{"d", "d/e", "d/e/f"} {
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil || st.Mtim != stamp {
			t.Errorf("%s: %v, %v", name, st.Mtim, err)
		}
	}
}

func TestFileCapabilities(t *testing.T) {
	lower, own := layer(t, "f f", "same s"), layer(t, "f f", "same s")
	value := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Lsetxattr(filepath.Join(own, "f"), "security.capability", value, 0); err != nil {
		t.Fatal(err)
	}
	dir, _ := scan(t, own, lower)
	equal(t, "clean diff", read(t, dir), "f file")
	got := make([]byte, 64)
	if n, err := unix.Lgetxattr(filepath.Join(dir, "f"), "security.capability", got); err != nil || string(got[:n]) != string(value) {
		t.Errorf("%x, %v", got[:n], err)
	}
}

func TestLowerOfSeveralLayers(t *testing.T) {
	bottom := layer(t, "a/1 x", "a/2 x", "b/1 x", "c file")
	middle := layer(t, "a/2 whiteout", "b opaque", "b/2 x", "c opaque", "c/1 x")
	own := layer(t, "a/1 whiteout", "a/2 whiteout", "b/1 whiteout", "b/2 whiteout", "c/1 x", "c/2 new")
	dir, _ := scan(t, own, middle, bottom)
	equal(t, "clean diff", read(t, dir), "a/1 whiteout", "b/2 whiteout", "c/2 file")
}

func TestCompare(t *testing.T) {
	bottom := layer(t, "a/same s", "a/1 x", "b/f f", "t t")
	left := []string{layer(t, "a/2 left"), bottom}
	right := []string{layer(t, "a/1 whiteout", "a/3 right", "t opaque", "t/u u"), bottom}
	for _, test := range []struct {
		name         string
		lower, upper []string
		want         lines
	}{
		{"left to right", left, right, lines{"a/1 whiteout", "a/2 whiteout", "a/3 file", "t/u file"}},
		{"nothing to left", nil, left, lines{"a/1 file", "a/2 file", "a/same file", "b/f file", "t file"}},
		{"left to nothing", left, nil, lines{"a whiteout", "b whiteout", "t whiteout"}},
		{"left to left", left, left, nil},
	} {
		diff, err := merge.Compare(t.Context(), test.lower, test.upper, merge.Options{})
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "diff")
		if _, err := diff.Make(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		equal(t, test.name, read(t, dir), test.want...)
	}
}

func TestSquash(t *testing.T) {
	bottom := layer(t, "a/1 1", "b/1 1", "c file", "e/1 1")
	middle := layer(t, "a/2 2", "b whiteout", "c whiteout", "d whiteout")
	top := layer(t, "b/3 3", "c/3 3", "e/1 whiteout")
	diff, err := merge.Squash(t.Context(), []string{top, middle, bottom}, merge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "squashed")
	if _, err := diff.Make(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	equal(t, "squashed", read(t, dir), "a/1 file", "a/2 file", "b opaque", "b/3 file", "c opaque", "c/3 file", "d whiteout", "e/1 whiteout")
	base := layer(t, "b/0 0", "c/0 0", "d 0", "e/0 0", "e/1 0", "a/0 0")
	equal(t, "over another", shows(t, dir, base), shows(t, top, middle, bottom, base)...)
}
