package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// filling writes the data file of a sample layer.
func filling(t *testing.T, s *store.Store, seed int) *store.Filling {
	t.Helper()
	f, err := s.NewFilling()
	if err != nil {
		t.Fatal(err)
	}
	for n := range sampleContent(seed).NChunks {
		p := append(sampleBytes(seed, n), make([]byte, sampleStride-sampleChunk)...)
		if _, err := f.WriteAt(p, sampleOffset(n)); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func wantFull(t *testing.T, l *store.Layer, seed int) {
	t.Helper()
	if !l.Full() {
		t.Error("not full")
	}
	for n := range sampleContent(seed).NChunks {
		if err := verify(l, seed, n); err != nil {
			t.Error(err)
		}
	}
}

func TestFilling(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{BootID: "a"})
	l, err := filling(t, s, 1).Add(sampleID(1), sampleContent(1))
	if err != nil {
		t.Fatal(err)
	}
	wantFull(t, l, 1)
	closeLayer(t, l)
	again, err := filling(t, s, 1).Add(sampleID(1), sampleContent(1))
	if err != nil {
		t.Fatal(err)
	}
	if again.Number() != l.Number() {
		t.Error("a second layer of the same")
	}
	closeLayer(t, again)
	if err := filling(t, s, 2).Abandon(); err != nil {
		t.Error(err)
	}
	wantLeft(t, root, 0)
	filling(t, s, 3) // and the process is gone
	closeStore(t, s)
	s = open(t, root, store.Options{BootID: "a"})
	wantLeft(t, root, 0)
	l = layer(t, s, 1)
	wantFull(t, l, 1)
	closeLayer(t, l)
	closeStore(t, s)
	s = open(t, root, store.Options{BootID: "b"})
	l = layer(t, s, 1)
	wantState(t, l, 0, store.Doubtful)
	closeLayer(t, l)
}

// wantLeft fails the test unless there are n drafts.
func wantLeft(t *testing.T, root string, n int) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(root, "tmp"))
	if err != nil || len(left) != n {
		t.Errorf("%d drafts, %v", len(left), err)
	}
}

func TestFillingLeavesHoles(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	f, err := s.NewFilling()
	if err != nil {
		t.Fatal(err)
	}
	p := bytes.Clone(make([]byte, 8<<20))
	p[4<<20] = 1
	if _, err := f.WriteAt(p, 0); err != nil {
		t.Fatal(err)
	}
	c := sampleContent(1)
	c.DataSize = 8 << 20
	l, err := f.Add(sampleID(1), c)
	if err != nil {
		t.Fatal(err)
	}
	if used, _, err := s.Usage(sampleID(1)); err != nil || used > 1<<20 {
		t.Errorf("%d bytes on disk, %v", used, err)
	}
	closeLayer(t, l)
}

func TestImportedID(t *testing.T) {
	blob, diffID := sampleID(1).Blob, sampleID(2).Blob
	if id := store.Imported(blob, diffID); id.Imported() != diffID || id.Blob != blob || id == sampleID(1) {
		t.Errorf("%+v", id)
	}
	if d := sampleID(1).Imported(); d != "" {
		t.Errorf("%q", d)
	}
}
