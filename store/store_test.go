package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/store"
)

// Sample layers have sampleChunks chunks of sampleChunk bytes, each at a
// multiple of sampleStride in the data file.
const (
	sampleChunks = 24
	sampleChunk  = 3*4096 + 100
	sampleStride = 4 * 4096
)

func sampleID(seed int) store.ID {
	return store.ID{
		Blob: digest.FromString(fmt.Sprint("blob", seed)),
		TOC:  digest.FromString(fmt.Sprint("toc", seed)),
	}
}

func sampleContent(seed int) store.Content {
	return store.Content{
		DataSize: sampleChunks * sampleStride,
		Chunks:   randomBytes(seed, -1, 10000),
		NChunks:  sampleChunks,
		Entries:  randomBytes(seed, -2, 20000),
		Sources:  []string{fmt.Sprintf("example.org/image:%d", seed)},
		DiffID:   digest.FromString(fmt.Sprint("diff", seed)),
	}
}

// sampleBytes returns the n-th chunk: random bytes, of each third chunk the
// second block is zeros, and each seventh chunk is zeros but for its end.
func sampleBytes(seed, n int) []byte {
	p := randomBytes(seed, n, sampleChunk)
	if n%3 == 0 {
		clear(p[4096:8192])
	}
	if n%7 == 0 {
		clear(p[:3*4096])
	}
	return p
}

func sampleOffset(n int) int64 { return int64(n) * sampleStride }

func randomBytes(seed, n, size int) []byte {
	var key [32]byte
	copy(key[:], fmt.Sprint(seed, "/", n))
	p := make([]byte, size)
	rand.NewChaCha8(key).Read(p)
	return p
}

