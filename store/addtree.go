package store

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// AddTree makes the image of the tree that spec says: write fills the file,
// which it leaves open, and may use the store's layers meanwhile. The image has
// inodes numbers for its inodes, from FirstInode on, and write is told what it
// will be. If the store has the image already that one is returned; of calls that
// add the same at once one writes and the others wait, each until its ctx ends. It
// returns ErrNotFound if the store has not all layers that the tree is made from.
func (s *Store) AddTree(ctx context.Context, spec Spec, inodes uint64, write func(f *os.File, image TreeImage) error) (TreeImage, error) {
	if err := spec.Check(); err != nil {
		return TreeImage{}, fmt.Errorf("store: %w", err)
	}
	key := spec.Key()
	unlock, err := s.locks.trees.LockContext(ctx, key)
	if err != nil {
		return TreeImage{}, fmt.Errorf("store: add tree image: %w", err)
	}
	defer unlock()
	image, err := s.tree(key)
	if !errors.Is(err, ErrNotFound) {
		return image, err
	}
	if err := s.addTree(key, spec, inodes, write); err != nil {
		return TreeImage{}, fmt.Errorf("store: add tree image: %w", err)
	}
	return s.tree(key)
}

func (s *Store) addTree(key SpecKey, spec Spec, inodes uint64, write func(*os.File, TreeImage) error) error {
	number, err := s.numbers.take()
	if err != nil {
		return err
	}
	t := &treeSlot{number: number, layers: spec.All()}
	if t.inodes, err = s.takeInodes(number, inodes); err != nil {
		return err
	}
	defer s.giveInodes(number)
	d, err := newDraft(s.draftDir(number))
	if err != nil {
		return err
	}
	err = writeTree(d, spec, t.inodes, func(f *os.File) error { return write(f, s.imageOf(t)) })
	if err == nil {
		err = d.publish(s.treeDir(number))
	}
	if err != nil {
		return errors.Join(err, d.abandon())
	}
	t.checked.Store(true)
	s.mu.Lock()
	whole := s.hasAllLocked(t.layers)
	if whole {
		s.mu.trees[key] = t
	}
	s.mu.Unlock()
	if !whole {
		return errors.Join(fmt.Errorf("its layers: %w", ErrNotFound), s.removeDir(s.treeDir(number)))
	}
	return nil
}

func writeTree(d *draft, spec Spec, inodes inodeRange, write func(*os.File) error) error {
	f, err := d.create(imageFile)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		return err
	}
	image, err := imageMeta(f)
	if err != nil {
		return err
	}
	meta, err := encodeMeta(newTreeMeta(spec, image, inodes))
	if err != nil {
		return err
	}
	return d.write(metaFile, meta)
}
