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
	// Attributed lists its directories with extended attributes: see Attributed.
	Attributed []string
}

// Accumulate returns the directory-only diff that a stack of clean diffs, the lowest
// first, needs on top for its directories to have the attributes that BuildKit's merge
// gives them: BuildKit sets the attributes of each diff's directory on the directory that
// the earlier diffs made, and removes none. Lowerdirs below the stack have no influence.
// The result is Empty if the stack shows these attributes by itself, as most do.
//
// The directories must not be written to during the call and until Diff.Make has
// returned; a hardlink.Pool may replace files in them. The error wraps ErrRedirect if a
// directory has a redirect or a file has no contents, else it is an *os.PathError or that
// of ctx.
func Accumulate(ctx context.Context, stack []Shown, opts Options) (*Diff, error) {
	s := newScan(ctx, opts)
	wanted := map[string]bool{}
	var dirs []string
	for i, shown := range stack {
		dirs = append(dirs, shown.Dir)
		if i == len(stack)-1 {
			break // no diff is above the last one
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

// accumulation finds the directories of a stack that show too few attributes.
type accumulation struct {
	*scan
	children map[string][]string // paths to check, by their parent
	wanted   map[string]bool     // by path to check: whether a diff has attributes there
}

// below returns the entries that the directory name needs. dirs are the directories of
// that path, the lowest first, that the merge is made of: see contributors.
func (a *accumulation) below(name string, dirs []string) (*hardlink.Dir, error) {
	if err := a.ctx.Err(); err != nil {
		return nil, err
	}
	needed := &hardlink.Dir{}
	for _, child := range a.children[name] {
		contributors, err := a.contributors(dirs, path.Base(child))
		if err != nil {
			return nil, err
		}
		if len(contributors) < 2 {
			continue // one diff alone has this directory
		}
		dir, err := a.below(child, contributors)
		if err != nil {
			return nil, err
		}
		top := len(contributors) - 1
		node := &hardlink.Node{From: contributors[top], Dir: dir}
		if a.wanted[child] {
			more, err := hasMore(contributors[:top], contributors[top])
			if err != nil {
				return nil, err
			}
			if more {
				node.Under = contributors[:top]
			}
		}
		if len(node.Under) > 0 || dir.Len() > 0 {
			needed.Add(path.Base(child), node)
		}
	}
	return needed, nil
}

// contributors returns the directories called name in dirs that together are one
// directory of the merge: those above the topmost file or whiteout of that name,
// beginning with the topmost opaque one if there is one.
func (a *accumulation) contributors(dirs []string, name string) ([]string, error) {
	var contributors []string
	for _, dir := range dirs {
		e, err := a.lookup(union{dir}, name)
		switch {
		case err != nil:
			return nil, err
		case e == nil:
		case e.isDir():
			if e.opaque {
				contributors = nil
			}
			contributors = append(contributors, e.path)
		default:
			contributors = nil
		}
	}
	return contributors, nil
}

// hasMore reports whether one of under has an extended attribute that top does not have.
func hasMore(under []string, top string) (bool, error) {
	present, err := attributes(top)
	if err != nil {
		return false, err
	}
	for _, dir := range under {
		names, err := attributes(dir)
		if err != nil {
			return false, err
		}
		for _, name := range names {
			if isAccumulated(name) && !slices.Contains(present, name) {
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

// isAccumulated reports whether an extended attribute counts for Accumulate: those of
// overlayfs do not, nor does security.selinux, which either all directories have or none.
func isAccumulated(name string) bool {
	return !strings.HasPrefix(name, hardlink.MarkKey("", false)) &&
		!strings.HasPrefix(name, hardlink.MarkKey("", true)) && name != "security.selinux"
}

// Attributed returns the paths of the directories of a clean diff that have extended
// attributes which count for Accumulate, without the root. A tree of layers lists them in
// its root (tree.AttributedXattr); another directory is walked. Diff.Attributed has the
// same list without a walk.
func Attributed(ctx context.Context, dir string, opts Options) ([]string, error) {
	key := hardlink.MarkKey(strings.TrimPrefix(tree.AttributedXattr, hardlink.MarkKey("", false)), opts.UserXattr)
	value, listed, err := xattr(dir, key)
	if err != nil {
		return nil, err
	}
	if listed {
		return tree.ParseAttributed(string(value)), nil
	}
	var found []string
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || path == dir {
			return errors.Join(err, ctx.Err())
		}
		names, err := attributes(path)
		if slices.ContainsFunc(names, isAccumulated) {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	return found, err
}

// attributedIn appends to found the directories below dir, which has the path name, that
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
