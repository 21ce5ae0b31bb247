package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/containerd/log"
)

// scan finds out what is on disk. It removes leftovers and what is damaged.
func (s *Store) scan(ctx context.Context) error {
	if err := s.emptyTemp(); err != nil {
		log.G(ctx).WithError(err).Warn("store: leftovers are not removed")
	}
	layers, err := numbersIn(s.layersDir())
	if err != nil {
		return err
	}
	trees, err := numbersIn(s.treesDir())
	if err != nil {
		return err
	}
	if err := s.scanEach(ctx, layers, s.layerDir, s.scanLayer); err != nil {
		return err
	}
	if err := s.scanEach(ctx, trees, s.treeDir, s.scanTree); err != nil {
		return err
	}
	if err := s.indexes.scan(ctx); err != nil {
		return err
	}
	used := max(last(layers), last(trees))
	err = s.numbers.load(filepath.Join(s.root, "numbers"), used+1)
	if err != nil && isDamage(err) {
		log.G(ctx).WithError(err).Warn("store: numbers start anew behind those in use")
		return nil
	}
	return err
}

func (s *Store) emptyTemp() error {
	left, err := os.ReadDir(s.tempDir())
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range left {
		errs = append(errs, os.RemoveAll(filepath.Join(s.tempDir(), e.Name())))
	}
	return errors.Join(errs...)
}

// numbersIn returns the numbers of the directories in dir in ascending order.
func numbersIn(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		if err == nil && strconv.FormatUint(n, 10) == e.Name() {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

func last(numbers []uint64) uint64 {
	if len(numbers) == 0 {
		return 0
	}
	return numbers[len(numbers)-1]
}

// scanEach calls check for each number and removes what it finds damaged or old.
// What cannot be removed, which on btrfs takes space, stays without being of use.
func (s *Store) scanEach(ctx context.Context, all []uint64, dir func(uint64) string, check func(uint64) error) error {
	for _, n := range all {
		err := check(n)
		if err == nil {
			continue
		}
		if !isDamage(err) && !errors.Is(err, errOld) {
			return fmt.Errorf("%s: %w", dir(n), err)
		}
		logger := log.G(ctx).WithError(err).WithField("dir", dir(n))
		if removal := s.removeDir(dir(n)); removal != nil {
			logger.WithField("removal", removal).Error("store: what is damaged is not removed")
			continue
		}
		if errors.Is(err, errOld) {
			logger.Info("store: removed what an earlier version made")
		} else {
			logger.Warn("store: removed what is damaged")
		}
	}
	return nil
}

var (
	errSecond = fmt.Errorf("%w: there is one of the same already", errDamaged)
	errOrphan = fmt.Errorf("%w: not all of its layers are there", errDamaged)
	errOld    = errors.New("an earlier version made it")
)

// scanLayer takes stock of layer n. The contents of its files are checked when
// it is opened.
func (s *Store) scanLayer(n uint64) error {
	dir := s.layerDir(n)
	var m layerMeta
	if err := readMeta(dir, &m); err != nil {
		return err
	}
	if err := checkLayer(dir, m); err != nil {
		return err
	}
	id := ID{m.Blob, m.TOC}
	if s.mu.layers[id] != nil {
		return errSecond
	}
	sl := &slot{id: id, number: n}
	if m.Proof != nil {
		sl.proof = *m.Proof
	}
	s.mu.layers[id] = sl
	return nil
}

// scanTree takes stock of tree image n.
func (s *Store) scanTree(n uint64) error {
	dir := s.treeDir(n)
	var m treeMeta
	if err := readMeta(dir, &m); err != nil {
		return err
	}
	if err := checkSize(filepath.Join(dir, imageFile), m.Image.Size); err != nil {
		return err
	}
	spec := m.spec()
	if err := spec.Check(); err != nil {
		return fmt.Errorf("%s: %w: %w", metaFile, errDamaged, err)
	}
	layers := spec.All()
	if !s.hasAllLocked(layers) {
		return errOrphan
	}
	key := spec.Key()
	if s.mu.trees[key] != nil {
		return errSecond
	}
	t := &treeSlot{number: n, layers: layers, outdated: m.Inodes == nil}
	switch {
	case !t.outdated:
		t.inodes = *m.Inodes
	case !s.outdated:
		return errOld
	default:
		t.inodes = outdatedInodes(m)
	}
	if t.inodes.end() <= inodes32 {
		s.mu.nextInode = t.inodes.end() // of the one with the highest number, which is scanned last
	}
	s.mu.trees[key] = t
	return nil
}
