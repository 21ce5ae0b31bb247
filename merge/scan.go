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

// Options configure how lowerdirs are read.
type Options struct {
	// UserXattr: the extended attributes of overlayfs are user.overlay.*, as with
	// the mount option userxattr, and not trusted.overlay.*.
	UserXattr bool
	// Apart: regular files with several names are copied, since another name may
	// be in a lowerdir that is mounted together with the diff.
	Apart bool
}

// Diff is a clean diff between two sides: a directory that, as a lowerdir over any other,
// has the effect of the changes that BuildKit's differ would emit.
type Diff struct {
	// AsIs: the scanned directory itself is the clean diff.
	AsIs bool
	// Whiteouts: the diff has whiteouts.
	Whiteouts bool
	// Attributed are the paths of its directories with extended attributes that
	// count for Accumulate.
	Attributed []string
	// From are the input directories that files of the diff are links to.
	From []string
	// Of are the numbers of the snapshots that have these files. The caller may set
	// them before Make, which stores them with the directory: see the function Of.
	// Nil: unknown.
	Of []uint64

	root *hardlink.Node
	opts Options
}

// Empty reports whether the sides do not differ.
func (d *Diff) Empty() bool { return d.root.Dir.Len() == 0 }

// Make creates the directory path with the diff; path must not exist. See hardlink.Make.
func (d *Diff) Make(ctx context.Context, path string) (hardlink.Made, error) {
	opts := hardlink.Options{UserXattr: d.opts.UserXattr}
	if value, ok := encodeOf(d.Of); ok && d.Of != nil {
		opts.Marks = map[string]string{ofMark: value}
	}
	return hardlink.Make(ctx, path, d.root, opts)
}

// Scan finds the clean diff in own, the directory of the layer that the upper of two
// adjacent sides has above the lower one. lower are the directories of the lower side,
// the topmost first. An entry is looked up in lower only if own has it; contents are
// compared only where attributes do not decide: see same. The attributes of the root are
// not part of a diff.
//
// The directories must not be written to during the call and until Diff.Make has
// returned; a hardlink.Pool may replace files in them, except with Options.Apart. The
// error wraps ErrRedirect if a directory has a redirect or a file has no contents, else
// it is an *os.PathError (ESTALE if an entry vanished) or that of ctx.
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

// Compare finds the clean diff between two sides, each given as the directories of its
// stack, the topmost first. A directory that both sides stack in the same way is not
// read. The conditions and errors are those of Scan.
func Compare(ctx context.Context, lower, upper []string, opts Options) (*Diff, error) {
	s := newScan(ctx, opts)
	root, err := s.full(upper, lower)
	if err != nil {
		return nil, err
	}
	return s.diff(root, false)
}

// scan is the state of one call of Scan, Compare, Squash, Accumulate or FindCopy.
type scan struct {
	ctx       context.Context
	opts      Options
	marked    map[string]marks // cache, by directory
	metacopy  bool             // files may be without contents: see metacopyDefault
	clean     bool             // so far, the scanned layer equals its clean diff
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

// layer returns the changes that the directory dir of a layer makes to lower. An entry
// that dir does not have is unchanged.
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
	changes := &hardlink.Dir{}
	for _, d := range list {
		path := filepath.Join(dir, d.Name())
		if len(lower) == 0 && !m.xwhiteouts && isPlain(d.Type()) && !s.metacopy && !s.opts.Apart {
			changes.Add(d.Name(), &hardlink.Node{From: path})
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
		changes.Add(d.Name(), node)
		if node.IsWhiteout() && s.clean {
			// Without it the kernel lists the whiteout: see hardlink.
			if s.clean, err = s.hasMark(dir, "origin"); err != nil {
				return nil, err
			}
		}
	}
	return changes, nil
}

// isPlain reports whether an entry of that type is part of a diff as it is, if lower has
// no entry of the name.
func isPlain(t fs.FileMode) bool { return t.IsRegular() || t == fs.ModeSymlink }

// changed returns the node of an entry of a layer, or nil if it is not part of the clean
// diff. below is the entry of the lower side; nil: none.
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
		s.clean = s.clean && !e.opaque
		dir, err := s.layer(e.path, nil)
		return &hardlink.Node{From: e.path, Dir: dir}, err
	case e.opaque:
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

// changedDir returns the node of a directory that both sides have; dir are its changed
// entries.
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

// full returns the difference of upper and lower. An entry that upper does not have is
// deleted.
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
