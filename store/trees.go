package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
)

// TreeImage is a tree image in the store.
type TreeImage struct {
	Number uint64 // no layer and no other tree image ever has the same
	Path   string // of the file
	// FirstInode is where the inode numbers of the image begin: no other image
	// in the store has one of them. It is zero for an outdated image.
	FirstInode uint64
}

// treeSlot is where a tree image is.
type treeSlot struct {
	number   uint64
	layers   []ID // it is made from
	inodes   inodeRange
	outdated bool
	checked  atomic.Bool // whether the bytes of the image were checked
}

func (s *Store) imageOf(t *treeSlot) TreeImage {
	image := TreeImage{t.number, filepath.Join(s.treeDir(t.number), imageFile), t.inodes.First}
	if t.outdated {
		image.FirstInode = 0
	}
	return image
}

// Tree returns the image of the tree that spec says, or ErrNotFound. It stays
// for as long as all layers that it is made from do: see Remove. One that is
// found damaged is removed. While the image is being added Tree waits, until ctx
// ends.
func (s *Store) Tree(ctx context.Context, spec Spec) (TreeImage, error) {
	key := spec.Key()
	unlock, err := s.locks.trees.LockContext(ctx, key)
	if err != nil {
		return TreeImage{}, fmt.Errorf("store: tree image: %w", err)
	}
	defer unlock()
	return s.tree(key)
}

// tree is Tree for a caller that holds the lock of key.
func (s *Store) tree(key SpecKey) (TreeImage, error) {
	s.mu.Lock()
	t := s.mu.trees[key]
	s.mu.Unlock()
	if t == nil {
		return TreeImage{}, fmt.Errorf("store: tree image: %w", ErrNotFound)
	}
	image := s.imageOf(t)
	if t.checked.Load() {
		return image, nil
	}
	err := checkTree(s.treeDir(t.number))
	if err == nil {
		t.checked.Store(true)
		return image, nil
	}
	if !isDamage(err) {
		return TreeImage{}, fmt.Errorf("store: tree image %d: %w", t.number, err)
	}
	return TreeImage{}, fmt.Errorf("store: tree image %d: %w: %w", t.number, ErrNotFound, errors.Join(err, s.discardTree(key, t)))
}

// checkTree returns errDamaged unless the image in dir is as it was written.
func checkTree(dir string) error {
	var m treeMeta
	if err := readMeta(dir, &m); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(dir, imageFile))
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := imageMeta(f)
	if err != nil {
		return err
	}
	if got != m.Image {
		return fmt.Errorf("%s: %w: %+v, want %+v", imageFile, errDamaged, got, m.Image)
	}
	return nil
}

func imageMeta(f *os.File) (fileMeta, error) {
	info, err := f.Stat()
	if err != nil {
		return fileMeta{}, err
	}
	sum, err := sparseChecksum(f)
	return fileMeta{info.Size(), sum}, err
}

func (s *Store) discardTree(key SpecKey, t *treeSlot) error {
	s.mu.Lock()
	ours := s.mu.trees[key] == t
	if ours {
		delete(s.mu.trees, key)
	}
	s.mu.Unlock()
	if !ours {
		return nil
	}
	return s.removeDir(s.treeDir(t.number))
}

// hasAllLocked reports whether the store has all of layers.
func (s *Store) hasAllLocked(layers []ID) bool {
	return !slices.ContainsFunc(layers, func(id ID) bool { return s.mu.layers[id] == nil })
}
