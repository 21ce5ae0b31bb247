package merge

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
)

// Options say how layers are read.
type Options struct {
	// UserXattr: overlayfs's marks are in user.overlay.*, as with the mount
	// option userxattr, and not in trusted.overlay.*.
	UserXattr bool
	// Apart: regular files with several names are copied, since some of the
	// names may be where the diff is shown, too.
	Apart bool
}

// Diff is a clean diff between two sides: what BuildKit's differ would emit, as
// a directory that can be a lowerdir over anything.
type Diff struct {
	// AsIs: the directory that was scanned is the clean diff already.
	AsIs bool
	// Whiteouts: it has some.
	Whiteouts bool
	// Attributed are the paths of its directories with extended attributes:
	// see Accumulate.
	Attributed []string
	// From are those of the directories that it was found in of which it has
	// files, as links.
	From []string
	// Of are the numbers of the snapshots that these files are of, if the caller
	// says so. Make keeps them with the directory: see the function Of. Nil:
	// they are not known.
	Of []uint64

	root *hardlink.Node
	opts Options
}

// Empty: there is no difference.
func (d *Diff) Empty() bool { return d.root.Dir.Len() == 0 }

// Make makes the directory path of a diff, which must not exist: see
// hardlink.Make.
func (d *Diff) Make(ctx context.Context, path string) (hardlink.Made, error) {
	opts := hardlink.Options{UserXattr: d.opts.UserXattr}
	if value, ok := encodeOf(d.Of); ok && d.Of != nil {
		opts.Marks = map[string]string{ofMark: value}
	}
	return hardlink.Make(ctx, path, d.root, opts)
}

// Scan finds the clean diff that is in own, the directory of the one layer
// that one side has above the other. lower is the directories of the other
// side, the topmost first. Only if they have what own has is there anything to
// look up, and contents are compared only where attributes cannot tell: see
// same. The attributes of the root are no part of a diff.
func Scan(ctx context.Context, own string, lower []string, opts Options) (*Diff, error) {
	s := newScan(ctx, opts)
	m, err := s.marks(own)
	if err != nil {
		return nil, err
	}
	var root *hardlink.Dir
	if m.opaque {
		s.clean = false
		root, err = s.full(union{own}, lower)
	} else {
		root, err = s.layer(own, lower)
	}
	if err != nil {
		return nil, err
	}
	return s.diff(root, s.clean)
}

// Compare finds the clean diff between two sides, each the directories of a
// stack, the topmost first. Directories that both stack in the same way are
// not looked into.
func Compare(ctx context.Context, lower, upper []string, opts Options) (*Diff, error) {
	s := newScan(ctx, opts)
	root, err := s.full(upper, lower)
	if err != nil {
		return nil, err
	}
	return s.diff(root, false)
}

// scan finds one diff.
type scan struct {
	ctx       context.Context
	opts      Options
	marked    map[string]marks // by directory
	metacopy  bool             // files may have no contents of their own
	clean     bool             // nothing had to be left out or made
	whiteouts bool
}

func newScan(ctx context.Context, opts Options) *scan {
	return &scan{ctx: ctx, opts: opts, marked: map[string]marks{}, metacopy: metacopyDefault(), clean: true}
}

func (s *scan) diff(root *hardlink.Dir, asIs bool) (*Diff, error) {
	d := &Diff{AsIs: asIs, Whiteouts: s.whiteouts, From: linkedFrom(root), root: &hardlink.Node{Dir: root}, opts: s.opts}
	var err error
	if d.Attributed, err = s.attributedIn(root, "", nil); err != nil {
		return nil, err
	}
	return d, nil
}

