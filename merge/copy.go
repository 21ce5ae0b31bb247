package merge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/tree"
)

// ErrCopy is the error of a copy that cannot be made of hard links, or would differ from
// what BuildKit's copier makes. The client can still copy.
var ErrCopy = errors.New("the copy cannot be made of hard links")

func refuse(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrCopy)...)
}

// Copying is the request of a copy with the lowerdirs of the snapshots concerned.
type Copying struct {
	CopyRequest
	// Stack are the lowerdirs of the snapshot From, and Below the lowerdirs that
	// the copy will be stacked over, the topmost first.
	Stack, Below []string
	// Lazy reports whether Stack[i] is a lazy layer: its files cannot be linked.
	Lazy func(i int) bool
}

// Copy is a copy with its source and target looked up.
type Copy struct {
	*scan
	Copying
	source entry
	dest   dest
}

// FindCopy looks up source and target of a copy. The error wraps ErrCopy if:
//
//   - a symbolic link is on the path of the source or the target,
//   - the source does not exist, is neither a directory nor a regular file, or has files
//     in a lazy layer,
//   - a copier would fail,
//   - an entry would inherit an access control list or a group from its parent directory.
func FindCopy(ctx context.Context, c Copying, opts Options) (*Copy, error) {
	f := &Copy{scan: newScan(ctx, opts), Copying: c}
	if err := f.findSource(); err != nil {
		return nil, err
	}
	return f, f.findDest()
}

func (c *Copy) findSource() error {
	u := union(c.Stack)
	for name := range components(c.Source) {
		e, err := c.lookup(u, name)
		if err != nil {
			return err
		}
		if e == nil || e.whiteout {
			return refuse("no source %s", c.Source)
		}
		c.source, u = *e, e.dirs
	}
	if c.source.path == "" { // the root
		var err error
		if c.source, err = rootOf(u); err != nil {
			return err
		}
	}
	if !c.source.isDir() && c.source.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return refuse("source %s is neither a directory nor a file", c.Source)
	}
	for _, i := range c.Sources() {
		if c.Lazy(i) {
			return refuse("source %s is lazy", c.Source)
		}
	}
	return nil
}

func rootOf(u union) (entry, error) {
	root := entry{path: u[0], dirs: u}
	if err := unix.Lstat(root.path, &root.st); err != nil {
		return root, &os.PathError{Op: "lstat", Path: root.path, Err: err}
	}
	return root, nil
}

// Sources returns the indexes in Stack of the directories that have the source.
func (c *Copy) Sources() (at []int) {
	paths := c.source.dirs
	if !c.source.isDir() {
		paths = []string{c.source.path}
	}
	for i, dir := range c.Stack {
		if slices.Contains(paths, filepath.Join(dir, c.Source)) {
			at = append(at, i)
		}
	}
	return at
}

// components iterates over the names in a path.
func components(p string) func(func(string) bool) {
	return strings.FieldsFuncSeq(p, func(r rune) bool { return r == '/' })
}

// dest is the target of a copy.
type dest struct {
	// path is the path of the copied entry. parents are its existing parent
	// directories in Below, beginning with the one in the root.
	path    string
	parents []*entry
	root    string // directory of the root in Below; empty: Below is empty
	below   *entry // existing entry at path; nil: none
}

// findDest looks up the target.
func (c *Copy) findDest() error {
	target := path.Clean(c.Target)
	into := !c.source.isDir() && strings.HasSuffix(c.Target, "/")
	if into {
		target = path.Join(target, path.Base(c.Source))
	}
	if err := c.walk(target); err != nil {
		return err
	}
	if c.source.isDir() || c.dest.below == nil || !c.dest.below.isDir() {
		return c.checkDest()
	}
	if into {
		return refuse("directory %s in place of a file", target)
	}
	if err := c.walk(path.Join(target, path.Base(c.Source))); err != nil {
		return err
	}
	return c.checkDest()
}

