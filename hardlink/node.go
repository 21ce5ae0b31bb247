package hardlink

import (
	"maps"
	"slices"
)

// Node is one entry of a skeleton that is to be made.
type Node struct {
	// From is the path of what is mirrored. Nothing and no Dir: a whiteout.
	// Nothing and a Dir: a directory with default attributes (0755, owned by
	// the process).
	From string
	Dir  *Dir // of a directory; else nil
	// Anew asks for a file of its own in place of a link: for pipes and
	// sockets.
	Anew bool
}

// Dir is what a directory of a skeleton has.
type Dir struct {
	// Opaque hides directories of the same path in lower layers.
	Opaque  bool
	entries map[string]*Node
}

// Whiteout returns a node that hides what has the same name below.
func Whiteout() *Node { return &Node{} }

// IsWhiteout reports whether n hides what has the same name below.
func (n *Node) IsWhiteout() bool { return n.From == "" && n.Dir == nil }

// Add lets name stand for n.
func (d *Dir) Add(name string, n *Node) {
	if d.entries == nil {
		d.entries = map[string]*Node{}
	}
	d.entries[name] = n
}

// Len returns the number of entries.
func (d *Dir) Len() int { return len(d.entries) }

// names returns the names of all entries, sorted.
func (d *Dir) names() []string {
	return slices.Sorted(maps.Keys(d.entries))
}
