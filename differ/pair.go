package differ

import (
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/ladle-dev/ladle/store"
)

// pair is a snapshot and an ancestor of it, which are to be compared.
type pair struct {
	lower, upper layout
	top          []string // the directories that only upper has, the topmost first
	below        []lowerdir
	shown        []lowerdir // the trees of both sides
}

// lowerdir is one directory of a layout.
type lowerdir struct {
	path string
	tree store.Spec // without layers if it is no tree
}

func (l lowerdir) isTree() bool { return len(l.tree.Layers) > 0 }

// pairOf returns the pair of two mounts. ok is false if they are none, or without a lazily
// read layer.
func (d *Differ) pairOf(lower, upper []mount.Mount) (p pair, ok bool) {
	var lowerOK, upperOK bool
	p.lower, lowerOK = layoutOf(lower)
	p.upper, upperOK = layoutOf(upper)
	if !lowerOK || !upperOK || slices.Contains(p.lower.options, userxattr) != slices.Contains(p.upper.options, userxattr) && len(p.lower.dirs) > 1 {
		return p, false
	}
	p.below = d.lowerdirs(p.lower)
	all := d.lowerdirs(p.upper)
	for _, l := range slices.Concat(p.below, all) {
		if l.isTree() {
			p.shown = append(p.shown, l)
		}
	}
	parts, ok := partsOf(p.below)
	if !ok || len(p.shown) == 0 {
		return p, false
	}
	for n := range all {
		rest, ok := partsOf(all[n:])
		if !ok {
			return p, false
		}
		if slices.Equal(rest, parts) {
			p.top = p.upper.dirs[:n]
			return p, true
		}
	}
	return p, false
}

func (d *Differ) lowerdirs(l layout) []lowerdir {
	var all []lowerdir
	for _, dir := range l.dirs {
		spec, _ := d.opts.Trees.Shown(dir)
		all = append(all, lowerdir{dir, spec})
	}
	return all
}

// part is a directory, a layer, or a tree that is neither one layer nor several, one over the
// other.
type part struct {
	dir   string
	layer store.ID
	tree  store.SpecKey
}

// partsOf returns what lowerdirs consist of, the topmost first: a tree over several layers
// shows what a tree of each shows. That holds only if it is the lowest, or it would have no
// whiteouts for what is below it; ok is false for another one.
func partsOf(dirs []lowerdir) (parts []part, ok bool) {
	for i, l := range dirs {
		switch {
		case !l.isTree():
			parts = append(parts, part{dir: l.path})
		case l.tree.Kind == store.AsIs:
			parts = append(parts, part{layer: l.tree.Layers[0]})
		case l.tree.Kind == store.Lowest:
			if i < len(dirs)-1 {
				return nil, false
			}
			for _, id := range slices.Backward(l.tree.Layers) {
				parts = append(parts, part{layer: id})
			}
		default:
			spec := l.tree.Clone()
			spec.Again = 0
			parts = append(parts, part{tree: spec.Key()})
		}
	}
	return parts, true
}

// stillShown returns an error if a tree of p is not mounted any more. Then what was read in
// its directory says nothing.
func (d *Differ) stillShown(p pair) error {
	for _, l := range p.shown {
		if spec, ok := d.opts.Trees.Shown(l.path); !ok || !spec.Equal(l.tree) {
			return fmt.Errorf("%s: %w", l.path, errUnmounted)
		}
	}
	return nil
}

var errUnmounted = errors.New("a tree was unmounted while it was compared")
