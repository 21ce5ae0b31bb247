package differ

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	continuity "github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// sides are where the two sides of a pair are mounted.
type sides struct{ lower, upper string }

// walk finds what a pair differs in.
type walk struct {
	ctx      context.Context
	pair     pair
	sides    sides
	change   continuity.ChangeFunc // called parents first, names in bytewise order
	contents contents
	numbers  numbers
}

// place is a directory of the upper side.
type place struct {
	path string   // from the root, with a slash before it
	top  []string // directories of pair.top that have it, and are merged there
	// whole: it shows nothing, or other names, of lower; so all names on both sides are
	// compared, and not only those of top.
	whole   bool
	inLower bool // lower has a directory there, too
}

// dir reports the changes below a directory.
func (w *walk) dir(at place) error {
	names, err := w.names(at)
	if err != nil {
		return err
	}
	for _, name := range names {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		if err := w.entry(at, filepath.Join(at.path, name)); err != nil {
			return err
		}
	}
	return nil
}

// names returns the names to compare in a directory, in bytewise order.
func (w *walk) names(at place) ([]string, error) {
	roots := at.top
	if at.whole {
		roots = []string{w.sides.upper}
		if at.inLower {
			roots = append(roots, w.sides.lower)
		}
	}
	var names []string
	for _, root := range roots {
		dir, err := os.Open(filepath.Join(root, at.path))
		if err != nil {
			return nil, err
		}
		there, err := dir.Readdirnames(-1)
		if err = errors.Join(err, dir.Close()); err != nil {
			return nil, err
		}
		names = append(names, there...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// entry reports what changed of one path, and below it.
func (w *walk) entry(at place, path string) error {
	upper, err := lstat(filepath.Join(w.sides.upper, path))
	if err != nil {
		return err
	}
	var lower fs.FileInfo
	if at.inLower {
		if lower, err = lstat(filepath.Join(w.sides.lower, path)); err != nil {
			return err
		}
	}
	switch {
	case upper == nil && lower == nil:
		return nil // a whiteout of nothing
	case upper == nil:
		return w.change(continuity.ChangeKindDelete, path, nil, nil)
	}
	if err := w.present(path, lower, upper); err != nil || !upper.IsDir() {
		return err
	}
	below, err := w.below(at, path, lower != nil && lower.IsDir())
	if err != nil {
		return err
	}
	return w.dir(below)
}

// present reports what changed of a path that the upper side has.
func (w *walk) present(path string, lower, upper fs.FileInfo) error {
	kind := continuity.ChangeKind(continuity.ChangeKindAdd)
	if lower != nil {
		same, err := w.same(path, lower, upper)
		if err != nil {
			return err
		}
		kind = continuity.ChangeKindModify
		if same {
			kind = continuity.ChangeKindUnmodified
		}
	}
	_, linked := continuity.GetLinkInfo(upper)
	if kind == continuity.ChangeKindUnmodified && !linked {
		return nil // of a file with links, its name is needed where another one of them changed
	}
	if linked {
		upper = w.numbers.of(upper)
	}
	return w.change(kind, path, upper, nil)
}

// below returns the directory path in at.
func (w *walk) below(at place, path string, inLower bool) (place, error) {
	to := place{path: path, whole: at.whole || !inLower, inLower: inLower}
	if to.whole {
		return to, nil
	}
	for _, root := range at.top {
		dir := filepath.Join(root, path)
		info, err := lstat(dir)
		if err != nil {
			return to, err
		}
		if info == nil {
			continue
		}
		hides := !info.IsDir()
		if !hides {
			to.top = append(to.top, root)
			if hides, err = w.hides(dir); err != nil {
				return to, err
			}
		}
		if hides {
			to.whole = true
			break
		}
	}
	return to, nil
}

// hides reports whether overlayfs does not merge a directory of a layer with the one of the
// same path below it: it is opaque, or was renamed (Linux
// Documentation/filesystems/overlayfs.rst; redirect_dir may be on by default).
func (w *walk) hides(dir string) (bool, error) {
	prefix := "trusted.overlay."
	if slices.Contains(w.pair.upper.options, userxattr) {
		prefix = "user.overlay."
	}
	for _, name := range []string{"opaque", "redirect"} {
		if _, ok, err := tree.Xattr(dir, prefix+name); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// lstat returns nil for a path that does not exist.
func lstat(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	return info, err
}
