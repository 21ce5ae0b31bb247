package tree_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

// TestMergeAsOverlayfs takes the kernel's overlayfs as the oracle: random
// layers, mounted as lowerdirs, must show the tree that Merge makes of them.
func TestMergeAsOverlayfs(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		layers := make([]*tree.Inode, 1+r.IntN(6))
		for i := range layers {
			layers[i] = treetest.Random(r, treetest.Shape{
				Inodes: 20 + r.IntN(150), Layer: true, Collide: true, OddNames: seed%2 == 0, MaxXattr: 100,
			})
			layers[i].Dir.Opaque = r.IntN(4) == 0
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { compareWithOverlayfs(t, layers) })
	}
}

// TestMergeCases are the orders of layers in which stacking is easy to get wrong.
func TestMergeCases(t *testing.T) {
	file := func() *tree.Inode { return &tree.Inode{Mode: unix.S_IFREG | 0o600} }
	dir := func(perm uint32, names ...string) *tree.Inode {
		d := tree.NewDir(perm)
		for _, name := range names {
			d.Dir.Add(name, file())
		}
		return d
	}
	opaque := func(d *tree.Inode) *tree.Inode { d.Dir.Opaque = true; return d }
	linked := func() *tree.Inode {
		d, f := tree.NewDir(0o755), file()
		d.Dir.Add("1", f)
		d.Dir.Add("2", f)
		return d
	}
	cases := map[string][]*tree.Inode{ // what /x is in each layer, the lowest first
		"whiteout of nothing":              {tree.NewWhiteout()},
		"whiteout of a directory":          {dir(0o700, "a"), tree.NewWhiteout()},
		"directory over whited out one":    {dir(0o700, "a"), tree.NewWhiteout(), dir(0o711, "b")},
		"directory over file over one":     {dir(0o700, "a"), file(), dir(0o711, "b")},
		"file over directory":              {dir(0o700, "a"), file()},
		"merge over a gap":                 {dir(0o700, "a"), nil, dir(0o711, "b")},
		"opaque":                           {dir(0o700, "a"), opaque(dir(0o711, "b"))},
		"opaque below merged":              {dir(0o700, "a"), opaque(dir(0o711, "b")), dir(0o722, "c")},
		"opaque over nothing":              {opaque(dir(0o711, "b")), dir(0o700, "a")},
		"one of two links replaced":        {linked(), dir(0o755, "1")},
		"one of two links whited out":      {linked(), whiteouts("1")},
		"whiteout in a directory alone":    {dirWith("y", whiteouts("a", "b"))},
		"whiteout in an opaque directory":  {dir(0o700, "a", "b"), opaque(whiteouts("a"))},
		"whiteout and file of other names": {dir(0o700, "a"), whiteouts("a"), dir(0o700, "b")},
	}
	for name, versions := range cases {
		t.Run(name, func(t *testing.T) {
			layers := make([]*tree.Inode, len(versions))
			for i, x := range versions {
				layers[i] = tree.NewDir(0o755)
				if x != nil {
					layers[i].Dir.Add("x", x)
				}
			}
			compareWithOverlayfs(t, layers)
		})
	}
}

func whiteouts(names ...string) *tree.Inode {
	d := tree.NewDir(0o755)
	for _, name := range names {
		d.Dir.Add(name, tree.NewWhiteout())
	}
	return d
}

func dirWith(name string, child *tree.Inode) *tree.Inode {
	d := tree.NewDir(0o755)
	d.Dir.Add(name, child)
	return d
}

func compareWithOverlayfs(t *testing.T, layers []*tree.Inode) {
	dir := t.TempDir()
	data := make([]io.ReaderAt, len(layers))
	lower := make([]string, len(layers))
	for i, layer := range layers {
		pattern := treetest.Pattern(i)
		data[i] = pattern
		lower[i] = filepath.Join(dir, fmt.Sprint(i))
		if err := treetest.ToDir(lower[i], layer, pattern); err != nil {
			t.Fatal(err)
		}
	}
	merged := tree.Merge(layers...)
	mnt := mountOverlay(t, lower)
	shown, err := treetest.FromDir(mnt)
	if err != nil {
		t.Fatal(err)
	}
	if d := treetest.Diff(shown, merged); len(d) > 0 {
		t.Errorf("overlayfs, Merge:%s", treetest.Lines(d, 20))
	}
	if err := treetest.CompareData(mnt, merged, data...); err != nil {
		t.Error(err)
	}
}

// mountOverlay mounts lower, the lowest first, and returns where.
func mountOverlay(t *testing.T, lower []string) string {
	t.Helper()
	mnt, empty := t.TempDir(), t.TempDir()
	// A single lowerdir needs an upperdir; an empty directory below all others
	// changes nothing.
	stack := append([]string{empty}, lower...)
	slices.Reverse(stack)
	options := "index=off,redirect_dir=off,metacopy=off,lowerdir=" + strings.Join(stack, ":")
	if err := unix.Mount("overlay", mnt, "overlay", unix.MS_RDONLY, options); err != nil {
		t.Fatal(&os.PathError{Op: "mount overlay", Path: mnt, Err: err})
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mnt, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return mnt
}
