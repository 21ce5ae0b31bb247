package merge_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/merge"
)

// attribute gives a path of a layer an extended attribute.
func attribute(t *testing.T, dir, path, name, value string) {
	t.Helper()
	if err := unix.Lsetxattr(filepath.Join(dir, path), name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// attributed returns a layer with extended attributes on its directories, each written
// "PATH NAME VALUE".
func attributed(t *testing.T, entries, attributes []string) string {
	t.Helper()
	dir := layer(t, entries...)
	for _, a := range attributes {
		f := strings.Fields(a)
		attribute(t, dir, f[0], f[1], f[2])
	}
	return dir
}

// accumulate returns the attributes of directories that a stack, the lowest
// first, needs on top.
func accumulate(t *testing.T, stack ...string) lines {
	t.Helper()
	var of []merge.Shown
	for _, dir := range stack {
		names, err := merge.Attributed(t.Context(), dir, merge.Options{})
		if err != nil {
			t.Fatal(err)
		}
		of = append(of, merge.Shown{Dir: dir, Attributed: names})
	}
	diff, err := merge.Accumulate(t.Context(), of, merge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	top := filepath.Join(t.TempDir(), "top")
	if _, err := diff.Make(t.Context(), top); err != nil {
		t.Fatal(err)
	}
	return directories(t, top)
}

// directories returns a line for each directory below dir: its mode, owner,
// and attributes.
func directories(t *testing.T, dir string) lines {
	t.Helper()
	var found lines
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o %d", strings.TrimPrefix(path, dir+"/"), st.Mode&0o7777, st.Uid)
		names, err := sysx.LListxattr(path)
		slices.Sort(names)
		for _, name := range names {
			value, err := sysx.LGetxattr(path, name)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %s=%s", name, value)
		}
		if st.Mtim != stamp {
			line += fmt.Sprint(" of ", st.Mtim)
		}
		found = append(found, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Directories of several diffs have the attributes of all, and what else there
// is of the topmost.
func TestDirectoryAttributesAccumulate(t *testing.T) {
	bottom := attributed(t, []string{"d/e/f f", "other/x x"}, []string{"d user.a 1", "d user.both 1", "d/e user.deep 1", "other user.alone 1"})
	middle := attributed(t, []string{"d/g g"}, []string{"d user.b 2", "d trusted.c 2"})
	top := attributed(t, []string{"d/e/h h"}, []string{"d user.both 3"})
	if err := os.Chmod(filepath.Join(top, "d"), 0o711); err != nil {
		t.Fatal(err)
	}
	equal(t, "on top", accumulate(t, bottom, middle, top),
		"d 711 0 trusted.c=2 user.a=1 user.b=2 user.both=3", "d/e 755 0 user.deep=1")
	equal(t, "on top of those that have less", accumulate(t, top, middle, bottom),
		"d 755 0 trusted.c=2 user.a=1 user.b=2 user.both=1")
	equal(t, "on top of one", accumulate(t, bottom))
	equal(t, "on top of one twice", accumulate(t, bottom, bottom))
}

// A directory that was removed, or was something else meanwhile, has nothing of
// before.
func TestDirectoryAttributesStartAnew(t *testing.T) {
	bottom := attributed(t, []string{"d/e/f f"}, []string{"d user.a 1", "d/e user.a 1"})
	last, d := layer(t, "d/e/g g"), lines{"d 755 0 user.a=1"}
	for what, between := range map[string]lines{
		"d whiteout": nil, "d file": nil, "d/e whiteout": d, "d/e -> d": d,
	} {
		got := accumulate(t, bottom, layer(t, what), last)
		equal(t, what, got, between...)
	}
}

// A list that is below masks what the upper mode gives to the group.
func TestAccessListsAccumulate(t *testing.T) {
	const name = "system.posix_acl_access"
	list := "\x02\x00\x00\x00" +
		"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\x07\x00\x00\x00" + "\x04\x00\x05\x00\xff\xff\xff\xff" +
		"\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff"
	bottom, top := layer(t, "d dir"), layer(t, "d dir")
	attribute(t, bottom, "d", name, list)
	if err := os.Chmod(filepath.Join(top, "d"), 0o710); err != nil {
		t.Fatal(err)
	}
	masked := strings.NewReplacer("\x10\x00\x07", "\x10\x00\x01", "\x20\x00\x05", "\x20\x00\x00").Replace(list)
	equal(t, "on top", accumulate(t, bottom, top), "d 710 0 "+name+"="+masked)
}

func TestMarksDoNotAccumulate(t *testing.T) {
	bottom := attributed(t, []string{"d/f f"}, []string{
		"d trusted.overlay.origin x", "d trusted.overlay.impure y", "d user.overlay.origin x", "d security.selinux label",
	})
	equal(t, "on top", accumulate(t, bottom, layer(t, "d/g g")))
}

// A clean diff knows the directories with attributes that it keeps.
func TestAttributedOfDiff(t *testing.T) {
	lower := attributed(t, []string{"d/same s", "e/f f"}, []string{"d user.a 1", "e user.a 1"})
	own := attributed(t, []string{"d/same s", "e/g g", "new/x x", "plain/x x"}, []string{"d user.a 1", "e user.a 1", "new user.a 1"})
	for name, lower := range map[string][]string{"scan": {lower}, "scan over nothing": nil} {
		dir, diff := scan(t, own, lower...)
		want, err := merge.Attributed(t.Context(), dir, merge.Options{})
		slices.Sort(diff.Attributed)
		if err != nil || !slices.Equal(diff.Attributed, want) || len(want) < 2 {
			t.Errorf("%s: %q, want %q (%v)", name, diff.Attributed, want, err)
		}
	}
	diff, err := merge.Compare(t.Context(), []string{lower}, []string{own}, merge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(diff.Attributed)
	equal(t, "compare", diff.Attributed, "e", "new")
}
