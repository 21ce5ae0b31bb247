package store_test

import (
	"bytes"
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

// writeImage writes an image as a layer's own is: a little at the start, the
// rest far behind, so that its inode numbers are its own.
func writeImage(f *os.File, number uint64) error {
	for _, off := range []int64{0, int64(number) << 20} {
		p := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, number), 1000)
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
	}
	return nil
}

func addTree(t testing.TB, s *store.Store, ids []store.ID) store.TreeImage {
	t.Helper()
	image, err := s.AddTree(ids, writeImage)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// checkTree fails unless the tree image over ids is what writeImage wrote.
func checkTree(t testing.TB, s *store.Store, ids []store.ID) store.TreeImage {
	t.Helper()
	image, err := s.Tree(ids)
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

func wantNoTree(t testing.TB, s *store.Store, ids []store.ID) {
	t.Helper()
	if image, err := s.Tree(ids); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("tree image %v: %v, want ErrNotFound", image, err)
	}
}

func TestTreesAreKept(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	ids := addIDs(t, s, 1, 2)
	lists := [][]store.ID{ids[:1], ids[1:], ids, {ids[1], ids[0]}, {ids[0], ids[0]}}
	numbers := map[uint64]bool{1: true, 2: true} // of the layers
	for _, list := range lists {
		wantNoTree(t, s, list)
		image := addTree(t, s, list)
		if numbers[image.Number] {
			t.Errorf("number %d again", image.Number)
		}
		numbers[image.Number] = true
	}
	closeStore(t, s)
	s = open(t, root, store.Options{})
	for _, list := range lists {
		image := checkTree(t, s, list)
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
			image, err := s.AddTree(ids, func(f *os.File, number uint64) error {
				if writes.Add(1) == 1 {
					return errors.New("the first has bad luck")
				}
				return writeImage(f, number)
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
	want := checkTree(t, s, ids)
	for _, image := range images {
		if image != want && image != (store.TreeImage{}) {
			t.Errorf("%v, want %v", image, want)
		}
	}
}

func TestAddTreeErrors(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	ids := addIDs(t, s, 1)
	if _, err := s.AddTree(nil, writeImage); err == nil {
		t.Error("made a tree image over nothing")
	}
	if _, err := s.AddTree([]store.ID{ids[0], sampleID(2)}, writeImage); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("over an absent layer: %v", err)
	}
	broken := errors.New("broken")
	if _, err := s.AddTree(ids, func(*os.File, uint64) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error of write: %v", err)
	}
	for _, dir := range []string{"tmp", "trees"} {
		if left, _ := os.ReadDir(root + "/" + dir); len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}
