package store_test

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/store"
)

// allocated returns the bytes that the data file of the only layer in the store
// at root takes.
func allocated(t *testing.T, root string) int64 {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join(root, "layers/*/data"))
	if len(paths) != 1 {
		t.Fatal(paths)
	}
	var st unix.Stat_t
	if err := unix.Stat(paths[0], &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

func TestFillLeavesZerosAsHoles(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	const size = 1 << 20
	l, err := s.Add(sampleID(1), store.Content{DataSize: 4 * size, NChunks: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLayer(t, l)
	p := make([]byte, size)
	if err := l.Fill(0, 0, p); err != nil {
		t.Fatal(err)
	}
	if n := allocated(t, root); n != 0 {
		t.Errorf("a chunk of zeros takes %d bytes", n)
	}
	p[size/2+5000] = 1
	if err := l.Fill(1, size, p); err != nil {
		t.Fatal(err)
	}
	if n := allocated(t, root); n == 0 || n > 64<<10 {
		t.Errorf("a chunk with one block takes %d bytes", n)
	}
	for n := range 2 {
		wantState(t, l, n, store.Present)
	}
	got := make([]byte, size)
	if _, err := l.ReadAt(got, size); err != nil || !bytes.Equal(got, p) {
		t.Errorf("read differs: %v", err)
	}
}

func TestFillWritesZerosOverData(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	l := add(t, s, 1)
	defer closeLayer(t, l)
	for n := range sampleChunks {
		garbage := randomBytes(99, n, sampleChunk)
		if err := l.Fill(n, sampleOffset(n), garbage); err != nil {
			t.Fatal(err)
		}
		if err := l.Mark(n, store.Absent); err != nil {
			t.Fatal(err)
		}
		fill(t, l, 1, n)
		if err := verify(l, 1, n); err != nil {
			t.Error(err)
		}
	}
}

// TestFillAnyShape compares with a file that is written plainly.
func TestFillAnyShape(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	const size = 256 << 10
	const rounds = 400
	l, err := s.Add(sampleID(1), store.Content{DataSize: size, NChunks: rounds})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLayer(t, l)
	want := make([]byte, size)
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range rounds {
		off := rnd.IntN(size)
		p := want[off : off+rnd.IntN(min(size-off, 64<<10)+1)]
		for i := 0; i < len(p); i += 1000 + rnd.IntN(9000) {
			end := min(len(p), i+1000+rnd.IntN(9000))
			clear(p[i:end])
			if rnd.IntN(2) == 0 {
				p[i+rnd.IntN(end-i)] = 7
			}
		}
		if err := l.Fill(n, int64(off), p); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, size)
	if _, err := l.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("data file differs: %v", err)
	}
}

func TestFillOutOfBounds(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	l := add(t, s, 1)
	defer closeLayer(t, l)
	for _, c := range []struct {
		n    int
		off  int64
		size int
	}{
		{-1, 0, 1}, {sampleChunks, 0, 1}, {0, -1, 1},
		{0, l.DataSize(), 1}, {0, l.DataSize() - 1, 2}, {0, 1 << 62, 1},
	} {
		if err := l.Fill(c.n, c.off, make([]byte, c.size)); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	for n := range sampleChunks {
		wantState(t, l, n, store.Absent)
	}
}

func TestFillAtOnce(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	l := add(t, s, 1)
	defer closeLayer(t, l)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for n := range sampleChunks {
				if err := l.Fill(n, sampleOffset(n), sampleBytes(1, n)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for n := range sampleChunks {
				for l.State(n) != store.Present {
					runtime.Gosched()
				}
				if err := verify(l, 1, n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMark(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	l := add(t, s, 1)
	mark := func(n int, to, want store.State) {
		t.Helper()
		if err := l.Mark(n, to); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, n, want)
	}
	mark(0, store.Present, store.Absent) // nothing was filled in
	fill(t, l, 1, 1)
	mark(1, store.Doubtful, store.Doubtful)
	mark(1, store.Present, store.Present)
	fill(t, l, 1, 2)
	mark(2, store.Doubtful, store.Doubtful)
	fill(t, l, 1, 3)
	mark(3, store.Absent, store.Absent)
	if l.Mark(sampleChunks, store.Present) == nil || l.Mark(-1, store.Absent) == nil {
		t.Error("marked a chunk that the layer has not")
	}
	closeLayer(t, l)
	closeStore(t, s)
	l = layer(t, open(t, root, store.Options{}), 1)
	defer closeLayer(t, l)
	for n, want := range []store.State{store.Absent, store.Present, store.Doubtful, store.Absent} {
		wantState(t, l, n, want)
	}
}
