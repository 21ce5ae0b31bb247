package store_test

import (
	"errors"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// TestFull follows a layer from its first chunk to its last and back.
func TestFull(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{BootID: "one"})
	l := add(t, s, 1)
	for n := range sampleChunks {
		if l.Full() {
			t.Fatalf("full with %d of %d chunks", n, sampleChunks)
		}
		fill(t, l, 1, n)
		fill(t, l, 1, n)
	}
	if !l.Full() {
		t.Error("not full with all chunks")
	}
	for _, s := range []store.State{store.Absent, store.Absent, store.Doubtful} {
		if err := l.Mark(0, s); err != nil {
			t.Fatal(err)
		}
		if l.Full() {
			t.Errorf("full with a chunk that is %v", s)
		}
	}
	fill(t, l, 1, 0)
	if !l.Full() {
		t.Error("not full again")
	}
	closeLayer(t, l)
	closeStore(t, s)

	s = open(t, root, store.Options{BootID: "one"})
	l = layer(t, s, 1)
	if !l.Full() {
		t.Error("not full when opened again")
	}
	closeLayer(t, l)
	closeStore(t, s)

	s = open(t, root, store.Options{BootID: "two"})
	l = layer(t, s, 1)
	if l.Full() {
		t.Error("full after a reset")
	}
	closeLayer(t, l)
	closeStore(t, s)
}

// TestUsageWithoutOpening compares both ways to ask.
func TestUsageWithoutOpening(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	l := add(t, s, 1)
	fill(t, l, 1, 0)
	wantBytes, wantInodes, err := l.Usage()
	if err != nil {
		t.Fatal(err)
	}
	closeLayer(t, l)
	if bytes, inodes, err := s.Usage(sampleID(1)); bytes != wantBytes || inodes != wantInodes || err != nil {
		t.Errorf("%d bytes, %d inodes, %v, want %d and %d", bytes, inodes, err, wantBytes, wantInodes)
	}
	if _, _, err := s.Usage(sampleID(2)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
	closeStore(t, s)
}
