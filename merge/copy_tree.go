package merge

import (
	"path"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/tree"
)

// Links says which files of a copy may be links; the others are copied.
type Links struct {
	// Single: only files with a single name.
	Single bool
	// Alone reports whether the file at an absolute path must not have several
	// links. Nil: no file.
	Alone func(path string) bool
}

// copier builds the nodes of a copy.
type copier struct {
	*Copy
	links Links
	// linked are the nodes of files with several names, and unlinkable the
	// inodes of those that must be copied.
	linked     map[tree.FileID][]*hardlink.Node
	unlinkable map[tree.FileID]bool
	bytes      int64 // in files that are copied
}

// maxCopied bounds the bytes in files that are copied. The client waits for the Prepare,
// and so may other clients: a copy with more of them is left to the client's copier.
const maxCopied = 64 << 20

// node returns the node of a copy of e at target. below is the existing entry at target;
// nil: none.
func (c *copier) node(e, below *entry, target, source string) (*hardlink.Node, error) {
	if below != nil && below.isDir() != e.isDir() {
		return nil, refuse("%s is of another type than the source", target)
	}
	if !e.isDir() {
		return c.file(e, target, source)
	}
	node := &hardlink.Node{From: e.path}
	var over union
	if below != nil {
		if err := c.checkNoDefaultACL(below.path); err != nil {
			return nil, err
		}
		node.Under, over = []string{below.path}, below.dirs
	}
	var err error
	node.Dir, err = c.dir(e.dirs, over, target, source)
	return node, err
}

func (c *copier) dir(from, over union, target, source string) (*hardlink.Dir, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, err
	}
	all, err := c.entries(from)
	if err != nil {
		return nil, err
	}
	dir := &hardlink.Dir{}
	for name, e := range all {
		if e.whiteout {
			continue
		}
		below, err := c.lookup(over, name)
		if err != nil {
			return nil, err
		}
		if below != nil && below.whiteout {
			below = nil
		}
		node, err := c.node(e, below, path.Join(target, name), path.Join(source, name))
		if err != nil {
			return nil, err
		}
		dir.Add(name, node)
	}
	return dir, nil
}

// file returns the node of a copy of e, which is not a directory. BuildKit's copier makes
// regular files of sockets, character devices of block devices, and two files of two
// names of one symbolic link or device.
func (c *copier) file(e *entry, target, source string) (*hardlink.Node, error) {
	node := &hardlink.Node{From: e.path}
	switch e.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK, unix.S_IFIFO, unix.S_IFCHR:
		node.Anew, node.Single = true, true
		return node, nil
	default:
		return nil, refuse("%s is a socket or a block device", source)
	}
	alone := c.links.Alone != nil && (c.links.Alone(target) || c.links.Alone(source))
	node.Anew = alone || c.links.Single && e.st.Nlink > 1
	ino := tree.FileIDOf(&e.st)
	if node.Anew && !c.unlinkable[ino] {
		if c.bytes += e.st.Size; c.bytes > maxCopied {
			return nil, refuse("more than %d bytes of %s cannot be links", maxCopied, c.Source)
		}
	}
	if e.st.Nlink > 1 {
		c.linked[ino] = append(c.linked[ino], node)
		c.unlinkable[ino] = c.unlinkable[ino] || node.Anew
	}
	return node, nil
}

// copyWhole makes copies of all names of a file if one of them must be copied, so that
// they go on to share an inode.
func (c *copier) copyWhole() {
	for ino, nodes := range c.linked {
		for _, node := range nodes {
			node.Anew = c.unlinkable[ino]
		}
	}
}
