package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
)

// Spec says what a tree shows. An equal Spec is the same tree at any time.
type Spec struct {
	Kind   Kind
	Layers []ID // whose files it shows, the lowest first
	Lower  []ID // of a Diff: from what, the lowest first; none: from nothing
	// Parts are, of a Stack, its diffs, the lowest first: Layers and Lower are
	// theirs, one after the other. See StackOf.
	Parts []Part
	// Again makes a tree of its own that shows the same: the n-th beside the one
	// of 0. Overlayfs takes no directory twice into one stack, nor another path
	// to it.
	Again int
}

// Part is how many layers one diff of a Stack has.
type Part struct{ Layers, Lower int }

// Kind is the relation of a tree to the lowerdirs below it.
//
// The values are on disk: in the meta.json of tree images, and in the labels with the
// stacks of merges (package snapshot). A value must not change its meaning; new kinds get
// new values.
type Kind uint8

const (
	// AsIs is the tree of one layer with the whiteouts and opaque marks that
	// it has, for layers below it.
	AsIs Kind = iota
	// Lowest is the tree of layers without a lowerdir below them. It has no
	// whiteouts and opaque marks: they were applied, or had nothing to hide.
	Lowest
	// Diff is what makes the tree over Lower into the tree over Layers, both
	// with nothing below them, as a lowerdir of overlayfs over any tree: see
	// tree.Diff.
	Diff
	// Stack is several such diffs as one, for over any tree, too: see
	// tree.Stack.
	Stack
)

// StackOf returns the Stack of trees, the lowest first, each a Diff or a Stack.
func StackOf(trees ...Spec) Spec {
	s := Spec{Kind: Stack}
	for _, t := range trees {
		s.Layers, s.Lower = append(s.Layers, t.Layers...), append(s.Lower, t.Lower...)
		if t.Kind == Stack {
			s.Parts = append(s.Parts, t.Parts...)
		} else {
			s.Parts = append(s.Parts, Part{len(t.Layers), len(t.Lower)})
		}
	}
	return s
}

// Diffs returns the diffs of a Stack that passes Check.
func (s Spec) Diffs() []Spec {
	var diffs []Spec
	layers, lower := s.Layers, s.Lower
	for _, p := range s.Parts {
		diffs = append(diffs, Spec{Kind: Diff, Layers: layers[:p.Layers:p.Layers], Lower: lower[:p.Lower:p.Lower]})
		layers, lower = layers[p.Layers:], lower[p.Lower:]
	}
	return diffs
}

// All returns the layers that the tree is made from. For as long as something
// may mount it, all are to be kept: see Store.Remove.
func (s Spec) All() []ID { return slices.Concat(s.Layers, s.Lower) }

// Clone returns a Spec that shares nothing with s.
func (s Spec) Clone() Spec {
	s.Layers, s.Lower, s.Parts = slices.Clone(s.Layers), slices.Clone(s.Lower), slices.Clone(s.Parts)
	return s
}

// Equal reports whether two Specs say the same.
func (s Spec) Equal(t Spec) bool {
	return s.Kind == t.Kind && slices.Equal(s.Layers, t.Layers) && slices.Equal(s.Lower, t.Lower) &&
		slices.Equal(s.Parts, t.Parts) && s.Again == t.Again
}

// SpecKey stands for a Spec, as a key of maps.
type SpecKey [sha256.Size]byte

// Key is equal for equal Specs only.
func (s Spec) Key() (key SpecKey) {
	h := sha256.New()
	number := func(n int) { h.Write(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
	number(int(s.Kind))
	for _, layers := range [][]ID{s.Layers, s.Lower} {
		number(len(layers))
		for _, id := range layers {
			for _, s := range []string{id.Blob.String(), id.TOC.String()} {
				number(len(s))
				h.Write([]byte(s))
			}
		}
	}
	for _, p := range s.Parts {
		number(p.Layers)
		number(p.Lower)
	}
	number(s.Again)
	h.Sum(key[:0])
	return key
}

// Check returns an error for what is no tree.
func (s Spec) Check() error {
	switch {
	case s.Kind > Stack:
		return errors.New("tree of no known kind")
	case s.Again < 0:
		return errors.New("tree that is there less than once")
	case len(s.Layers) == 0:
		return errors.New("tree over no layers")
	case s.Kind == AsIs && len(s.Layers) > 1:
		return errors.New("tree over several layers as they are")
	case s.Kind < Diff && len(s.Lower) > 0:
		return errors.New("tree with a lower that is no diff")
	case s.Kind != Stack && len(s.Parts) > 0:
		return errors.New("tree of parts that is no stack")
	case s.Kind == Stack:
		return s.checkParts()
	}
	return nil
}

func (s Spec) checkParts() error {
	layers, lower := len(s.Layers), len(s.Lower)
	for _, p := range s.Parts {
		if p.Layers < 1 || p.Layers > layers || p.Lower < 0 || p.Lower > lower {
			return errors.New("stack with a part of too few layers, or too many")
		}
		layers, lower = layers-p.Layers, lower-p.Lower
	}
	if layers+lower > 0 {
		return errors.New("stack with layers of no part")
	}
	return nil
}
