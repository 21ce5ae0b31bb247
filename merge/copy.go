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
)

// ErrCopy says that a copy cannot be made of links, or would not be what a
// copier makes. The client can still copy.
var ErrCopy = errors.New("not a copy that links can make")

func refuse(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrCopy)...)
}

// Copying says where a copy is made from and what is below it.
type Copying struct {
	CopyRequest
	// Stack is the directories that show the snapshot From, and Below those
	// over which the copy will lie, the topmost first.
	Stack, Below []string
	// Lazy reports whether files of Stack[i] cannot be linked.
	Lazy func(i int) bool
}

// Copy is a copy of which source and target were found.
type Copy struct {
	*scan
	Copying
	source entry
	place  place
}

// FindCopy looks up the source and the target of a copy. The error is ErrCopy if
// a link is in the way of either, if the source is not there, or is neither a
// directory nor a regular file or not in directories alone, and if a copier
// would fail.
func FindCopy(ctx context.Context, c Copying, opts Options) (*Copy, error) {
	f := &Copy{scan: newScan(ctx, opts), Copying: c}
	if err := f.findSource(); err != nil {
		return nil, err
	}
	return f, f.findPlace()
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

// Sources returns which directories of the stack have what is copied.
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

// place is where a copy goes.
type place struct {
	// path is of the entry that is copied, and parents are the directories
	// above it that are there, the topmost first, without the root.
	path    string
	parents []*entry
	root    string // what shows the root below; empty: there is none
	below   *entry // what is at path; nil: nothing
}

// findPlace looks up what is at the target.
func (c *Copy) findPlace() error {
	target := path.Clean(c.Target)
	into := !c.source.isDir() && strings.HasSuffix(c.Target, "/")
	if into {
		target = path.Join(target, path.Base(c.Source))
	}
	if err := c.walk(target); err != nil {
		return err
	}
	if c.source.isDir() || c.place.below == nil || !c.place.below.isDir() {
		return c.checkPlace()
	}
	if into {
		return refuse("directory %s in place of a file", target)
	}
	if err := c.walk(path.Join(target, path.Base(c.Source))); err != nil {
		return err
	}
	return c.checkPlace()
}

// walk follows a path below, and notes what is there.
func (c *Copy) walk(target string) error {
	p := place{path: target}
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
	c.place = p
	return nil
}

// checkPlace refuses what a copier would refuse, and what would give entries
// other attributes than they have in the source.
func (c *Copy) checkPlace() error {
	p := c.place
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
	// What is made in such a directory gets its group.
	if st.Mode&unix.S_ISGID != 0 && p.below == nil {
		return refuse("%s is below a set-gid directory", p.path)
	}
	return c.inheritsNothing(last)
}

// inheritsNothing refuses a directory whose entries get access control lists
// from it when they are made.
func (c *Copy) inheritsNothing(dir string) error {
	_, err := unix.Lgetxattr(dir, "system.posix_acl_default", nil)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "getxattr", Path: dir, Err: err}
	}
	return refuse("%s has a default access control list", dir)
}

// Make makes the directory at path, which must not exist, that has the copy and
// the directories above it: over Below it shows what BuildKit's copier makes
// there. Nothing is on disk for sure when it returns.
func (c *Copy) Make(ctx context.Context, path string, links Links) (hardlink.Made, error) {
	w := copier{Copy: c, links: links, several: map[inode][]*hardlink.Node{}, apart: map[inode]bool{}}
	node, err := w.node(&c.source, c.place.below, c.place.path, c.Source)
	if err != nil {
		return hardlink.Made{}, err
	}
	w.keepTogether()
	if c.source.isDir() {
		node = c.top(node)
	}
	opts := hardlink.Options{UserXattr: c.opts.UserXattr, Unsynced: true}
	return hardlink.Make(ctx, path, c.parents(node), opts)
}

// top returns the node of the directory at the target itself, which has of the
// source's attributes only the times.
func (c *Copy) top(node *hardlink.Node) *hardlink.Node {
	top := &hardlink.Node{Dir: node.Dir, Times: c.source.path}
	if below := c.place.below; below != nil {
		top.From = below.path
	}
	return top
}

// parents returns the root above node. Parents that are there are copied up;
// the lowest of them is touched if an entry of it is made.
func (c *Copy) parents(node *hardlink.Node) *hardlink.Node {
	names := slices.Collect(components(c.place.path))
	made := !c.source.isDir() || c.place.below == nil
	for i := len(names) - 1; i >= 0; i-- {
		dir := &hardlink.Dir{}
		dir.Add(names[i], node)
		node = &hardlink.Node{Dir: dir}
		if i > 0 && i <= len(c.place.parents) {
			node.From = c.place.parents[i-1].path
			node.Touched = made && i == len(c.place.parents)
		}
	}
	// The root's own attributes are for whoever makes snapshots.
	node.From, node.Under = "", nil
	return node
}
