package merge

import (
	"path"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
)

// Links say which files of a copy are links; others are copied.
type Links struct {
	// Single: only files that have no other name.
	Single bool
	// Alone reports whether the file at a path of the root file system must
	// have one name only. Nil: none.
	Alone func(path string) bool
}

// inode is what names a file on this machine.
type inode struct{ dev, ino uint64 }

// copier finds what a copy consists of.
type copier struct {
	*Copy
	links Links
	// several are the nodes of files with several names, and apart those of
	// them that must not be linked.
	several map[inode][]*hardlink.Node
	apart   map[inode]bool
	bytes   int64 // that are copied
}

// mostCopied is in bytes. Who asks for a copy waits for it, and others may wait
// for the end of that call: what is mostly not links is better left to a copier.
const mostCopied = 64 << 20

// node returns the node of a copy of e at target, where below is now: nil is
// nothing.
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
		if err := c.inheritsNothing(below.path); err != nil {
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

// file returns the node of what is no directory. BuildKit's copier makes files
// of sockets and character devices of block devices, and of two names of a
// symbolic link or a device two of them.
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
	ino := inode{e.st.Dev, e.st.Ino}
	if node.Anew && !c.apart[ino] {
		if c.bytes += e.st.Size; c.bytes > mostCopied {
			return nil, refuse("more than %d bytes of %s cannot be links", mostCopied, c.Source)
		}
	}
	if e.st.Nlink > 1 {
		c.several[ino] = append(c.several[ino], node)
		c.apart[ino] = c.apart[ino] || node.Anew
	}
	return node, nil
}

// keepTogether has all names of a file copied if one of them is.
func (c *copier) keepTogether() {
	for ino, nodes := range c.several {
		for _, node := range nodes {
			node.Anew = c.apart[ino]
		}
	}
}
