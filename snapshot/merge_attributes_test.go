package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/stack"
)

// commitDirs makes a local committed snapshot of directories with extended
// attributes, each written "PATH NAME VALUE"; with no name there are none.
func commitDirs(t *testing.T, s *Snapshotter, name, parent string, dirs ...string) string {
	t.Helper()
	mounts := mustPrepare(t, s, name+"-active", parent)
	withMounted(t, mounts, func(root string) {
		for _, d := range dirs {
			f := strings.Fields(d)
			err := os.MkdirAll(filepath.Join(root, f[0]), 0o755)
			if len(f) > 1 {
				err = errors.Join(err, unix.Setxattr(filepath.Join(root, f[0]), f[1], []byte(f[2]), 0))
			}
			if err = errors.Join(err, os.WriteFile(filepath.Join(root, f[0], name), []byte(name), 0o644)); err != nil {
				t.Error(err)
			}
		}
	})
	if err := s.Commit(t.Context(), name, name+"-active"); err != nil {
		t.Fatal(err)
	}
	return name
}

func wantAttributes(t *testing.T, what string, mounts []mount.Mount, path string, want ...string) {
	t.Helper()
	withMounted(t, mounts, func(root string) {
		list, value := make([]byte, 1000), make([]byte, 100)
		n, err := unix.Listxattr(filepath.Join(root, path), list)
		if err != nil {
			t.Error(err)
			return
		}
		var got []string
		for _, name := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
			n, err := unix.Getxattr(filepath.Join(root, path), name, value)
			if err != nil {
				t.Error(err)
			}
			got = append(got, name+"="+string(value[:n]))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %s has %q, want %q", what, path, got, want)
		}
	})
}

// Directories of several inputs have the attributes of all, whether they are
// local, lazy, or made of links; that costs one lower, of one directory.
func TestMergeAccumulatesAttributes(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	lazy := d.addLayer(t, "lazy", map[string]string{"l": "l"})
	err := errors.Join(os.Mkdir(filepath.Join(d.dir(lazy), "d"), 0o700), unix.Setxattr(filepath.Join(d.dir(lazy), "d"), "user.b", []byte("lazy"), 0))
	if err != nil {
		t.Fatal(err)
	}
	prepareRemote(t, s, "lazy", "", lazy)
	commitDirs(t, s, "base", "", "d user.base 1")
	commitDirs(t, s, "a", "", "d user.a 1", "d/e user.deep 1", "stay")
	commitDirs(t, s, "top", "", "d", "d/e")
	want := []string{"user.a=1", "user.b=lazy"}
	commitMerge(t, s, "merged", "base", " a", " lazy", " top")
	view := viewOf(t, s, "merged")
	wantAttributes(t, "view", view, "d", want...)
	wantAttributes(t, "view", view, "d/e", "user.deep=1")
	if u, err := s.Usage(t.Context(), "merged"); err != nil || u.Inodes != 4 { // of it the upper directory
		t.Errorf("usage %+v, %v", u, err)
	}
	commitDirs(t, s, "run", "merged", "d")
	commitDirs(t, s, "other", "", "d user.o 1")
	commitMerge(t, s, "again", "other", "merged run")
	wantAttributes(t, "the diff of a child", viewOf(t, s, "again"), "d", want...)

	// A diff that is made of links is known after a restart, too.
	commitDirs(t, s, "b", "a", "d", "stay")
	makeUnclean(t, s, "b", "stay/a")
	commitMerge(t, s, "linked", "", "a b", " top")
	wantAttributes(t, "links", viewOf(t, s, "linked"), "d", "user.a=1")
	s = reopen(t, d, s)
	commitMerge(t, s, "linked again", "", "a b", " top")
	wantAttributes(t, "links after a restart", viewOf(t, s, "linked again"), "d", "user.a=1")
	wantAttributes(t, "view after a restart", view, "d", want...)

	commitMerge(t, s, "none", "base", " top", " a")
	if layers := viewLayers(t, viewOf(t, s, "none")); len(layers) != 3 {
		t.Errorf("a merge that needs nothing on top has %d layers: %v", len(layers), layers)
	}
}

// A view of the diff of two lazy layers never shows a whiteout.
func TestMergeOfLazyDiffHidesWhiteouts(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	prepareRemote(t, s, "l0", "", d.addLayer(t, "l0", map[string]string{"gone": "g", "stay": "s"}))
	prepareRemote(t, s, "l1", "l0", d.addLayer(t, "l1", map[string]string{"gone": "", "new": "n"}))
	commitMerge(t, s, "diff", "", "l0 l1")
	wantFiles(t, "diff", viewOf(t, s, "diff"), map[string]string{"new": "n"})
}

// Squashed layers have no whiteouts that a view would show.
func TestMergeOfSquashedHidesWhiteouts(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitFiles(t, s, "a", "", map[string]string{"gone": "g"})
	commitFiles(t, s, "b", "a", map[string]string{"gone": "", "new": "n"})
	pairs, want := []string{"a b"}, map[string]string{"new": "n"}
	for i := range stack.MaxLowers {
		name := "l" + string(rune('0'+i/100)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10))
		commitUpper(t, s, name, "")
		pairs, want[name] = append(pairs, " "+name), name
	}
	commitMerge(t, s, "long", "", pairs...)
	wantFiles(t, "long", viewOf(t, s, "long"), want)
}
