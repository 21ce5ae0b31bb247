package store_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// What a layer lacks is the same whether it is open, closed, or of an earlier process, and is
// found out anew after somebody had it open.
func TestLacks(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{BootID: "one"})
	if _, err := s.Lacks(sampleID(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of a layer that is not there: %v", err)
	}
	wants := func(chunks bool, sources ...string) {
		t.Helper()
		for range 2 { // the second answer is remembered
			got, err := s.Lacks(sampleID(1))
			if err != nil || got.Chunks != chunks || !slices.Equal(got.Sources, sources) {
				t.Errorf("it lacks %+v, %v; want %t, %q", got, err, chunks, sources)
			}
			slices.Sort(got.Sources) // the caller's own
		}
	}
	const one, two = "example.org/image:1", "a.example/image:2"
	l := add(t, s, 1)
	wants(true, one)
	for n := range sampleChunks {
		fill(t, l, 1, n)
	}
	wants(false, one)
	if err := l.Mark(3, store.Absent); err != nil {
		t.Fatal(err)
	}
	closeLayer(t, l)
	wants(true, one)

	l = layer(t, s, 1)
	fill(t, l, 1, 3)
	if err := l.AddSource(two); err != nil {
		t.Fatal(err)
	}
	wants(false, two, one)
	closeLayer(t, l)
	wants(false, two, one)
	closeStore(t, s)
	s = open(t, root, store.Options{BootID: "one"})
	wants(false, two, one)
	closeStore(t, s)
	s = open(t, root, store.Options{BootID: "two"}) // chunks are doubtful
	wants(true, two, one)
}
