package stack

import (
	"maps"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/store"
)

// Lower is one lowerdir: the tree of a Spec if that has layers, else a directory (Dirs).
type Lower struct {
	Tree store.Spec
	// Snapshot is the number of the snapshot with the directory: its upper directory,
	// or, if Part is not empty, the directory of that name beside the upper directory.
	// In the stack of a merge, a Part without a Snapshot is a directory of that merge.
	Snapshot uint64
	Part     string
	// Diff is the name of a clean diff that was made, or "".
	Diff string
	// Of are the snapshots of which a Diff or a Part has inodes. They are stored when
	// the directory is made.
	Of hardlink.Sources
}

// IsTree reports whether l is a tree.
func (l Lower) IsTree() bool { return len(l.Tree.Layers) > 0 }

// IsMade reports whether l is a directory that was made for a merge.
func (l Lower) IsMade() bool { return l.Diff != "" || l.Part != "" }

// IsUpper reports whether l is the upper directory of a snapshot.
func (l Lower) IsUpper() bool { return l.Snapshot != 0 && l.Part == "" }

// Sources returns the snapshots of which l shows inodes. A tree shows none.
func (l Lower) Sources() hardlink.Sources {
	switch {
	case l.IsTree():
		return nil
	case l.IsMade():
		return l.Of
	}
	return hardlink.SourcesOf(l.Snapshot)
}

// Equal reports whether l and m are the same directory or tree.
func (l Lower) Equal(m Lower) bool {
	return l.Snapshot == m.Snapshot && l.Part == m.Part && l.Diff == m.Diff && l.Tree.Equal(m.Tree)
}

// Sources returns the snapshots of which lowers show inodes.
func Sources(lowers []Lower) hardlink.Sources {
	all := hardlink.Sources{}
	for _, l := range lowers {
		maps.Copy(all, l.Sources())
	}
	return all
}

// Uppers returns the snapshots with an upper directory among lowers.
func Uppers(lowers []Lower) (ids []uint64) {
	for _, l := range lowers {
		if l.IsUpper() {
			ids = append(ids, l.Snapshot)
		}
	}
	return ids
}

// Layers returns the layers of the trees among lowers. A layer of several trees is
// returned several times.
func Layers(lowers []Lower) (layers []store.ID) {
	for _, l := range lowers {
		layers = append(layers, l.Tree.All()...)
	}
	return layers
}
