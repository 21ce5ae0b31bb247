package snapshot

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/store"
)

// stackLabel keeps the stack of a merge, in the metadata and in the same
// transaction as all else about the snapshot. No client sees or sets it.
const stackLabel = ownPrefix + "stack"

// stack is what a merge shows above its parent.
type stack struct {
	lowers []lower // the lowest first
	// bare: the upper directory of the merge is not one of its lowers. It is
	// empty, and the root of the topmost lower will do.
	bare bool
}

// of returns the lowers of the merge id.
func (s *stack) of(id number) []lower {
	lowers := slices.Clone(s.lowers)
	for i := range lowers {
		if lowers[i].part != "" && lowers[i].id == 0 {
			lowers[i].id = id
		}
	}
	return lowers
}

// layers returns the layers of all trees, each as often as a tree is over it.
func (s *stack) layers() []store.ID {
	var layers []store.ID
	for _, l := range s.lowers {
		layers = append(layers, l.tree.All()...)
	}
	return layers
}

// stackFormat is the version of storedStack. Before the first one, which had no
// number, it was not written down of which snapshots a lower has inodes: of any.
const stackFormat = 1

// storedStack is a stack as it is written: a layer's identity once, then by
// its place.
type storedStack struct {
	Format int           `json:",omitempty"`
	Layers []store.ID    `json:",omitempty"`
	Lowers []storedLower `json:",omitempty"`
	Bare   bool          `json:",omitempty"`
}

type storedLower struct {
	ID    number       `json:",string,omitempty"`
	Part  string       `json:",omitempty"`
	Diff  string       `json:",omitempty"`
	Kind  store.Kind   `json:",omitempty"`
	Over  []int        `json:",omitempty"` // layers of a tree
	From  []int        `json:",omitempty"` // layers of its lower
	Parts []store.Part `json:",omitempty"` // of a stack of trees
	Of    []uint64     `json:",omitempty"` // snapshots of which a directory of links has inodes
}

func (s *stack) encode() (string, error) {
	places := map[store.ID]int{}
	out := storedStack{Format: stackFormat, Bare: s.bare}
	place := func(layers []store.ID) (list []int) {
		for _, id := range layers {
			if _, there := places[id]; !there {
				places[id] = len(out.Layers)
				out.Layers = append(out.Layers, id)
			}
			list = append(list, places[id])
		}
		return list
	}
	for _, l := range s.lowers {
		out.Lowers = append(out.Lowers, storedLower{
			l.id, l.part, l.diff, l.tree.Kind, place(l.tree.Layers), place(l.tree.Lower), l.tree.Parts, l.of.List(),
		})
	}
	b, err := json.Marshal(out)
	return string(b), err
}

func decodeStack(value string) (*stack, error) {
	var in storedStack
	if err := json.Unmarshal([]byte(value), &in); err != nil {
		return nil, err
	}
	if in.Format > stackFormat {
		return nil, fmt.Errorf("format %d of a later version", in.Format)
	}
	s := &stack{bare: in.Bare}
	for _, l := range in.Lowers {
		over, err := pick(in.Layers, l.Over)
		if err != nil {
			return nil, err
		}
		from, err := pick(in.Layers, l.From)
		if err != nil {
			return nil, err
		}
		s.lowers = append(s.lowers, lower{
			tree: store.Spec{Kind: l.Kind, Layers: over, Lower: from, Parts: l.Parts}, id: l.ID, part: l.Part, diff: l.Diff,
			of: in.of(l),
		})
	}
	return s, nil
}

// of returns the snapshots of which a directory of links has inodes.
func (s storedStack) of(l storedLower) hardlink.Sources {
	hasLinks := l.Diff != "" && l.Diff != emptyDiff || l.Part != "" && !strings.HasPrefix(l.Part, skeletonKind)
	if s.Format < 1 && hasLinks {
		return hardlink.SourcesOf(hardlink.Unknown)
	}
	return hardlink.SourcesOf(l.Of...)
}

func pick(layers []store.ID, places []int) ([]store.ID, error) {
	var picked []store.ID
	for _, i := range places {
		if i < 0 || i >= len(layers) {
			return nil, fmt.Errorf("layer %d of %d", i, len(layers))
		}
		picked = append(picked, layers[i])
	}
	return picked, nil
}

// stackOf returns the stack of a merge, and nil for other snapshots.
func stackOf(info snapshots.Info) (*stack, error) {
	value, ok := info.Labels[stackLabel]
	if !ok {
		return nil, nil
	}
	s, err := decodeStack(value)
	if err != nil {
		return nil, fmt.Errorf("stack of snapshot %q: %w: %w", info.Name, errdefs.ErrDataLoss, err)
	}
	return s, nil
}

// stackLabels returns the labels of a merge.
func stackLabels(s *stack) (map[string]string, error) {
	value, err := s.encode()
	return map[string]string{stackLabel: value, merge.AnswerLabel: "true"}, err
}
