package merge

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/tree"
)

// Shown is one clean diff of a stack.
type Shown struct {
	Dir string
	// Attributed are its directories with extended attributes: see Attributed.
	Attributed []string
}

// Accumulate returns what a stack of clean diffs, the lowest first, needs on top
// for its directories to have what BuildKit's merge gives them. That sets the
// attributes of each diff's directory on the one that diffs before it made, and
// takes none away; what lies below the stack has no part in it. It is Empty
// for a stack that shows as much as it is, which most do.
func Accumulate(ctx context.Context, stack []Shown, opts Options) (*Diff, error) {
	s := newScan(ctx, opts)
	wanted := map[string]bool{}
	var dirs []string
	for i, shown := range stack {
		dirs = append(dirs, shown.Dir)
		if i == len(stack)-1 {
			break // nothing is above it
		}
		for _, name := range shown.Attributed {
			for dir := name; dir != "."; dir = path.Dir(dir) {
				wanted[dir] = wanted[dir] || dir == name
			}
		}
	}
	a := accumulation{s, map[string][]string{}, wanted}
	for name := range wanted {
		a.children[path.Dir(name)] = append(a.children[path.Dir(name)], name)
	}
	root, err := a.below(".", dirs)
	if err != nil {
		return nil, err
	}
	return s.diff(root, false)
}

// accumulation finds which directories of a stack have too few attributes.
type accumulation struct {
	*scan
	children map[string][]string // paths to look at, by the directory they are in
	wanted   map[string]bool     // of these paths, whether a diff has attributes there
}

// below returns what is needed in the directory name, which is dirs, the lowest
// first, in those diffs that still have a part in it.
func (a *accumulation) below(name string, dirs []string) (*hardlink.Dir, error) {
	if err := a.ctx.Err(); err != nil {
		return nil, err
	}
	kept := &hardlink.Dir{}
	for _, child := range a.children[name] {
		parts, err := a.parts(dirs, path.Base(child))
		if err != nil {
			return nil, err
		}
		if len(parts) < 2 {
			continue // one diff has all that there is
		}
		dir, err := a.below(child, parts)
		if err != nil {
			return nil, err
		}
		top := len(parts) - 1
		node := &hardlink.Node{From: parts[top], Dir: dir}
		if a.wanted[child] {
			more, err := hasMore(parts[:top], parts[top])
			if err != nil {
				return nil, err
			}
			if more {
				node.Under = parts[:top]
			}
		}
		if len(node.Under) > 0 || dir.Len() > 0 {
			kept.Add(path.Base(child), node)
		}
	}
	return kept, nil
}

// parts returns the directories called name in dirs that are one directory of
// the merge: those above the last thing that is none.
func (a *accumulation) parts(dirs []string, name string) ([]string, error) {
	var parts []string
	for _, dir := range dirs {
		e, err := a.lookup(union{dir}, name)
		switch {
		case err != nil:
			return nil, err
		case e == nil:
		case e.isDir():
			if e.cut {
				parts = nil
			}
			parts = append(parts, e.path)
		default:
			parts = nil
		}
	}
	return parts, nil
}

// hasMore reports whether one of under has an attribute that top has not.
func hasMore(under []string, top string) (bool, error) {
	there, err := attributes(top)
	if err != nil {
		return false, err
	}
	for _, dir := range under {
		names, err := attributes(dir)
		if err != nil {
			return false, err
		}
		for _, name := range names {
			if isOwn(name) && !slices.Contains(there, name) {
				return true, nil
			}
		}
	}
	return false, nil
}

// attributes returns the names of the extended attributes of a directory.
func attributes(dir string) ([]string, error) {
	names, err := sysx.LListxattr(dir)
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return nil, &os.PathError{Op: "listxattr", Path: dir, Err: err}
	}
	return names, nil
}

// isOwn reports whether an extended attribute says something about a directory
// that others have not: it is no mark of overlayfs, and no label of SELinux,
// which all directories have or none.
func isOwn(name string) bool {
	return !strings.HasPrefix(name, hardlink.MarkKey("", false)) &&
		!strings.HasPrefix(name, hardlink.MarkKey("", true)) && name != "security.selinux"
}

// Attributed returns the paths of the directories of a clean diff that have
// extended attributes, but for those that have no part in Accumulate. Its root
// is none. The tree of a diff says itself which they are (tree.AttributedXattr).
// Other directories are walked: Diff.Attributed knows without.
func Attributed(ctx context.Context, dir string, opts Options) ([]string, error) {
	key := hardlink.MarkKey(strings.TrimPrefix(tree.AttributedXattr, hardlink.MarkKey("", false)), opts.UserXattr)
	value, err := sysx.LGetxattr(dir, key)
	if err == nil {
		return tree.ParseAttributed(string(value)), nil
	}
	if !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return nil, &os.PathError{Op: "getxattr " + key, Path: dir, Err: err}
	}
	var found []string
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || path == dir {
			return errors.Join(err, ctx.Err())
		}
		names, err := attributes(path)
		if slices.ContainsFunc(names, isOwn) {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	return found, err
}

// attributedIn adds the directories below dir, which has the path name, that
// have extended attributes.
func (s *scan) attributedIn(dir *hardlink.Dir, name string, found []string) ([]string, error) {
	for base, n := range dir.All() {
		if n.Dir == nil {
			continue
		}
		child := path.Join(name, base)
		m, err := s.marks(n.From)
		if err != nil {
			return nil, err
		}
		if m.attributed {
			found = append(found, child)
		}
		if found, err = s.attributedIn(n.Dir, child, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}
