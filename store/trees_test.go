package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

func addIDs(t testing.TB, s *store.Store, seeds ...int) (ids []store.ID) {
	t.Helper()
	for _, seed := range seeds {
		closeLayer(t, add(t, s, seed))
		ids = append(ids, sampleID(seed))
	}
	return ids
}

// over returns the tree of layers with nothing below.
func over(layers ...store.ID) store.Spec { return store.Spec{Kind: store.Lowest, Layers: layers} }

// writeImage writes an image as a layer's own is: a little at the start, the
// rest far behind, so that its inode numbers are its own.
func writeImage(f *os.File, image store.TreeImage) error {
	number := image.Number
	for _, off := range []int64{0, int64(number) << 20} {
		p := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, number), 1000)
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
	}
	return nil
}

func addTree(t testing.TB, s *store.Store, spec store.Spec) store.TreeImage {
	t.Helper()
	image, err := s.AddTree(t.Context(), spec, 1000, writeImage)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// checkTree fails unless the image of a tree is what writeImage wrote.
func checkTree(t testing.TB, s *store.Store, spec store.Spec) store.TreeImage {
	t.Helper()
	image, err := s.Tree(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(image.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var number [8]byte
	if _, err := f.ReadAt(number[:], int64(image.Number)<<20); err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint64(number[:]); got != image.Number {
		t.Errorf("image %d says it is %d", image.Number, got)
	}
	return image
}

func wantNoTree(t testing.TB, s *store.Store, spec store.Spec) {
	t.Helper()
	if image, err := s.Tree(t.Context(), spec); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("tree image %v: %v, want ErrNotFound", image, err)
	}
}

func TestTreesAreKept(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	ids := addIDs(t, s, 1, 2)
	specs := []store.Spec{
		over(ids[:1]...), over(ids[1:]...), over(ids...), over(ids[1], ids[0]), over(ids[0], ids[0]),
		{Layers: ids[:1]},
		{Layers: ids[1:]},
		{Kind: store.Diff, Layers: ids[:1]},
		{Kind: store.Diff, Layers: ids},
		{Kind: store.Diff, Layers: ids[1:], Lower: ids[:1]},
		{Kind: store.Diff, Layers: ids[:1], Lower: ids[1:]},
		{Kind: store.Diff, Layers: ids[:1], Lower: ids[:1]},
		{Kind: store.Diff, Layers: ids, Lower: ids[:1]},
		{Kind: store.Diff, Layers: ids[:1], Lower: ids},
		store.StackOf(store.Spec{Layers: ids[:1]}, store.Spec{Layers: ids[1:]}),
		store.StackOf(store.Spec{Layers: ids}),
		store.StackOf(store.Spec{Layers: ids, Lower: ids[:1]}, store.Spec{Layers: ids[1:]}),
		store.StackOf(store.Spec{Layers: ids}, store.Spec{Layers: ids[1:], Lower: ids[:1]}),
	}
	numbers := map[uint64]bool{1: true, 2: true} // of the layers
	for _, spec := range specs {
		wantNoTree(t, s, spec)
		image := addTree(t, s, spec)
		if numbers[image.Number] {
			t.Errorf("number %d again", image.Number)
		}
		numbers[image.Number] = true
	}
	closeStore(t, s)
	s = open(t, root, store.Options{})
	for _, spec := range specs {
		image := checkTree(t, s, spec)
		if !numbers[image.Number] {
			t.Errorf("number %d is new", image.Number)
		}
		delete(numbers, image.Number)
	}
}

func TestAddTreeAtOnce(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	ids := addIDs(t, s, 1, 2)
	var wg sync.WaitGroup
	var writes, failures atomic.Int32
	images := make([]store.TreeImage, 12)
	for i := range images {
		wg.Go(func() {
			image, err := s.AddTree(t.Context(), over(ids...), 1000, func(f *os.File, image store.TreeImage) error {
				if writes.Add(1) == 1 {
					return errors.New("the first has bad luck")
				}
				return writeImage(f, image)
			})
			if err != nil {
				failures.Add(1)
			}
			images[i] = image
		})
	}
	wg.Wait()
	if writes.Load() != 2 || failures.Load() != 1 {
		t.Errorf("%d writes, %d failures", writes.Load(), failures.Load())
	}
	want := checkTree(t, s, over(ids...))
	for _, image := range images {
		if image != want && image != (store.TreeImage{}) {
			t.Errorf("%v, want %v", image, want)
		}
	}
}

// A call that wants an image which another one is making waits no longer than its
// own context lasts.
func TestAddTreeWaitEnds(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	spec := over(addIDs(t, s, 1)...)
	writing, goOn := make(chan struct{}), make(chan struct{})
	made := make(chan error, 1)
	go func() {
		_, err := s.AddTree(t.Context(), spec, 1000, func(f *os.File, image store.TreeImage) error {
			close(writing)
			<-goOn
			return writeImage(f, image)
		})
		made <- err
	}()
	<-writing
	why := errors.New("no more patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := s.Tree(ctx, spec); !errors.Is(err, why) {
		t.Errorf("Tree: %v", err)
	}
	if _, err := s.AddTree(ctx, spec, 1000, writeImage); !errors.Is(err, why) {
		t.Errorf("AddTree: %v", err)
	}
	close(goOn)
	if err := <-made; err != nil {
		t.Error(err)
	}
	checkTree(t, s, spec)
}

func TestAddTreeErrors(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	ids := addIDs(t, s, 1)
	for _, spec := range []store.Spec{
		over(),
		{Kind: store.Diff, Lower: ids},
		{Layers: []store.ID{ids[0], ids[0]}},
		{Layers: ids, Lower: ids},
		{Kind: store.Lowest, Layers: ids, Lower: ids},
		{Kind: store.Diff + 1, Layers: ids},
	} {
		if _, err := s.AddTree(t.Context(), spec, 1000, writeImage); err == nil {
			t.Errorf("made the image of %+v", spec)
		}
	}
	for _, spec := range []store.Spec{
		over(ids[0], sampleID(2)),
		{Kind: store.Diff, Layers: ids, Lower: []store.ID{sampleID(2)}},
	} {
		if _, err := s.AddTree(t.Context(), spec, 1000, writeImage); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%+v, with an absent layer: %v", spec, err)
		}
	}
	broken := errors.New("broken")
	if _, err := s.AddTree(t.Context(), over(ids...), 1000, func(*os.File, store.TreeImage) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error of write: %v", err)
	}
	for _, dir := range []string{"tmp", "trees"} {
		if left, _ := os.ReadDir(root + "/" + dir); len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}
