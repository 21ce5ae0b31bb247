package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ladle-dev/ladle/tree"
)

// usage returns the bytes and inodes that the directory at path takes with the
// files in it.
func usage(path string) (bytes, inodes int64, err error) {
	files, err := os.ReadDir(path)
	if err != nil {
		return 0, 0, err
	}
	paths := []string{path}
	for _, f := range files {
		paths = append(paths, filepath.Join(path, f.Name()))
	}
	for _, p := range paths {
		st, err := tree.Lstat(p)
		if err != nil {
			return 0, 0, err
		}
		bytes += tree.DiskBytes(st)
	}
	return bytes, int64(len(paths)), nil
}

// Usage returns the bytes and inodes that a layer takes on disk, or
// ErrNotFound. It does not open the layer.
func (s *Store) Usage(id ID) (bytes, inodes int64, err error) {
	s.mu.Lock()
	sl := s.mu.layers[id]
	s.mu.Unlock()
	if sl == nil {
		return 0, 0, fmt.Errorf("store: layer %s: %w", id.Blob, ErrNotFound)
	}
	bytes, inodes, err = usage(s.layerDir(sl.number))
	if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
		err = ErrNotFound
	}
	if err != nil {
		return 0, 0, fmt.Errorf("store: layer %s: %w", id.Blob, err)
	}
	return bytes, inodes, nil
}

// How old the count of Bytes can be: a minute, and so long that counting takes no
// more than a hundredth of the time.
const (
	countAge   = time.Minute
	countShare = 100
)

// count is what Bytes counted last.
type count struct {
	sync.Mutex
	bytes int64
	next  time.Time // when to count again
}

// Bytes returns how many bytes all layers, tree images, kept indexes and beginnings of blobs take
// on disk. To count them each file of the store is looked at. So they are counted at most once
// a minute, at the first call after it; calls in between return that count.
func (s *Store) Bytes() int64 {
	s.count.Lock()
	defer s.count.Unlock()
	began := time.Now()
	if began.Before(s.count.next) {
		return s.count.bytes
	}
	s.count.bytes = s.Partials() + s.indexes.total()
	for _, dir := range s.dirs() {
		bytes, _, err := usage(dir)
		if err == nil { // else it was removed meanwhile
			s.count.bytes += bytes
		}
	}
	s.count.next = time.Now().Add(max(countAge, countShare*time.Since(began)))
	return s.count.bytes
}

// dirs returns the directories of all layers and tree images.
func (s *Store) dirs() (dirs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.mu.layers {
		dirs = append(dirs, s.layerDir(sl.number))
	}
	for _, t := range s.mu.trees {
		dirs = append(dirs, s.treeDir(t.number))
	}
	return dirs
}