// walk looks up a path in Below.
func (c *Copy) walk(target string) error {
	p := dest{path: target}
	u := union(c.Below)
	names := slices.Collect(components(target))
	if len(u) > 0 {
		p.root = u[0]
	}
	if len(u) > 0 && len(names) == 0 {
		root, err := rootOf(u)
		if err != nil {
			return err
		}
		p.below = &root
	}
	for i, name := range names {
		e, err := c.lookup(u, name)
		if err != nil {
			return err
		}
		if e == nil || e.whiteout {
			break
		}
		if i == len(names)-1 {
			p.below = e
			break
		}
		if !e.isDir() {
			return refuse("target %s is below no directory", target)
		}
		p.parents, u = append(p.parents, e), e.dirs
	}
	c.dest = p
	return nil
}

// checkDest refuses a target for which a copier fails, and one that would give the copied
// entries other attributes than in the source.
func (c *Copy) checkDest() error {
	p := c.dest
	if p.path == "/" && !c.source.isDir() {
		return refuse("a file in place of the root")
	}
	if p.below != nil && (p.below.isDir() != c.source.isDir() || p.below.st.Mode&unix.S_IFMT == unix.S_IFLNK) {
		return refuse("%s is of another type than the source", p.path)
	}
	last := p.root
	if n := len(p.parents); n > 0 {
		last = p.parents[n-1].path
	}
	if last == "" {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(last, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: last, Err: err}
	}
	// An entry that is created in such a directory gets the directory's group.
	if st.Mode&unix.S_ISGID != 0 && p.below == nil {
		return refuse("%s is below a set-gid directory", p.path)
	}
	return c.checkNoDefaultACL(last)
}

// checkNoDefaultACL refuses a directory with a default access control list, which new
// entries inherit.
func (c *Copy) checkNoDefaultACL(dir string) error {
	_, found, err := xattr(dir, "system.posix_acl_default")
	if err != nil || !found {
		return err
	}
	return refuse("%s has a default access control list", dir)
}

// Make creates the directory path, which must not exist, with the copy and its parent
// directories: as a lowerdir over Below it shows what BuildKit's copier makes. It does
// not wait for the disk.
func (c *Copy) Make(ctx context.Context, path string, links Links) (hardlink.Made, error) {
	w := copier{Copy: c, links: links, linked: map[tree.FileID][]*hardlink.Node{}, unlinkable: map[tree.FileID]bool{}}
	node, err := w.node(&c.source, c.dest.below, c.dest.path, c.Source)
	if err != nil {
		return hardlink.Made{}, err
	}
	w.copyWhole()
	if c.source.isDir() {
		node = c.top(node)
	}
	opts := hardlink.Options{UserXattr: c.opts.UserXattr, Unsynced: true}
	return hardlink.Make(ctx, path, c.parents(node), opts)
}

// top returns the node of the target directory itself, which gets only the times of the
// source.
func (c *Copy) top(node *hardlink.Node) *hardlink.Node {
	top := &hardlink.Node{Dir: node.Dir, Times: c.source.path}
	if below := c.dest.below; below != nil {
		top.From = below.path
	}
	return top
}

// parents returns the root, with node at the path of the target. Existing parents are
// copied up; the lowest gets a new time of modification if an entry is added to it.
func (c *Copy) parents(node *hardlink.Node) *hardlink.Node {
	names := slices.Collect(components(c.dest.path))
	made := !c.source.isDir() || c.dest.below == nil
	for i := len(names) - 1; i >= 0; i-- {
		dir := &hardlink.Dir{}
		dir.Add(names[i], node)
		node = &hardlink.Node{Dir: dir}
		if i > 0 && i <= len(c.dest.parents) {
			node.From = c.dest.parents[i-1].path
			node.Touched = made && i == len(c.dest.parents)
		}
	}
	// Package snapshot sets the attributes of the root.
	node.From, node.Under = "", nil
	return node
}
