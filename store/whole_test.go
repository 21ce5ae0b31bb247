package store_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/store"
)

// wantWhole fails the test unless the layer is whole, or is not, and returns its data file.
func wantWhole(t *testing.T, l *store.Layer, want bool) string {
	t.Helper()
	path, ok, err := l.Whole()
	if err != nil || ok != want {
		t.Fatalf("whole: %v, %v; want %v", ok, err, want)
	}
	return path
}

func TestWhole(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{BootID: "one"})
	l := add(t, s, 1)
	for n := range sampleChunks {
		wantWhole(t, l, false)
		fill(t, l, 1, n)
	}
	path := wantWhole(t, l, true)
	before, err := os.ReadFile(path)
	if err != nil || int64(len(before)) != l.DataSize() {
		t.Fatalf("%d bytes of %d; %v", len(before), l.DataSize(), err)
	}
	// A run that was in progress brings a chunk again: it must not be written.
	if err := l.Fill(0, sampleOffset(0), make([]byte, sampleChunk)); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the data file was changed while others may read it; %v", err)
	}
	closeLayer(t, l)
	l = layer(t, s, 1)
	wantWhole(t, l, true)
	closeLayer(t, l)
	closeStore(t, s)

	// After a reset of the machine it is whole when its chunks are verified.
	s = open(t, root, store.Options{BootID: "two"})
	l = layer(t, s, 1)
	defer closeLayer(t, l)
	for n := range sampleChunks {
		wantWhole(t, l, false)
		if err := l.Mark(n, store.Present); err != nil {
			t.Fatal(err)
		}
	}
	wantWhole(t, l, true)
	if err := l.Damaged(errors.New("by the test")); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	wantWhole(t, l, false) // its file has no name any more
}

// TestLostIsNotWhole: a layer is not whole before its bytes are on disk.
func TestLostIsNotWhole(t *testing.T) {
	l := newLossy(t)
	l.fillAll(t)
	if path, ok, err := l.Whole(); !errors.Is(err, store.ErrLost) || ok {
		t.Fatalf("%q is whole (%v) although the disk could not keep it: %v", path, ok, err)
	}
	for n := range lossyChunks {
		wantState(t, l.Layer, n, store.Absent)
	}
	l.free()
	l.drain(t)
	wantWhole(t, l.Layer, false)
	l.fillAll(t)
	path := wantWhole(t, l.Layer, true)
	// As a filesystem reads it that has not read it before.
	if err := unix.Fadvise(int(l.data.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range lossyChunks {
		if !bytes.Equal(got[n*lossySize:(n+1)*lossySize], randomBytes(1, n, lossySize)) {
			t.Errorf("chunk %d has wrong bytes", n)
		}
	}
	l.check(t)
}
