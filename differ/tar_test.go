package differ

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// TestTarIsTheOneOfTheWalkingDiffer compares the tars of random changes with those that
// containerd's own differ writes: byte by byte.
func TestTarIsTheOneOfTheWalkingDiffer(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10
	}
	written := 0
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			l := newLab(t, rand.New(rand.NewPCG(seed, 2)))
			l.userxattr = seed%4 == 3
			l.redirect = seed%5 == 4
			l.makeLowers()
			for range 1 + l.IntN(3) {
				l.change()
			}
			written += l.compare()
		})
	}
	if !t.Failed() && written < int(seeds)*5 {
		t.Errorf("%d entries in all tars: the changes change too little", written)
	}
}

// lab has the directories of a snapshot and of its parent.
type lab struct {
	*testing.T
	*rand.Rand
	dir                 string
	lowers, top         []string // the topmost first
	userxattr, redirect bool
}

func newLab(t *testing.T, r *rand.Rand) *lab { return &lab{T: t, Rand: r, dir: t.TempDir()} }

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// makeLowers makes the layers of the parent. Half of the times are in whole seconds. All
// directories have the attribute of copied-up ones, without which overlayfs lists whiteouts
// that it does not find: containerd's differ fails then.
func (l *lab) makeLowers() {
	for n := range 1 + l.IntN(3) {
		root := treetest.Random(l.Rand, treetest.Shape{
			Inodes: 20 + l.IntN(60), Layer: n > 0, Collide: true, OddNames: l.IntN(2) == 0, MaxXattr: 100,
		})
		l.must(tree.Walk(root, func(_ string, i *tree.Inode) error {
			if l.IntN(2) == 0 {
				i.Mtime.Nsec = 0
			}
			if i.IsDir() {
				i.Xattrs = map[string]string{"trusted.overlay.origin": "", "user.overlay.origin": ""}
			}
			return nil
		}))
		dir := filepath.Join(l.dir, fmt.Sprint("lower", n))
		l.must(treetest.ToDir(dir, root, treetest.Pattern(n)))
		l.lowers = append([]string{dir}, l.lowers...)
	}
}

func (l *lab) options() []string {
	options := []string{"index=off"}
	if l.userxattr {
		options = append(options, userxattr)
	}
	return options
}

// change makes random changes in a container's root filesystem.
func (l *lab) change() {
	l.changeBy(func(root string) {
		e := editor{Rand: l.Rand, root: root}
		for range 5 + l.IntN(40) {
			e.edit()
		}
	})
}

// changeBy changes a container's root filesystem, and gives the snapshot the directory with
// the changes.
func (l *lab) changeBy(edit func(root string)) {
	name := fmt.Sprint("upper", len(l.top))
	upper, work, merged := filepath.Join(l.dir, name), filepath.Join(l.dir, name+".work"), filepath.Join(l.dir, name+".merged")
	for _, dir := range []string{upper, work, merged} {
		l.must(os.Mkdir(dir, 0o755))
	}
	lower := layout{dirs: slices.Concat(l.top, l.lowers), options: l.options()}.overlay()
	lower.Options = append(lower.Options, "upperdir="+upper, "workdir="+work)
	if l.redirect && !l.userxattr {
		lower.Options = append(lower.Options, "redirect_dir=on")
	}
	l.must(mount.All([]mount.Mount{lower}, merged))
	defer func() { l.must(mount.UnmountAll(merged, 0)) }()
	edit(merged)
	l.top = append([]string{upper}, l.top...)
}

// known says that one directory is a tree. It is one of a kind that says nothing of the
// contents of files.
type known struct{ tree string }

func (k known) Shown(path string) (spec store.Spec, ok bool) {
	if path != k.tree {
		return spec, false
	}
	return store.Spec{Kind: store.Diff, Layers: []store.ID{{Blob: "sha256:1"}}}, true
}

// compare compares the tars of both differs, and returns the number of entries.
func (l *lab) compare() int {
	d := &Differ{Options{Root: l.dir, Trees: known{l.lowers[len(l.lowers)-1]}}}
	lower := layout{dirs: l.lowers, options: l.options()}.readonly()
	upper := layout{dirs: append(slices.Clone(l.top), l.lowers...), options: l.options()}.readonly()
	p, ok := d.pairOf([]mount.Mount{lower}, []mount.Mount{upper})
	if !ok || !slices.Equal(p.top, l.top) {
		l.Fatalf("pair of %+v and %+v: %v, %+v", lower, upper, ok, p)
	}
	var want, got bytes.Buffer
	var config diff.Config
	if l.IntN(3) == 0 { // the latest time that is in the tar
		epoch := time.Unix(1e9, 0)
		config.SourceDateEpoch = &epoch
	}
	l.must(d.mounted(p.lower, func(lowerRoot string) error {
		return d.mounted(p.upper, func(upperRoot string) error {
			return errors.Join(
				archive.WriteDiff(l.Context(), &want, lowerRoot, upperRoot, archive.WithSourceDateEpoch(config.SourceDateEpoch)),
				d.writeTar(l.Context(), &got, p, sides{lowerRoot, upperRoot}, tarOptions(config)),
			)
		})
	}))
	wanted, n := describe(l.T, want.Bytes())
	if bytes.Equal(want.Bytes(), got.Bytes()) {
		return n
	}
	all, _ := describe(l.T, got.Bytes())
	for _, line := range missing(wanted, all) {
		l.Errorf("not in the tar: %s", line)
	}
	for _, line := range missing(all, wanted) {
		l.Errorf("only in the tar: %s", line)
	}
	l.Errorf("tars differ")
	return n
}

// describe returns a line for each entry of a tar, and their number.
func describe(t *testing.T, b []byte) (lines []string, n int) {
	for r := tar.NewReader(bytes.NewReader(b)); ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, n
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%q %c %o %d:%d %d bytes to %q %d:%d at %v %q %x", h.Name, h.Typeflag, h.Mode, h.Uid, h.Gid,
			h.Size, h.Linkname, h.Devmajor, h.Devminor, h.ModTime, fmt.Sprint(h.PAXRecords), content[:min(len(content), 8)]))
	}
}

// inode is the inode number of a file.
func inode(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

func missing(lines, from []string) (all []string) {
	there := map[string]bool{}
	for _, line := range from {
		there[line] = true
	}
	for _, line := range lines {
		if !there[line] {
			all = append(all, line)
		}
	}
	return all[:min(len(all), 10)]
}

// TestCanceled: no tar is written to its end after the call has ended.
func TestCanceled(t *testing.T) {
	l := newLab(t, rand.New(rand.NewPCG(1, 2)))
	l.makeLowers()
	l.change()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := &Differ{Options{Root: l.dir, Trees: known{l.lowers[len(l.lowers)-1]}}}
	p := pair{lower: layout{dirs: l.lowers}, upper: layout{dirs: append(slices.Clone(l.top), l.lowers...)}, top: l.top}
	err := d.mounted(p.lower, func(lower string) error {
		return d.mounted(p.upper, func(upper string) error {
			return d.writeTar(ctx, io.Discard, p, sides{lower, upper}, nil)
		})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}
