package hardlink

import (
	"iter"
	"maps"
	"slices"
)

// Node is one entry of a skeleton: a whiteout, a directory, or a link or copy.
type Node struct {
	// From is the path of the source. If it is empty, the node is a whiteout, or,
	// with Dir, a directory with default attributes (0755, owned by the process).
	From string
	Dir  *Dir // the entries of a directory; else nil
	// Under are paths of directories, the lowest first, that are mirrored before From:
	// the directory has their extended attributes where From has none of the name.
	Under []string
	// Anew asks for a copy in place of a link; pipes and sockets need it. Names that
	// share an inode among the sources share one among the copies, unless they are
	// Single.
	Anew, Single bool
	// Times is the path of the directory that the times are mirrored from; empty: From.
	// If Touched, mtime is the time of creation instead.
	Times   string
	Touched bool
}

// Dir is the content of a directory of a skeleton.
type Dir struct {
	// Opaque hides directories of the same path in lower layers.
	Opaque  bool
	entries map[string]*Node
}

// Whiteout returns the node of a whiteout: it hides the entry of that name in lower
// layers.
func Whiteout() *Node { return &Node{} }

// IsWhiteout reports whether n is a whiteout.
func (n *Node) IsWhiteout() bool { return n.From == "" && n.Dir == nil }

// Add adds the entry name, or replaces it.
func (d *Dir) Add(name string, n *Node) {
	if d.entries == nil {
		d.entries = map[string]*Node{}
	}
	d.entries[name] = n
}

// All iterates over the entries, in random order.
func (d *Dir) All() iter.Seq2[string, *Node] { return maps.All(d.entries) }

// Len returns the number of entries.
func (d *Dir) Len() int { return len(d.entries) }

// names returns the names of all entries, sorted.
func (d *Dir) names() []string {
	return slices.Sorted(maps.Keys(d.entries))
}
