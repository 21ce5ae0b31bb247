package stack

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/store"
)

// format is the version of stored. The first version had no number: it does not say of which
// snapshots lowers have inodes (hardlink.Unknown).
const format = 1

// stored is the encoding of a Stack. The identity of a layer is in it once, and lowers
// refer to it by its index in Layers.
type stored struct {
	Format int           `json:",omitempty"`
	Layers []store.ID    `json:",omitempty"`
	Lowers []storedLower `json:",omitempty"`
	Bare   bool          `json:",omitempty"`
}

type storedLower struct {
	ID    uint64       `json:",string,omitempty"` // Lower.Snapshot
	Part  string       `json:",omitempty"`
	Diff  string       `json:",omitempty"`
	Kind  store.Kind   `json:",omitempty"`
	Over  []int        `json:",omitempty"` // store.Spec.Layers
	From  []int        `json:",omitempty"` // store.Spec.Lower
	Parts []store.Part `json:",omitempty"` // store.Spec.Parts
	Of    []uint64     `json:",omitempty"` // Lower.Of
}

// Encode returns s as JSON with a version. store.Spec.Again is not in it: it depends on
// the trees below.
func (s *Stack) Encode() (string, error) {
	indexes := map[store.ID]int{}
	out := stored{Format: format, Bare: s.Bare}
	indexesOf := func(layers []store.ID) (list []int) {
		for _, id := range layers {
			if _, ok := indexes[id]; !ok {
				indexes[id] = len(out.Layers)
				out.Layers = append(out.Layers, id)
			}
			list = append(list, indexes[id])
		}
		return list
	}
	for _, l := range s.Lowers {
		out.Lowers = append(out.Lowers, storedLower{
			ID: l.Snapshot, Part: l.Part, Diff: l.Diff, Kind: l.Tree.Kind,
			Over: indexesOf(l.Tree.Layers), From: indexesOf(l.Tree.Lower), Parts: l.Tree.Parts, Of: l.Of.List(),
		})
	}
	b, err := json.Marshal(out)
	return string(b), err
}

// Decode returns the Stack that Encode of this version or an earlier one wrote as value.
// The error is a durable.ErrLaterFormat if a later version did.
func Decode(value string) (*Stack, error) {
	var version struct{ Format uint64 } // a later version may have other types for the rest
	if err := json.Unmarshal([]byte(value), &version); err != nil {
		return nil, err
	}
	if version.Format > format {
		return nil, durable.LaterFormat(version.Format, format)
	}
	var in stored
	if err := json.Unmarshal([]byte(value), &in); err != nil {
		return nil, err
	}
	s := &Stack{Bare: in.Bare}
	for _, l := range in.Lowers {
		over, err := in.layersAt(l.Over)
		if err != nil {
			return nil, err
		}
		from, err := in.layersAt(l.From)
		if err != nil {
			return nil, err
		}
		s.Lowers = append(s.Lowers, Lower{
			Tree:     store.Spec{Kind: l.Kind, Layers: over, Lower: from, Parts: l.Parts},
			Snapshot: l.ID, Part: l.Part, Diff: l.Diff, Of: in.of(l),
		})
	}
	return s, nil
}

// of returns the snapshots of which the directory l has inodes.
func (s stored) of(l storedLower) hardlink.Sources {
	hasLinks := l.Diff != "" && l.Diff != Empty || l.Part != "" && !strings.HasPrefix(l.Part, skeletonPrefix)
	if s.Format < 1 && hasLinks {
		return hardlink.SourcesOf(hardlink.Unknown)
	}
	return hardlink.SourcesOf(l.Of...)
}

func (s stored) layersAt(indexes []int) ([]store.ID, error) {
	var layers []store.ID
	for _, i := range indexes {
		if i < 0 || i >= len(s.Layers) {
			return nil, fmt.Errorf("layer %d of %d", i, len(s.Layers))
		}
		layers = append(layers, s.Layers[i])
	}
	return layers, nil
}
