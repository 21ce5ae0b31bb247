package differ

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/store"
)

// trees are mounted trees by path.
type trees map[string]store.Spec

func (t trees) Shown(path string) (spec store.Spec, ok bool) {
	spec, ok = t[path]
	return spec, ok
}

func overlay(options ...string) []mount.Mount {
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: options}}
}

func bind(dir string) []mount.Mount {
	return []mount.Mount{{Type: "bind", Source: dir, Options: []string{"ro", "rbind"}}}
}

// TestPairs: which mounts are a snapshot and its parent, and what the snapshot has alone.
func TestPairs(t *testing.T) {
	a, b := store.ID{Blob: "a"}, store.ID{Blob: "b"}
	d := &Differ{Options{Trees: trees{
		"/a": {Kind: store.Lowest, Layers: []store.ID{a}}, "/b": {Layers: []store.ID{b}}, "/a2": {Layers: []store.ID{a}, Again: 1},
		"/ab": {Kind: store.Lowest, Layers: []store.ID{a, b}}, "/ba": {Kind: store.Lowest, Layers: []store.ID{b, a}},
		"/diff": {Kind: store.Diff, Layers: []store.ID{b}, Lower: []store.ID{a}},
	}}}
	active := func(lowers string, more ...string) []mount.Mount {
		return overlay(append(more, "workdir=/work", "upperdir=/upper", "lowerdir="+lowers, "index=off")...)
	}
	for name, c := range map[string]struct {
		lower, upper []mount.Mount
		top          string // "": no pair
	}{
		"container":               {overlay("lowerdir=/b:/a", "index=off"), active("/ab", "xino=on"), "/upper"},
		"container of one layer":  {bind("/a"), active("/a"), "/upper"},
		"committed":               {overlay("lowerdir=/b:/a"), overlay("lowerdir=/one:/b:/a"), "/one"},
		"several":                 {overlay("lowerdir=/one:/a"), active("/two:/one:/a"), "/upper /two"},
		"a layer":                 {bind("/a"), overlay("lowerdir=/b:/a"), "/b"},
		"a layer twice":           {overlay("lowerdir=/b:/a"), overlay("lowerdir=/a2:/b:/a"), "/a2"},
		"merged":                  {overlay("lowerdir=/diff:/a"), active("/diff:/a"), "/upper"},
		"user attributes":         {overlay("lowerdir=/b:/a", "userxattr"), active("/ab", "userxattr"), "/upper"},
		"other order":             {overlay("lowerdir=/b:/a"), active("/ba"), ""},
		"other layers":            {bind("/a"), active("/b"), ""},
		"ancestor above":          {overlay("lowerdir=/b:/a"), active("/a"), ""},
		"reversed":                {active("/ab"), overlay("lowerdir=/b:/a"), ""},
		"several layers in midst": {overlay("lowerdir=/ab:/one"), active("/ab:/one"), ""},
		"nothing lazy":            {overlay("lowerdir=/two:/one"), active("/two:/one"), ""},
		"parent is nothing":       {bind("/empty"), active("/ab"), ""},
		"no mount":                {nil, active("/ab"), ""},
		"unknown option":          {bind("/a"), active("/a", "metacopy=on"), ""},
		"mapped users":            {bind("/a"), active("/a", "uidmap=0:1:2"), ""},
		"unlike attributes":       {overlay("lowerdir=/b:/a"), active("/ab", "userxattr"), ""},
		"escaped":                 {bind("/a"), active(`/x\:y:/a`), ""},
		"relative":                {bind("/a"), active("x:/a"), ""},
		"other type":              {bind("/a"), []mount.Mount{{Type: "erofs", Source: "/a"}}, ""},
		"two mounts":              {bind("/a"), append(active("/a"), active("/a")...), ""},
		"no directories":          {bind("/a"), overlay("index=off"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := d.pairOf(c.lower, c.upper)
			if ok != (c.top != "") || ok && strings.Join(p.top, " ") != c.top {
				t.Errorf("%v, %q; want %q", ok, p.top, c.top)
			}
			if ok {
				return
			}
			if _, err := d.Compare(t.Context(), c.lower, c.upper); !errdefs.IsNotImplemented(err) {
				t.Errorf("Compare: %v, want %v", err, errdefs.ErrNotImplemented)
			}
		})
	}
}

// TestUnmountedTree: a tree that is not mounted any more when it was read is an error, since
// its directory may have been empty.
func TestUnmountedTree(t *testing.T) {
	shown := trees{"/a": {Kind: store.Lowest, Layers: []store.ID{{Blob: "a"}}}}
	d := &Differ{Options{Trees: shown}}
	p, ok := d.pairOf(bind("/a"), overlay("upperdir=/upper", "lowerdir=/a"))
	if err := d.stillShown(p); !ok || err != nil {
		t.Fatal(ok, err)
	}
	delete(shown, "/a")
	if err := d.stillShown(p); !errors.Is(err, errUnmounted) {
		t.Errorf("%v, want %v", err, errUnmounted)
	}
}

// TestMountsAreCleared: what a killed process has left is unmounted.
func TestMountsAreCleared(t *testing.T) {
	root, shown := filepath.Join(t.TempDir(), "diff"), t.TempDir()
	for _, name := range []string{"side-1", "side-2"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(shown, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := mount.All(bind(shown), filepath.Join(root, "side-1")); err != nil {
		t.Fatal(err)
	}
	if err := emptyMounts(root); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(shown, "file")); err != nil {
		t.Errorf("what was mounted is gone: %v", err)
	}
}

// TestRenamedDirectory: where redirect_dir is on by default, a directory can be renamed into
// the place of another one, which it hides. It is not opaque.
func TestRenamedDirectory(t *testing.T) {
	l := newLab(t, rand.New(rand.NewPCG(1, 2)))
	lower := filepath.Join(l.dir, "lower")
	for _, name := range []string{"from/file", "from/only", "to/file", "to/hidden"} {
		l.must(os.MkdirAll(filepath.Join(lower, filepath.Dir(name)), 0o755))
		l.must(os.WriteFile(filepath.Join(lower, name), []byte(name), 0o644))
	}
	l.lowers, l.redirect = []string{lower}, true
	l.changeBy(func(root string) {
		l.must(os.RemoveAll(filepath.Join(root, "to")))
		l.must(os.Rename(filepath.Join(root, "from"), filepath.Join(root, "to")))
	})
	var value [64]byte
	if n, err := unix.Lgetxattr(filepath.Join(l.top[0], "to"), "trusted.overlay.redirect", value[:]); err != nil || n == 0 {
		t.Fatalf("the directory was not renamed by a redirect: %v", err)
	}
	if n := l.compare(); n < 5 {
		t.Errorf("%d entries", n)
	}
}

// TestLinksAcrossFilesystems: files with one inode number on different filesystems are not
// links to each other.
func TestLinksAcrossFilesystems(t *testing.T) {
	dir := t.TempDir()
	var infos []os.FileInfo
	for _, name := range []string{"a", "b"} {
		at := filepath.Join(dir, name)
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, "inode64"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(at, 0); err != nil {
				t.Error(err)
			}
		})
		file := filepath.Join(at, "file")
		if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Link(file, file+".link")); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{file, file + ".link"} {
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			infos = append(infos, info)
		}
	}
	n := numbers{}
	var got []uint64
	for _, info := range infos {
		got = append(got, inode(n.of(info)))
	}
	if inode(infos[0]) != inode(infos[2]) || !slices.Equal(got, []uint64{1, 1, 2, 2}) {
		t.Errorf("inodes %d and %d have the numbers %d", inode(infos[0]), inode(infos[2]), got)
	}
}
