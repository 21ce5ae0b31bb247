package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/store"
)

// addNumbered adds the image of a tree with so many inode numbers.
func addNumbered(t *testing.T, s *store.Store, spec store.Spec, inodes uint64) store.TreeImage {
	t.Helper()
	var told store.TreeImage
	image, err := s.AddTree(t.Context(), spec, inodes, func(f *os.File, image store.TreeImage) error {
		told = image
		return writeImage(f, image)
	})
	if err != nil {
		t.Fatal(err)
	}
	if told != image {
		t.Errorf("write was told %+v, and it became %+v", told, image)
	}
	return image
}

// again is the n-th tree that shows the same.
func again(n int, layers ...store.ID) store.Spec {
	return store.Spec{Kind: store.Lowest, Layers: layers, Again: n}
}

// TestInodesOfTrees: no two images have an inode number in common, those that
// were made before a restart or while others are made included, and 32-bit
// programs can read them while there is room.
func TestInodesOfTrees(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	ids := addIDs(t, s, 1, 2)
	taken := map[string][2]uint64{}
	take := func(name string, image store.TreeImage, inodes uint64) {
		r := [2]uint64{image.FirstInode, image.FirstInode + max(inodes, 1)}
		if r[0] < 1<<31 || r[0]%128 != 0 {
			t.Errorf("%s begins at %#x", name, r[0])
		}
		for other, o := range taken {
			if r[0] < o[1] && o[0] < r[1] {
				t.Errorf("%s has %#x, and %s %#x", name, r, other, o)
			}
		}
		taken[name] = r
	}
	n := 0
	for _, inodes := range []uint64{0, 0, 1, 128, 129, 1 << 22, 3, 1 << 29} {
		image := addNumbered(t, s, again(n, ids...), inodes)
		take(fmt.Sprint(n), image, inodes)
		if end := image.FirstInode + inodes; end > 1<<32 {
			t.Errorf("%d numbers end at %#x", inodes, end)
		}
		n++
	}
	closeStore(t, s)
	s = open(t, root, store.Options{})
	for _, inodes := range []uint64{5, 1 << 29, 1 << 30, 6, 1 << 30} { // more than there is room
		take(fmt.Sprint(n), addNumbered(t, s, again(n, ids...), inodes), inodes)
		n++
	}
	image, err := s.Tree(t.Context(), again(1, ids...))
	if err != nil || image.FirstInode != taken["1"][0] {
		t.Errorf("the image of before has numbers from %#x on (%v), and had %#x", image.FirstInode, err, taken["1"][0])
	}
	if _, err := s.AddTree(t.Context(), again(n, ids...), 1<<37, writeImage); err == nil {
		t.Error("an image has as many numbers as there are")
	}
}

// TestOutdatedTrees: an image of an earlier version is removed, or kept with
// the inode numbers that it has.
func TestOutdatedTrees(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	ids := addIDs(t, s, 1)
	for n := range 2 {
		image, err := s.AddTree(t.Context(), again(n, ids...), 1000, func(f *os.File, image store.TreeImage) error {
			return errors.Join(writeImage(f, image), f.Truncate(32*(1<<31+5000)))
		})
		if err != nil {
			t.Fatal(err)
		}
		makeOutdated(t, filepath.Dir(image.Path))
	}
	closeStore(t, s)

	s = open(t, root, store.Options{Outdated: true})
	image := checkTree(t, s, again(0, ids...))
	if image.FirstInode != 0 {
		t.Errorf("it begins at %#x", image.FirstInode)
	}
	if fresh := addNumbered(t, s, again(2, ids...), 1000); fresh.FirstInode < 1<<31+5000 {
		t.Errorf("an image begins at %#x, where an outdated one has its numbers", fresh.FirstInode)
	}
	closeStore(t, s)

	s = open(t, root, store.Options{})
	wantNoTree(t, s, again(0, ids...))
	wantNoTree(t, s, again(1, ids...))
	checkTree(t, s, again(2, ids...))
}

// makeOutdated takes from the meta.json of a tree image what an earlier version
// did not write.
func makeOutdated(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "meta.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		CRC32C uint32          `json:"crc32c"`
		Meta   json.RawMessage `json:"meta"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	before, _, found := bytes.Cut(file.Meta, []byte(`,"inodes":`))
	if !found {
		t.Fatalf("no inodes in %s", file.Meta)
	}
	file.Meta = append(before, '}')
	file.CRC32C = crc32.Checksum(file.Meta, crc32.MakeTable(crc32.Castagnoli))
	if b, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
