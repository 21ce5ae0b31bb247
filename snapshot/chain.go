package snapshot

import (
	"context"
	"maps"
	"slices"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/store"
)

// link is one committed snapshot of a chain.
type link struct {
	id     number
	layer  store.ID // of a remote snapshot
	remote bool
	stack  *stack // of a merge
}

// readChain returns the chain that ends in the snapshot name, the lowest
// first; without a name it is empty. It needs a transaction.
func readChain(ctx context.Context, name string) ([]link, error) {
	var chain []link
	for name != "" {
		l, parent, err := readLink(ctx, name)
		if err != nil {
			return nil, err
		}
		chain = append(chain, l)
		name = parent
	}
	slices.Reverse(chain)
	return chain, nil
}

func readLink(ctx context.Context, name string) (l link, parent string, err error) {
	id, info, _, err := storage.GetInfo(ctx, name)
	if err != nil {
		return link{}, "", err
	}
	l, err = linkOf(numberOf(id), info)
	return l, info.Parent, err
}

func linkOf(id number, info snapshots.Info) (l link, err error) {
	l.id = id
	l.layer, l.remote = layerOf(info)
	l.stack, err = stackOf(info)
	return l, err
}

// chains are the chains that were read in one transaction, by the name of the
// last snapshot.
type chains map[string][]link

// read is readChain.
func (c chains) read(ctx context.Context, name string) ([]link, error) {
	if chain, ok := c[name]; ok || name == "" {
		return chain, nil
	}
	l, parent, err := readLink(ctx, name)
	if err != nil {
		return nil, err
	}
	below, err := c.read(ctx, parent)
	if err != nil {
		return nil, err
	}
	c[name] = append(slices.Clip(below), l)
	return c[name], nil
}

// bottom returns the layers of the remote snapshots at the bottom of chain.
func bottom(chain []link) []store.ID {
	var layers []store.ID
	for _, l := range chain {
		if !l.remote {
			break
		}
		layers = append(layers, l.layer)
	}
	return layers
}

// lower is one lowerdir: a tree, or if that is over no layers a directory.
type lower struct {
	tree store.Spec
	// id is of the snapshot that has the directory, and part the directory's name
	// there; empty: the upper directory. In the stack of a merge no id stands for
	// the merge itself.
	id   number
	part string
	// diff is the name of a clean diff, if it is one that was made.
	diff string
	// of are the snapshots of which a clean diff or a part has inodes. It is
	// written down when these are made.
	of hardlink.Sources
}

func (l lower) isTree() bool { return len(l.tree.Layers) > 0 }

// isMade reports whether l is a directory that was made for a merge.
func (l lower) isMade() bool { return l.diff != "" || l.part != "" }

// sources returns the snapshots of which l shows inodes. A tree shows none.
func (l lower) sources() hardlink.Sources {
	switch {
	case l.isTree():
		return nil
	case l.isMade():
		return l.of
	}
	return hardlink.SourcesOf(uint64(l.id))
}

// sourcesIn returns the snapshots of which lowers show inodes.
func sourcesIn(lowers []lower) hardlink.Sources {
	all := hardlink.Sources{}
	for _, l := range lowers {
		maps.Copy(all, l.sources())
	}
	return all
}

func (l lower) equal(m lower) bool {
	return l.id == m.id && l.part == m.part && l.diff == m.diff && l.tree.Equal(m.tree)
}

// layersOf returns the layers of the trees among lowers.
func layersOf(lowers []lower) (layers []store.ID) {
	for _, l := range lowers {
		layers = append(layers, l.tree.All()...)
	}
	return layers
}

// lowersOf returns the lowers over chain, the topmost first, as overlayfs
// wants them. Only the bottom of a chain can be merged: a merged tree has no
// whiteouts for what is below it. A view has a tree of each layer, the lowest
// without whiteouts: it may be all there is, and then nothing applies them.
//
// The kernel takes no directory twice into one mount (Linux fs/overlayfs/super.c,
// ovl_get_trap_inode: ELOOP), whatever paths it has. An image can have one layer
// twice, and merges the diff of one. Of trees there is then a second one that shows
// the same, so that the lowers of a view are always those of its parent and one
// more. Of directories, which only merges can have twice, the lower one is left
// out: the upper one shows all that it would.
func lowersOf(kind snapshots.Kind, chain []link) []lower {
	lowest := bottom(chain)
	if kind == snapshots.KindView {
		lowest = lowest[:min(len(lowest), 1)]
	}
	var lowers []lower
	if len(lowest) > 0 {
		lowers = append(lowers, lower{tree: store.Spec{Kind: store.Lowest, Layers: lowest}})
	}
	for _, l := range chain[len(lowest):] {
		lowers = append(lowers, l.lowers()...)
	}
	countTrees(lowers)
	slices.Reverse(lowers)
	if !slices.ContainsFunc(chain, func(l link) bool { return l.stack != nil }) {
		return lowers
	}
	var once []lower
	for _, l := range lowers {
		if l.isTree() || !slices.ContainsFunc(once, l.equal) {
			once = append(once, l)
		}
	}
	return once
}

// countTrees makes each tree of lowers, the lowest first, one of its own.
func countTrees(lowers []lower) {
	times := map[store.SpecKey]int{}
	for i, l := range lowers {
		if !l.isTree() {
			continue
		}
		l.tree.Again = 0
		key := l.tree.Key()
		lowers[i].tree.Again = times[key]
		times[key]++
	}
}

// lowers returns what a snapshot has above its parent, the lowest first.
func (l link) lowers() []lower {
	switch {
	case l.remote:
		return []lower{{tree: store.Spec{Layers: []store.ID{l.layer}}}}
	case l.stack == nil:
		return []lower{{id: l.id}}
	case l.stack.bare:
		return l.stack.of(l.id)
	default:
		return append(l.stack.of(l.id), lower{id: l.id})
	}
}