func open(t testing.TB, root string, opts store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), root, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, s *store.Store, seed int) *store.Layer {
	t.Helper()
	l, err := s.Add(sampleID(seed), sampleContent(seed))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func layer(t testing.TB, s *store.Store, seed int) *store.Layer {
	t.Helper()
	l, err := s.Layer(sampleID(seed))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLayer(t testing.TB, l *store.Layer) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func fill(t testing.TB, l *store.Layer, seed, n int) {
	t.Helper()
	if err := l.Fill(n, sampleOffset(n), sampleBytes(seed, n)); err != nil {
		t.Fatal(err)
	}
}

// verify reports what is wrong with the n-th chunk of a sample layer.
func verify(l *store.Layer, seed, n int) error {
	got := make([]byte, sampleStride)
	if _, err := l.ReadAt(got, sampleOffset(n)); err != nil {
		return err
	}
	want := append(sampleBytes(seed, n), make([]byte, sampleStride-sampleChunk)...)
	if !bytes.Equal(got, want) {
		return fmt.Errorf("chunk %d of layer %d is %s and has wrong bytes", n, seed, l.State(n))
	}
	return nil
}

func wantState(t testing.TB, l *store.Layer, n int, want store.State) {
	t.Helper()
	if got := l.State(n); got != want {
		t.Errorf("chunk %d: %s, want %s", n, got, want)
	}
}

func wantNotFound(t testing.TB, s *store.Store, seed int) {
	t.Helper()
	l, err := s.Layer(sampleID(seed))
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("layer %d: %v, want ErrNotFound", seed, err)
	}
	if err == nil {
		l.Close()
	}
}

func TestLayerKeepsWhatItWasGiven(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	check := func(l *store.Layer) {
		t.Helper()
		c := sampleContent(1)
		entries, err := l.Entries()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(entries, c.Entries) || !bytes.Equal(l.Chunks(), c.Chunks) {
			t.Error("entries or chunks differ")
		}
		if l.ID() != sampleID(1) || l.DataSize() != c.DataSize || l.DiffID() != c.DiffID {
			t.Errorf("%v, %d bytes, diffID %v", l.ID(), l.DataSize(), l.DiffID())
		}
		if got := l.Sources(); fmt.Sprint(got) != fmt.Sprint(c.Sources) {
			t.Errorf("sources %q", got)
		}
	}
	l := add(t, s, 1)
	check(l)
	number := l.Number()
	fill(t, l, 1, 5)
	closeLayer(t, l)
	closeStore(t, s)

	l = layer(t, open(t, root, store.Options{}), 1)
	defer closeLayer(t, l)
	check(l)
	if l.Number() != number {
		t.Errorf("number %d, was %d", l.Number(), number)
	}
	wantState(t, l, 5, store.Present)
	wantState(t, l, 6, store.Absent)
	if err := verify(l, 1, 5); err != nil {
		t.Error(err)
	}
}

func TestEmptyLayer(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	l, err := s.Add(sampleID(1), store.Content{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLayer(t, l)
	if entries, err := l.Entries(); err != nil || len(entries) != 0 || len(l.Chunks()) != 0 {
		t.Errorf("%d bytes of entries, %d of chunks: %v", len(entries), len(l.Chunks()), err)
	}
	if err := l.DropCache(0, 0); err != nil {
		t.Error(err)
	}
	if err := l.Fill(0, 0, nil); err == nil {
		t.Error("filled a chunk that the layer has not")
	}
}

func TestOpenLayerIsShared(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	a := add(t, s, 1)
	if b := add(t, s, 1); b != a {
		t.Error("Add made a second one")
	}
	if b := layer(t, s, 1); b != a {
		t.Error("Layer opened a second one")
	}
	closeLayer(t, a)
	closeLayer(t, a)
	if s.Close() == nil {
		t.Error("closed the store under an open layer")
	}
	fill(t, a, 1, 0) // still open
	closeLayer(t, a)
	if err := a.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("one Close too many: %v", err)
	}
	closeStore(t, s)
}

func TestAddAtOnce(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	var wg sync.WaitGroup
	layers := make([]*store.Layer, 24)
	for i := range layers {
		wg.Go(func() {
			l, err := s.Add(sampleID(i%6), sampleContent(i%6))
			if err != nil {
				t.Error(err)
				return
			}
			layers[i] = l
			if err := l.Fill(i, sampleOffset(i), sampleBytes(i%6, i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	numbers := map[uint64]int{}
	for i, l := range layers {
		if l != layers[i%6] {
			t.Errorf("layer %d was added twice", i%6)
		}
		numbers[l.Number()]++
		if err := verify(l, i%6, i); err != nil {
			t.Error(err)
		}
	}
	if len(numbers) != 6 || len(s.Layers()) != 6 {
		t.Errorf("numbers %v, %d layers", numbers, len(s.Layers()))
	}
	for _, l := range layers {
		closeLayer(t, l)
	}
}

func TestOnlyOneProcess(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	_, err := store.Open(t.Context(), root, store.Options{})
	if !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), root) {
		t.Errorf("second Open: %v", err)
	}
	closeStore(t, s)
	open(t, root, store.Options{})
}

func TestOpenRemovesLeftovers(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	closeLayer(t, add(t, s, 1))
	closeStore(t, s)
	// As left by a process that was killed while it added one layer and
	// removed another.
	for _, name := range []string{"tmp/7", "tmp/layers-8"} {
		if err := os.CopyFS(filepath.Join(root, name), os.DirFS(filepath.Join(root, "layers/1"))); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, root, store.Options{})
	if left, _ := os.ReadDir(filepath.Join(root, "tmp")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if ids := s.Layers(); len(ids) != 1 || ids[0] != sampleID(1) {
		t.Errorf("layers: %v", ids)
	}
}

func TestUsageIsWhatIsOnDisk(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	l := add(t, s, 1)
	defer closeLayer(t, l)
	before, inodes, err := s.Usage(l.ID())
	if err != nil || inodes != 6 || before > 128<<10 {
		t.Errorf("empty layer: %d bytes, %d inodes, %v", before, inodes, err)
	}
	for n := range sampleChunks {
		fill(t, l, 1, n)
	}
	after, _, err := s.Usage(l.ID())
	if grown := after - before; err != nil || grown < sampleChunks*2*4096 || grown > sampleChunks*sampleStride {
		t.Errorf("full layer: %d bytes more, %v", grown, err)
	}
}

func TestSources(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	l := add(t, s, 1)
	for i := range 12 {
		if err := l.AddSource(fmt.Sprint("ref", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.AddSource("ref6"); err != nil {
		t.Fatal(err)
	}
	const want = "[ref6 ref11 ref10 ref9 ref8 ref7 ref5 ref4]"
	if got := fmt.Sprint(l.Sources()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	meta := filepath.Join(root, "layers", fmt.Sprint(l.Number()), "meta.json")
	before, _ := os.Stat(meta)
	if err := l.AddSource("ref6"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(meta); !os.SameFile(before, after) {
		t.Error("the newest source was written again")
	}
	bad := "not\xffUTF-8\n"
	if err := l.AddSource(bad); err != nil {
		t.Fatal(err)
	}
	closeLayer(t, l)
	closeStore(t, s)
	l = layer(t, open(t, root, store.Options{}), 1)
	defer closeLayer(t, l)
	if got := l.Sources(); len(got) != 8 || got[1] != "ref6" {
		t.Errorf("after reopening: %q", got)
	}
}
