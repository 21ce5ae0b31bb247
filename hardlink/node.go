package hardlink

import (
	"iter"
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
	// Under are directories whose attributes a directory gets before those
	// of From, the lowest first: extended ones that From has not stay.
	Under []string
	// Anew asks for a file of its own in place of a link: for pipes and
	// sockets. Names that share an inode in what is mirrored share one here,
	// too, unless they are Single.
	Anew, Single bool
	// Times is the path of what a directory has its times from; nothing: From.
	// One that is Touched has the time of modification of being made.
	Times   string
	Touched bool
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

// All iterates over the entries, in no order.
func (d *Dir) All() iter.Seq2[string, *Node] { return maps.All(d.entries) }

// Len returns the number of entries.
func (d *Dir) Len() int { return len(d.entries) }

// names returns the names of all entries, sorted.
func (d *Dir) names() []string {
	return slices.Sorted(maps.Keys(d.entries))
}
