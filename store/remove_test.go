package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

func none(store.ID) bool { return false }

func remove(t *testing.T, s *store.Store, keep func(store.ID) bool) int64 {
	t.Helper()
	freed, err := s.Remove(t.Context(), keep)
	if err != nil {
		t.Fatal(err)
	}
	return freed
}

func TestRemove(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	ids := addIDs(t, s, 1, 2, 3)
	inUse := layer(t, s, 3)
	fill(t, inUse, 3, 1)
	gone := []store.Spec{
		over(ids[:1]...), over(ids[:2]...), {Layers: ids[:1]},
		{Kind: store.Diff, Layers: ids[1:2], Lower: ids[:1]},
	}
	stay := []store.Spec{
		over(ids[1:]...), over(ids[2:]...), {Layers: ids[1:2]},
		{Kind: store.Diff, Layers: ids[2:], Lower: ids[1:2]},
	}
	for _, spec := range slices.Concat(gone, stay) {
		addTree(t, s, spec)
	}
	l := layer(t, s, 1)
	for n := range sampleChunks {
		fill(t, l, 1, n)
	}
	used, _, err := s.Usage(l.ID())
	if err != nil {
		t.Fatal(err)
	}
	closeLayer(t, l)

	keep2 := func(id store.ID) bool { return id == ids[1] }
	if freed := remove(t, s, keep2); freed < used {
		t.Errorf("freed %d bytes of %d", freed, used)
	}
	wantNotFound(t, s, 1)
	for _, spec := range gone {
		wantNoTree(t, s, spec)
	}
	for _, spec := range stay {
		checkTree(t, s, spec)
	}
	if err := verify(inUse, 3, 1); err != nil {
		t.Error(err)
	}
	if freed := remove(t, s, keep2); freed != 0 {
		t.Errorf("freed %d bytes of nothing", freed)
	}
	closeLayer(t, inUse)
	remove(t, s, none)
	for _, dir := range []string{"layers", "trees", "tmp"} {
		if left, _ := os.ReadDir(filepath.Join(root, dir)); len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
	l = add(t, s, 1)
	defer closeLayer(t, l)
	wantState(t, l, 0, store.Absent)
	if l.Number() <= 3 {
		t.Errorf("number %d again", l.Number())
	}
}

// TestUnused: when a layer is closed that Remove left, its caller is told to remove
// it, and of no other layer.
func TestUnused(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	ids := addIDs(t, s, 1, 2)
	told := func() bool {
		select {
		case <-s.Unused():
			return true
		default:
			return false
		}
	}
	first, again, other := layer(t, s, 1), layer(t, s, 1), layer(t, s, 2)
	remove(t, s, func(id store.ID) bool { return id == ids[1] })
	closeLayer(t, other)
	closeLayer(t, first)
	if told() {
		t.Error("told of a layer that is open, or was not to be removed")
	}
	closeLayer(t, again)
	if !told() {
		t.Error("not told of the layer that was left")
	}
	closeLayer(t, layer(t, s, 1))
	if told() {
		t.Error("told twice")
	}
	remove(t, s, none)
	if left := s.Layers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestRemoveStops(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	addIDs(t, s, 1, 2, 3)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Remove(ctx, func(store.ID) bool { cancel(); return false })
	if !errors.Is(err, context.Canceled) || len(s.Layers()) != 2 {
		t.Errorf("%v; %d layers left", err, len(s.Layers()))
	}
}

// TestTreeWithoutItsLayerGoes: a layer that was lost takes its trees along at
// the next start.
func TestTreeWithoutItsLayerGoes(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	ids := addIDs(t, s, 1, 2)
	addTree(t, s, over(ids...))
	addTree(t, s, store.Spec{Kind: store.Diff, Layers: ids[1:], Lower: ids[:1]})
	addTree(t, s, over(ids[1:]...))
	closeStore(t, s)
	if err := os.RemoveAll(filepath.Join(root, "layers/1")); err != nil {
		t.Fatal(err)
	}
	s = open(t, root, store.Options{})
	checkTree(t, s, over(ids[1:]...))
	if left, _ := os.ReadDir(filepath.Join(root, "trees")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// TestRemoveWhileOthersWork: whatever is removed when, who opened a layer can
// use it, and who did not gets ErrNotFound or a new one.
func TestRemoveWhileOthersWork(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 30 {
			seed := i % 4
			l := add(t, s, seed)
			fill(t, l, seed, i%sampleChunks)
			if err := verify(l, seed, i%sampleChunks); err != nil {
				t.Error(err)
			}
			addTree(t, s, over(sampleID(seed)))
			closeLayer(t, l)
			if _, err := s.AddTree(t.Context(), over(sampleID(seed), sampleID((seed+1)%4)), 1000, writeImage); err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
		}
	}()
	for {
		remove(t, s, none)
		select {
		case <-done:
			return
		default:
		}
	}
}
