package stack

import (
	"slices"

	"github.com/ladle-dev/ladle/store"
)

// Snapshot is one committed snapshot of a Chain.
type Snapshot struct {
	ID     uint64
	Remote bool     // its content is Layer
	Layer  store.ID // of a remote snapshot
	Stack  *Stack   // of a merge; else nil
}

// Chain is a committed snapshot and its ancestors, the lowest first. The empty snapshot has
// an empty Chain.
type Chain []Snapshot

// Top returns the number of the snapshot that c is the chain of; 0: the empty snapshot.
func (c Chain) Top() uint64 {
	if len(c) == 0 {
		return 0
	}
	return c[len(c)-1].ID
}

// Bottom returns the layers of the remote snapshots at the bottom of c, the lowest first.
func (c Chain) Bottom() []store.ID {
	var layers []store.ID
	for _, s := range c {
		if !s.Remote {
			break
		}
		layers = append(layers, s.Layer)
	}
	return layers
}

// Active returns the lowers of an active snapshot over c, the topmost first: all layers of
// Bottom are one tree. Layers above a local snapshot have a tree each, since the tree of
// several layers has no whiteouts for what is below it.
func (c Chain) Active() []Lower { return c.lowers(len(c.Bottom())) }

// View returns the lowers of a view of c, the topmost first: each layer has a tree. They
// are the lowers of the parent's view and, above them, what the last snapshot of c adds.
// The lowest tree has no whiteouts: it may be the only lower, and then nothing would
// apply them.
func (c Chain) View() []Lower { return c.lowers(min(len(c.Bottom()), 1)) }

// lowers returns the lowers over c, the topmost first, as overlayfs orders them. The
// lowest n snapshots, which are remote, have one tree.
//
// The kernel does not accept a directory twice in one mount (Linux fs/overlayfs/super.c,
// ovl_get_trap_inode: ELOOP), not even with two paths. An image can have one layer twice,
// and a merge can have the diff of one twice. The second time, a layer has a second tree
// that shows the same, so that a view always has the lowers of the parent's view and one
// more. A directory can be stacked twice in merges only: then the lower one is left out,
// since the upper one shows all of it.
func (c Chain) lowers(n int) []Lower {
	var lowers []Lower
	if n > 0 {
		lowers = append(lowers, Lower{Tree: store.Spec{Kind: store.Lowest, Layers: c.Bottom()[:n]}})
	}
	merged := false
	for _, s := range c[n:] {
		lowers = append(lowers, s.Lowers()...)
		merged = merged || s.Stack != nil
	}
	countTrees(lowers)
	slices.Reverse(lowers)
	if !merged {
		return lowers
	}
	var once []Lower
	for _, l := range lowers {
		if l.IsTree() || !slices.ContainsFunc(once, l.Equal) {
			once = append(once, l)
		}
	}
	return once
}

// countTrees sets Again of the trees among lowers, the lowest first, so that no two of
// them are the same tree.
func countTrees(lowers []Lower) {
	times := map[store.SpecKey]int{}
	for i, l := range lowers {
		if !l.IsTree() {
			continue
		}
		l.Tree.Again = 0
		key := l.Tree.Key()
		lowers[i].Tree.Again = times[key]
		times[key]++
	}
}

// Lowers returns what s adds to its parent, the lowest first.
func (s Snapshot) Lowers() []Lower {
	switch {
	case s.Remote:
		return []Lower{{Tree: store.Spec{Layers: []store.ID{s.Layer}}}}
	case s.Stack == nil:
		return []Lower{{Snapshot: s.ID}}
	case s.Stack.Bare:
		return s.Stack.LowersOf(s.ID)
	default:
		return append(s.Stack.LowersOf(s.ID), Lower{Snapshot: s.ID})
	}
}
