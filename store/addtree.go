package store

import (
	"errors"
	"fmt"
	"os"
)

// AddTree makes the image of the tree that spec says: write fills the file,
// which it leaves open, and may use the store's layers meanwhile. The number
// of the image is known to write, since inode numbers derive from it. If the
// store has the image already that one is returned; of those who add the same
// at once one writes and the others wait. It returns ErrNotFound if the store
// has not all layers that the tree is made from.
func (s *Store) AddTree(spec Spec, write func(f *os.File, number uint64) error) (TreeImage, error) {
	if err := spec.Check(); err != nil {
		return TreeImage{}, fmt.Errorf("store: %w", err)
	}
	key := spec.Key()
	defer s.turns.take(key)()
	image, err := s.tree(key)
	if !errors.Is(err, ErrNotFound) {
		return image, err
	}
	if err := s.addTree(key, spec, write); err != nil {
		return TreeImage{}, fmt.Errorf("store: add tree image: %w", err)
	}
	return s.tree(key)
}

func (s *Store) addTree(key SpecKey, spec Spec, write func(*os.File, uint64) error) error {
	number, err := s.numbers.take()
	if err != nil {
		return err
	}
	d, err := newDraft(s.draftDir(number))
	if err != nil {
		return err
	}
	err = writeTree(d, number, spec, write)
	if err == nil {
		err = d.publish(s.treeDir(number))
	}
	if err != nil {
		return errors.Join(err, d.abandon())
	}
	t := &treeSlot{number: number, layers: spec.All()}
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

func writeTree(d *draft, number uint64, spec Spec, write func(*os.File, uint64) error) error {
	f, err := d.create(imageFile)
	if err != nil {
		return err
	}
	if err := write(f, number); err != nil {
		return err
	}
	image, err := imageMeta(f)
	if err != nil {
		return err
	}
	meta, err := encodeMeta(newTreeMeta(spec, image))
	if err != nil {
		return err
	}
	return d.write(metaFile, meta)
}
