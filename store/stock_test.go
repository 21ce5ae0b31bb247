package store_test

import (
	"errors"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// TestStock has a layer with no, one and all chunks: open, closed, and after a reset of the
// machine.
func TestStock(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{BootID: "a"})
	if _, err := s.Stock(sampleID(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of a layer that is not there: %v", err)
	}
	content := sampleContent(1)
	wantStock := func(present int, open bool) {
		t.Helper()
		st, err := s.Stock(sampleID(1))
		if err != nil {
			t.Fatal(err)
		}
		if st.Present != present || st.Open != open || st.Chunks != content.NChunks || st.Size != content.DataSize || st.Bytes == 0 {
			t.Errorf("stock %+v; want %d of %d present, open %t", st, present, content.NChunks, open)
		}
	}
	l, err := s.Add(sampleID(1), content)
	if err != nil {
		t.Fatal(err)
	}
	wantStock(0, true)
	for n := range content.NChunks {
		if err := l.Fill(n, sampleOffset(n), sampleBytes(1, n)); err != nil {
			t.Fatal(err)
		}
		wantStock(n+1, true)
	}
	closeLayer(t, l)
	wantStock(content.NChunks, false)
	closeStore(t, s)
	s = open(t, root, store.Options{BootID: "b"})
	defer closeStore(t, s)
	wantStock(content.NChunks, false)
}