// layer returns what of the directory dir of a layer differs from lower, where
// a name that dir has not is one that has not changed.
func (s *scan) layer(dir string, lower union) (*hardlink.Dir, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	m, err := s.marks(dir)
	if err != nil {
		return nil, err
	}
	kept := &hardlink.Dir{}
	for _, d := range list {
		path := filepath.Join(dir, d.Name())
		if len(lower) == 0 && !m.xwhiteouts && isPlain(d.Type()) && !s.metacopy && !s.opts.Apart {
			kept.Add(d.Name(), &hardlink.Node{From: path})
			continue
		}
		e, err := s.lookup(union{dir}, d.Name())
		if err != nil {
			return nil, err
		}
		if e == nil {
			return nil, &os.PathError{Op: "lstat", Path: path, Err: unix.ESTALE}
		}
		below, err := s.lookup(lower, d.Name())
		if err != nil {
			return nil, err
		}
		node, err := s.changed(e, below)
		if err != nil {
			return nil, err
		}
		if node == nil {
			s.clean = false
			continue
		}
		kept.Add(d.Name(), node)
		if node.IsWhiteout() && s.clean {
			// Else the kernel would list it: see hardlink.
			if s.clean, err = s.has(dir, "origin"); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

// isPlain reports whether a name of that type, over nothing, is part of a diff
// as it is.
func isPlain(t fs.FileMode) bool { return t.IsRegular() || t == fs.ModeSymlink }

// changed returns the node of an entry of a layer over below, which is nil for
// nothing; it returns nil for what is no part of the clean diff.
func (s *scan) changed(e, below *entry) (*hardlink.Node, error) {
	if below != nil && below.whiteout {
		below = nil
	}
	switch {
	case e.whiteout:
		if below == nil {
			return nil, nil
		}
		s.whiteouts = true
		if e.st.Mode&unix.S_IFMT != unix.S_IFCHR {
			s.clean = false
		}
		return hardlink.Whiteout(), nil
	case !e.isDir():
		return s.changedFile(e, below)
	case below == nil || !below.isDir():
		s.clean = s.clean && !e.cut
		dir, err := s.layer(e.path, nil)
		return &hardlink.Node{From: e.path, Dir: dir}, err
	case e.cut:
		s.clean = false
		dir, err := s.full(e.dirs, below.dirs)
		return s.changedDir(e, below, dir, err)
	default:
		dir, err := s.layer(e.path, below.dirs)
		return s.changedDir(e, below, dir, err)
	}
}

func (s *scan) changedFile(e, below *entry) (*hardlink.Node, error) {
	if below != nil {
		unchanged, err := same(below, e)
		if err != nil || unchanged {
			return nil, err
		}
	}
	copied := s.opts.Apart && e.st.Nlink > 1 && e.st.Mode&unix.S_IFMT == unix.S_IFREG
	s.clean = s.clean && !copied
	return &hardlink.Node{From: e.path, Anew: e.isAnew() || copied}, nil
}

// changedDir returns the node of a directory that both sides have, with what
// of it has changed.
func (s *scan) changedDir(e, below *entry, dir *hardlink.Dir, err error) (*hardlink.Node, error) {
	if err != nil {
		return nil, err
	}
	if dir.Len() == 0 {
		unchanged, err := same(below, e)
		if err != nil || unchanged {
			return nil, err
		}
	}
	return &hardlink.Node{From: e.path, Dir: dir}, nil
}

// full returns how upper differs from lower, where a name that upper has not
// is gone.
func (s *scan) full(upper, lower union) (*hardlink.Dir, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	dir := &hardlink.Dir{}
	if upper.equal(lower) {
		return dir, nil
	}
	above, errAbove := s.entries(upper)
	below, errBelow := s.entries(lower)
	if err := errors.Join(errAbove, errBelow); err != nil {
		return nil, err
	}
	for name, e := range above {
		if e.whiteout {
			continue
		}
		node, err := s.fullEntry(e, below[name])
		if err != nil {
			return nil, err
		}
		if node != nil {
			dir.Add(name, node)
		}
	}
	for name, e := range below {
		if !e.whiteout && (above[name] == nil || above[name].whiteout) {
			s.whiteouts = true
			dir.Add(name, hardlink.Whiteout())
		}
	}
	return dir, nil
}

func (s *scan) fullEntry(e, below *entry) (*hardlink.Node, error) {
	if below != nil && below.whiteout {
		below = nil
	}
	switch {
	case !e.isDir():
		return s.changedFile(e, below)
	case below == nil || !below.isDir():
		dir, err := s.full(e.dirs, nil)
		return &hardlink.Node{From: e.path, Dir: dir}, err
	default:
		dir, err := s.full(e.dirs, below.dirs)
		return s.changedDir(e, below, dir, err)
	}
}
